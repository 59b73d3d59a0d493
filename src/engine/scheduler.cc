#include "engine/scheduler.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "kernels/cross_entropy.h"
#include "kernels/team.h"

namespace tumbler::engine {
namespace {

// A guess continues what followed the last time that these many tokens stood there.
constexpr size_t kGramLengths[] = {4, 3, 2};

float log_prob_of(std::span<const float> logits, int32_t id) {
  float loss = 0;  // log-probability over all V is one pass of this
  const auto V = static_cast<int64_t>(logits.size());
  kernels::cross_entropy_forward<float>(&loss, logits.data(), &id, 1, V, V);
  return -loss;
}

// Of such a request nothing is taken from the cache.
bool reads_all(const Request& request) {
  return request.on_prompt_token || request.on_embedding;
}

int64_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

}  // namespace

Scheduler::Scheduler(Decoder& decoder, int64_t pass_tokens)
    : decoder_(decoder), pass_tokens_(pass_tokens), slots_(static_cast<size_t>(decoder.sequences())) {
  for (int64_t slot = 0; slot < decoder.sequences(); ++slot) decoder.truncate(slot, 0);
}

void Scheduler::check(const Request& request) const {
  check_sampling(request.sampling);
  if (request.prompt.empty()) throw Error("generate", "prompt: got no tokens, expected at least one");
  const auto size = static_cast<int64_t>(request.prompt.size());
  if (size > decoder_.capacity())
    throw Error("generate", "prompt: got {} tokens, expected at most the context's {}; shorten it", size,
                decoder_.capacity());
  const int64_t V = decoder_.model().config().vocab_size;
  for (const int32_t token : request.prompt)
    if (token < 0 || token >= V)
      throw Error("generate", "token id: got {}, expected 0 to {}; is this the model's tokenizer?", token,
                  V - 1);
}

int64_t Scheduler::submit(Request request) {
  check(request);
  queue_.emplace_back(next_id_, std::move(request));
  return next_id_++;
}

void Scheduler::cancel(int64_t id) {
  for (auto it = queue_.begin(); it != queue_.end(); ++it)
    if (it->first == id) {
      const Request request = std::move(it->second);
      queue_.erase(it);
      if (request.on_finish) request.on_finish(Finish::caller);
      return;
    }
  for (auto it = running_.begin(); it != running_.end(); ++it)
    if (it->id == id) {
      Running ended = std::move(*it);
      running_.erase(it);
      finish(ended, Finish::caller);
      return;
    }
}

// The slot for a prompt: one that holds the most of it, or the one that was idle longest with what is shared
// copied over. Returns -1 where all are busy.
int64_t Scheduler::place(const Request& request) {
  const std::vector<int32_t>& prompt = request.prompt;
  int64_t best = 0, best_prefix = -1, idle = -1;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const int64_t prefix = common_prefix(slots_[i].tokens, prompt);
    if (prefix > best_prefix || (prefix == best_prefix && !slots_[i].busy)) {
      best = static_cast<int64_t>(i);
      best_prefix = prefix;
    }
    if (!slots_[i].busy && (idle < 0 || slots_[i].last_use < slots_[static_cast<size_t>(idle)].last_use))
      idle = static_cast<int64_t>(i);
  }
  if (idle < 0) return -1;
  const Held& holder = slots_[static_cast<size_t>(best)];
  // In place, unless that would throw away another conversation that only begins alike.
  const bool in_place = !holder.busy && 2 * best_prefix >= static_cast<int64_t>(holder.tokens.size());
  const int64_t slot = in_place ? best : idle;
  if (slot != best) decoder_.copy(best, slot);
  // Something has to be read to have logits.
  const int64_t keep =
      reads_all(request) ? 0 : std::min(best_prefix, static_cast<int64_t>(prompt.size()) - 1);
  decoder_.truncate(slot, keep);
  slots_[static_cast<size_t>(slot)] = {{prompt.begin(), prompt.begin() + keep}, 0, true};
  return slot;
}

// Is a prompt being read that begins like this one? It had better wait for that.
bool Scheduler::is_being_read(const std::vector<int32_t>& prompt) const {
  constexpr int64_t kWorthWaiting = 16;
  int64_t held = 0;
  for (const Held& slot : slots_) held = std::max(held, common_prefix(slot.tokens, prompt));
  return std::ranges::any_of(running_, [&](const Running& r) {
    return r.generated.empty() && common_prefix(r.request.prompt, prompt) > held + kWorthWaiting;
  });
}

void Scheduler::admit() {
  while (!queue_.empty()) {
    if (is_being_read(queue_.front().second.prompt)) return;
    const int64_t slot = place(queue_.front().second);
    if (slot < 0) return;
    auto [id, request] = std::move(queue_.front());
    queue_.pop_front();
    const int64_t reused = decoder_.length(slot);
    counts_.reused_tokens += reused;
    Rng rng(request.seed, request.stream);
    Sampler sampler(request.sampling);
    running_.push_back({id, slot, std::move(request), std::move(sampler), rng, {}, {}, reused});
    if (running_.back().request.on_read) running_.back().request.on_read(reused);
    if (running_.back().request.max_tokens <= 0 && !reads_all(running_.back().request)) {
      finish(running_.back(), Finish::length);
      running_.pop_back();
    }
  }
}

// Looks for the newest place where the last tokens stood before.
void Scheduler::guess(Running& r) const {
  r.guesses.clear();
  const std::vector<int32_t>& held = slots_[static_cast<size_t>(r.slot)].tokens;
  std::vector<int32_t> text = held;
  text.push_back(r.generated.back());
  const int64_t room = decoder_.capacity() - decoder_.length(r.slot) - 1;
  const int64_t left = r.request.max_tokens - static_cast<int64_t>(r.generated.size()) - 1;
  const int64_t most = std::min({r.request.guesses, room, left});
  for (const size_t n : kGramLengths) {
    if (most <= 0 || text.size() <= n) continue;
    const auto gram = text.end() - static_cast<int64_t>(n);
    const auto found = std::find_end(text.begin(), text.end() - 1, gram, text.end());
    if (found == text.end() - 1) continue;
    const auto from = found + static_cast<int64_t>(n);
    r.guesses.assign(from, from + std::min<int64_t>(most, text.end() - from));
    return;
  }
}

// One token and its guesses of each sequence that writes, then as much of prompts as a pass takes.
void Scheduler::add_pieces() {
  pieces_.clear();
  piece_tokens_.clear();
  piece_owner_.clear();
  int64_t rows = 0;
  for (const bool writing : {true, false})
    for (size_t i = 0; i < running_.size(); ++i) {
      Running& r = running_[i];
      if (r.generated.empty() == writing) continue;
      std::vector<int32_t> tokens;
      if (writing) {
        guess(r);
        tokens.push_back(r.generated.back());
        tokens.insert(tokens.end(), r.guesses.begin(), r.guesses.end());
      } else {
        const auto size = static_cast<int64_t>(r.request.prompt.size());
        const int64_t n = std::min(size - r.read, pass_tokens_ - rows);
        if (n <= 0) continue;
        tokens.assign(r.request.prompt.begin() + r.read, r.request.prompt.begin() + r.read + n);
      }
      rows += static_cast<int64_t>(tokens.size());
      piece_tokens_.push_back(std::move(tokens));
      piece_owner_.push_back(i);
    }
  for (size_t i = 0; i < piece_tokens_.size(); ++i) {
    Running& r = running_[piece_owner_[i]];
    const bool reads = r.generated.empty();
    float* hidden = nullptr;
    if (reads && r.request.on_embedding) {
      r.hidden.resize(piece_tokens_[i].size() * static_cast<size_t>(decoder_.model().config().n_embd));
      hidden = r.hidden.data();
    }
    pieces_.push_back(
        {r.slot, piece_tokens_[i], reads ? bool(r.request.on_prompt_token) : !r.guesses.empty(), hidden});
  }
}

bool Scheduler::step() {
  const kernels::UseTeam team;  // also for what is done with logits
  admit();
  if (running_.empty()) return false;
  add_pieces();
  decoder_.read(pieces_);
  ++counts_.passes;
  std::vector<bool> ended(running_.size(), false);
  for (size_t i = 0; i < pieces_.size(); ++i) {
    Running& running = running_[piece_owner_[i]];
    try {
      ended[piece_owner_[i]] = !advance(running, static_cast<int64_t>(i));
    } catch (const Error& error) {
      ended[piece_owner_[i]] = true;
      fail(running, error);
    }
  }
  size_t kept = 0;
  for (size_t i = 0; i < running_.size(); ++i) {
    if (ended[i]) continue;
    if (kept != i) running_[kept] = std::move(running_[i]);
    ++kept;
  }
  running_.erase(running_.begin() + static_cast<int64_t>(kept), running_.end());
  if (const auto failure = std::exchange(failure_, std::nullopt)) throw *failure;
  return !running_.empty() || !queue_.empty();
}

bool Scheduler::advance(Running& r, int64_t piece) {
  std::vector<int32_t>& held = slots_[static_cast<size_t>(r.slot)].tokens;
  const std::vector<int32_t>& tokens = piece_tokens_[static_cast<size_t>(piece)];
  if (r.generated.empty()) {
    held.insert(held.end(), tokens.begin(), tokens.end());
    r.read += static_cast<int64_t>(tokens.size());
    counts_.prompt_tokens += static_cast<int64_t>(tokens.size());
    if (r.request.on_read) r.request.on_read(r.read);
    if (r.request.on_prompt_token) judge_prompt(r, piece);
    if (r.request.on_embedding) add_hidden(r, static_cast<int64_t>(tokens.size()));
    if (r.read < static_cast<int64_t>(r.request.prompt.size())) return true;
    const std::optional<Finish> why =
        r.request.max_tokens > 0 ? choose(r, decoder_.logits(r.slot)) : Finish::length;
    if (why) finish(r, *why);
    return !why;
  }
  const int64_t V = decoder_.model().config().vocab_size,
                before = decoder_.length(r.slot) - static_cast<int64_t>(tokens.size());
  std::optional<Finish> why;
  size_t right = 0;  // tokens of the piece that are the sequence's
  do {
    held.push_back(tokens[right]);
    ++right;
    const auto row = static_cast<int64_t>(right - 1);
    why = choose(r, tokens.size() == 1 ? decoder_.logits(r.slot)
                                       : decoder_.piece_logits(piece).subspan(static_cast<size_t>(row * V),
                                                                              static_cast<size_t>(V)));
  } while (!why && right < tokens.size() && tokens[right] == r.generated.back());
  counts_.guessed_tokens += static_cast<int64_t>(tokens.size()) - 1;
  counts_.right_guesses += static_cast<int64_t>(right) - 1;
  decoder_.truncate(r.slot, before + static_cast<int64_t>(right));
  if (why) finish(r, *why);
  return !why;
}

// What a slot holds after an error in the middle of a pass is not known: it is read anew.
void Scheduler::fail(Running& r, const Error& error) {
  decoder_.truncate(r.slot, 0);
  slots_[static_cast<size_t>(r.slot)].tokens.clear();
  if (r.request.on_error)
    r.request.on_error(error);
  else
    failure_ = error;
  finish(r, Finish::error);
}

void Scheduler::add_hidden(Running& r, int64_t tokens) const {
  const auto C = static_cast<size_t>(decoder_.model().config().n_embd);
  r.sum.resize(C);
  for (int64_t t = 0; t < tokens; ++t)
    for (size_t c = 0; c < C; ++c) r.sum[c] += r.hidden[static_cast<size_t>(t) * C + c];
  if (r.read < static_cast<int64_t>(r.request.prompt.size())) return;
  for (float& x : r.sum) x /= static_cast<float>(r.read);
  r.request.on_embedding(r.sum);
}

// What the logits after each of a piece's tokens say of the token that follows it in the prompt.
void Scheduler::judge_prompt(const Running& r, int64_t piece) {
  const auto V = static_cast<size_t>(decoder_.model().config().vocab_size);
  const size_t n = piece_tokens_[static_cast<size_t>(piece)].size();
  const size_t begin = static_cast<size_t>(r.read) - n;
  for (size_t i = 0; i < n && begin + i + 1 < r.request.prompt.size(); ++i) {
    const std::span<const float> logits = decoder_.piece_logits(piece).subspan(i * V, V);
    const int32_t id = r.request.prompt[begin + i + 1];
    const float log_prob = log_prob_of(logits, id);
    TokenChoice choice{id, log_prob, log_prob, {}};
    if (r.request.top_log_probs > 0) choice.top = top_candidates(logits, r.request.top_log_probs);
    r.request.on_prompt_token(choice);
  }
}

// The logits with everything at minus infinity that the request's constraint does not allow. Stop tokens are
// allowed where the text may end.
std::span<const float> Scheduler::constrain(Running& r, std::span<const float> logits) {
  Constraint& constraint = *r.request.constraint;
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  const std::span<const uint64_t> allowed = constraint.allowed();
  constrained_.assign(logits.size(), kNever);
  bool any = false;
  const auto allow = [&](size_t token) {
    constrained_[token] = logits[token];
    any = true;
  };
  for (size_t word = 0; word < allowed.size(); ++word)
    for (uint64_t bits = allowed[word]; bits != 0; bits &= bits - 1)
      if (const size_t token = 64 * word + static_cast<size_t>(std::countr_zero(bits)); token < logits.size())
        allow(token);
  if (constraint.may_end())
    for (const int32_t token : r.request.stop_tokens)
      if (token >= 0 && static_cast<size_t>(token) < logits.size()) allow(static_cast<size_t>(token));
  if (!any)
    throw Error("grammar",
                "got no token that may come next, expected one; the vocabulary cannot write what the "
                "grammar asks for, or it has no end here and there is no stop token");
  return constrained_;
}

// One more token; why the sequence ends with it, if it does.
std::optional<Finish> Scheduler::choose(Running& r, std::span<const float> logits) {
  const auto& stop_tokens = r.request.stop_tokens;
  const Drawn drawn = r.sampler.draw(r.request.constraint ? constrain(r, logits) : logits, r.rng,
                                     {r.request.prompt, r.generated});
  TokenChoice choice{drawn.id, log_prob_of(logits, drawn.id), drawn.log_prob, {}};
  if (r.request.top_log_probs > 0) {
    choice.top = top_candidates(logits, r.request.top_log_probs);
    for (Candidate& c : choice.top) c.sampled_log_prob = r.sampler.last_log_prob(c.id);
  }
  r.generated.push_back(choice.id);
  ++counts_.generated_tokens;
  const bool go_on = !r.request.on_token || r.request.on_token(choice);
  if (std::ranges::find(stop_tokens, choice.id) != stop_tokens.end()) return Finish::stop;
  if (r.request.constraint) {
    r.request.constraint->accept(choice.id);
    if (r.request.constraint->must_end()) return Finish::stop;
  }
  if (!go_on) return Finish::caller;
  if (static_cast<int64_t>(r.generated.size()) >= r.request.max_tokens) return Finish::length;
  const auto held = static_cast<int64_t>(slots_[static_cast<size_t>(r.slot)].tokens.size());
  if (held >= decoder_.capacity()) return Finish::context;
  return std::nullopt;
}

void Scheduler::finish(Running& r, Finish why) {
  slots_[static_cast<size_t>(r.slot)].busy = false;
  slots_[static_cast<size_t>(r.slot)].last_use = ++clock_;
  if (r.request.on_finish) r.request.on_finish(why);
}

}  // namespace tumbler::engine
