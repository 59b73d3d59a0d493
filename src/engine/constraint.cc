#include "engine/constraint.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/error.h"

namespace tumbler::engine {
namespace {

// What is kept of states and their tokens before it is all forgotten and found again.
constexpr size_t kMostKeptBytes = size_t{64} << 20;
// More than this for one token, and the grammar is refused.
constexpr size_t kMostBytes = size_t{512} << 20;
constexpr int32_t kDead = 0, kUnknown = -1;

// Where a rule goes on when the one that it called has ended. Equal stacks have equal numbers.
struct Frame {
  int32_t return_to, below;  // below: number of a frame, 0: none
  bool operator==(const Frame&) const = default;
};
struct FrameHash {
  size_t operator()(const Frame& f) const noexcept {
    return (static_cast<size_t>(f.return_to) * size_t{0x9e3779b97f4a7c15}) ^
           (static_cast<size_t>(f.below) * size_t{0xc2b2ae3d27d4eb4f});
  }
};

// One way through the grammar: the next step, which takes a byte or accepts, and the rules it is in.
struct Way {
  int32_t pc, stack;
  auto operator<=>(const Way&) const = default;
};
struct WaysHash {
  size_t operator()(const std::vector<Way>& ways) const noexcept {
    size_t hash = ways.size();
    for (const Way& way : ways)
      hash = (hash ^ FrameHash()({way.pc, way.stack})) * size_t{0x100000001b3} + (hash >> 29);
    return hash;
  }
};

}  // namespace

TokenTrie::TokenTrie(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i)
    if (!tokens_[i].empty()) sorted_.push_back(static_cast<int32_t>(i));
  const auto text = [&](int32_t token) -> const std::string& { return tokens_[static_cast<size_t>(token)]; };
  std::ranges::stable_sort(sorted_, [&](int32_t a, int32_t b) { return text(a) < text(b); });
  std::vector<int32_t> path;  // nodes from the top to the last one
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back())
      nodes_[static_cast<size_t>(path.back())].skip = static_cast<int32_t>(nodes_.size());
  };
  for (size_t i = 0; i < sorted_.size(); ++i) {
    const std::string& token = text(sorted_[i]);
    const std::string& before = i == 0 ? std::string() : text(sorted_[i - 1]);
    const auto common = static_cast<size_t>(std::ranges::mismatch(token, before).in1 - token.begin());
    if (i == 0 || common < token.size() || before.size() != token.size()) {
      close(common);
      for (size_t at = common; at < token.size(); ++at) {
        path.push_back(static_cast<int32_t>(nodes_.size()));
        nodes_.push_back({static_cast<uint8_t>(token[at]), static_cast<int32_t>(at), 0, 0, 0});
      }
      nodes_.back().first_token = static_cast<int32_t>(i);
    }
    ++nodes_[static_cast<size_t>(path.back())].token_count;
  }
  close(0);
}

class Constraint::Machine {
 public:
  Machine(std::shared_ptr<const Grammar> grammar, const TokenTrie& tokens)
      : grammar_(std::move(grammar)), tokens_(tokens) {
    forget();
  }

  int32_t start() {
    std::vector<Way> ways;
    seen_.clear();
    follow({0, 0}, ways);
    return number_of(std::move(ways));
  }

  bool may_end(int32_t state) const noexcept { return states_[static_cast<size_t>(state)].may_end; }
  bool must_end(int32_t state) const noexcept {
    const State& s = states_[static_cast<size_t>(state)];
    return s.may_end && s.ways.size() == 1;
  }

  int32_t next(int32_t state, uint8_t byte) {
    if (state == kDead) return kDead;
    const int32_t known = states_[static_cast<size_t>(state)].next[byte];
    return known != kUnknown ? known : find_next(state, byte);
  }

  std::span<const uint64_t> allowed(int32_t state) {
    if (states_[static_cast<size_t>(state)].allowed.empty()) find_allowed(state);
    return states_[static_cast<size_t>(state)].allowed;
  }

  // Keeps no more than one state, if there are many. Returns its new number.
  int32_t tidy(int32_t state) {
    if (kept_bytes_ < kMostKeptBytes) return state;
    std::vector<std::vector<int32_t>> stacks;  // return addresses, from below
    const std::vector<Way> ways = states_[static_cast<size_t>(state)].ways;
    for (const Way& way : ways) {
      stacks.emplace_back();
      for (int32_t f = way.stack; f != 0; f = frames_[static_cast<size_t>(f)].below)
        stacks.back().push_back(frames_[static_cast<size_t>(f)].return_to);
    }
    forget();
    std::vector<Way> again;
    for (size_t i = 0; i < ways.size(); ++i) {
      int32_t stack = 0;
      for (auto at = stacks[i].rbegin(); at != stacks[i].rend(); ++at) stack = push(stack, *at);
      again.push_back({ways[i].pc, stack});
    }
    return number_of(std::move(again));
  }

 private:
  using Op = Grammar::Instruction::Op;
  struct State {
    std::vector<Way> ways;
    bool may_end = false;
    std::vector<int32_t> next;      // for each byte
    std::vector<uint64_t> allowed;  // empty: not yet known
  };

  const Grammar::Instruction& step(int32_t pc) const { return grammar_->program()[static_cast<size_t>(pc)]; }

  void forget() {
    states_.clear();
    state_numbers_.clear();
    frames_ = {{-1, 0}};
    depth_ = {0};
    frame_numbers_.clear();
    kept_bytes_ = 0;
    number_of({});  // kDead
  }

  int32_t push(int32_t below, int32_t return_to) {
    const Frame frame{return_to, below};
    const auto [found, is_new] = frame_numbers_.try_emplace(frame, static_cast<int32_t>(frames_.size()));
    if (is_new) {
      frames_.push_back(frame);
      depth_.push_back(depth_[static_cast<size_t>(below)] + 1);
      kept_bytes_ += 64;
    }
    return found->second;
  }

  int32_t number_of(std::vector<Way> ways) {
    std::ranges::sort(ways);
    ways.erase(std::unique(ways.begin(), ways.end()), ways.end());
    const auto [found, is_new] = state_numbers_.try_emplace(ways, static_cast<int32_t>(states_.size()));
    if (!is_new) return found->second;
    if (kept_bytes_ > kMostBytes)
      throw Error("grammar",
                  "got more than {} MB of states for one token, expected fewer; simplify the grammar",
                  kMostBytes >> 20);
    State state;
    state.may_end = std::ranges::any_of(ways, [&](const Way& w) { return step(w.pc).op == Op::accept; });
    state.next.assign(256, kUnknown);
    kept_bytes_ += 1200 + 2 * ways.size() * sizeof(Way);
    state.ways = std::move(ways);
    states_.push_back(std::move(state));
    return found->second;
  }

  // Follows jumps, calls and ends of rules from a way, up to the steps that take a byte or accept.
  void follow(Way from, std::vector<Way>& out) {
    open_.push_back(from);
    while (!open_.empty()) {
      const Way way = open_.back();
      open_.pop_back();
      if (seen_.size() > static_cast<size_t>(kMaxWays)) {
        open_.clear();
        throw Error("grammar",
                    "got more than {} ways to go on at one place, expected fewer; make the grammar say one "
                    "thing in one way",
                    kMaxWays);
      }
      if (!seen_.try_emplace({way.pc, way.stack}, true).second) continue;
      const Grammar::Instruction& at = step(way.pc);
      switch (at.op) {
        case Op::byte:
        case Op::accept:
          out.push_back(way);
          break;
        case Op::split:
          open_.push_back({way.pc + 1, way.stack});
          open_.push_back({at.to, way.stack});
          break;
        case Op::jump:
          open_.push_back({at.to, way.stack});
          break;
        case Op::call:
          call(way, at.to);
          break;
        case Op::end_rule: {
          const Frame frame = frames_[static_cast<size_t>(way.stack)];
          open_.push_back({frame.return_to, frame.below});
          break;
        }
      }
    }
  }

  void call(const Way& way, int32_t entry) {
    int32_t after = way.pc + 1;
    while (step(after).op == Op::jump) after = step(after).to;
    if (step(after).op == Op::end_rule) {  // nothing to come back to: lists of any length need no stack
      open_.push_back({entry, way.stack});
      return;
    }
    if (depth_[static_cast<size_t>(way.stack)] < kMaxDepth) open_.push_back({entry, push(way.stack, after)});
  }

  int32_t find_next(int32_t state, uint8_t byte) {
    std::vector<Way> ways;
    seen_.clear();
    const std::vector<Way> from = states_[static_cast<size_t>(state)].ways;
    for (const Way& way : from) {
      const Grammar::Instruction& at = step(way.pc);
      if (at.op == Op::byte && at.low <= byte && byte <= at.high) follow({way.pc + 1, way.stack}, ways);
    }
    const int32_t found = number_of(std::move(ways));
    states_[static_cast<size_t>(state)].next[byte] = found;
    return found;
  }

  void find_allowed(int32_t state) {
    std::vector<uint64_t> bits(static_cast<size_t>((tokens_.vocabulary() + 63) / 64), 0);
    const std::span<const TokenTrie::Node> nodes = tokens_.nodes();
    path_.assign(1, state);
    for (size_t i = 0; i < nodes.size();) {
      const TokenTrie::Node& node = nodes[i];
      const auto depth = static_cast<size_t>(node.depth);
      const int32_t after = next(path_[depth], node.byte);
      if (after == kDead) {
        i = static_cast<size_t>(node.skip);
        continue;
      }
      path_.resize(depth + 1);
      path_.push_back(after);
      for (int32_t t = 0; t < node.token_count; ++t) {
        const int32_t token = tokens_.sorted()[static_cast<size_t>(node.first_token + t)];
        bits[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64);
      }
      ++i;
    }
    kept_bytes_ += bits.size() * 8;
    states_[static_cast<size_t>(state)].allowed = std::move(bits);
  }

  std::shared_ptr<const Grammar> grammar_;
  const TokenTrie& tokens_;
  std::vector<State> states_;
  std::unordered_map<std::vector<Way>, int32_t, WaysHash> state_numbers_;
  std::vector<Frame> frames_;
  std::vector<int32_t> depth_;  // of frames
  std::unordered_map<Frame, int32_t, FrameHash> frame_numbers_;
  size_t kept_bytes_ = 0;
  // Scratch.
  std::unordered_map<Frame, bool, FrameHash> seen_;
  std::vector<Way> open_;
  std::vector<int32_t> path_;
};

Constraint::Constraint(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> tokens)
    : machine_(std::make_unique<Machine>(std::move(grammar), *tokens)),
      tokens_(std::move(tokens)),
      state_(machine_->start()) {}
Constraint::~Constraint() = default;

int64_t Constraint::vocabulary() const noexcept {
  return tokens_->vocabulary();
}
std::span<const uint64_t> Constraint::allowed() {
  return machine_->allowed(state_);
}
bool Constraint::is_allowed(int32_t token) {
  if (token < 0 || token >= vocabulary()) return false;
  return (allowed()[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
}
bool Constraint::may_end() const noexcept {
  return machine_->may_end(state_);
}
bool Constraint::must_end() const noexcept {
  return machine_->must_end(state_);
}
void Constraint::accept(int32_t token) {
  CHECK(token >= 0 && token < vocabulary());
  for (const char c : tokens_->bytes(token)) state_ = machine_->next(state_, static_cast<uint8_t>(c));
  CHECK(state_ != kDead, "token {} is not allowed here", token);
  state_ = machine_->tidy(state_);
}

}  // namespace tumbler::engine
