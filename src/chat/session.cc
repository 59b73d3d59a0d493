#include "chat/session.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "chat/render_chat.h"
#include "tokens/stop_strings.h"
#include "tokens/streaming_decoder.h"

namespace tumbler::chat {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kReadTokens = 256;  // between two looks at whether to go on

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Special tokens are no text, but for those that bound a thought.
bool is_silent(const tokens::Tokenizer& tokenizer, int32_t id) {
  if (id >= tokenizer.vocab_size() || !tokenizer.has(id)) return true;
  const std::string_view text = tokenizer.token_bytes(id);
  return tokenizer.is_special(id) && text != "<think>" && text != "</think>";
}

bool ends_in_thought(std::string_view text) {
  const size_t end = text.find_last_not_of(" \n");
  return end != std::string_view::npos && text.substr(0, end + 1).ends_with("<think>");
}

}  // namespace

Session::Session(engine::Decoder& decoder, tokens::Tokenizer tokenizer, jinja::Template chat_template,
                 SessionOptions options)
    : decoder_(decoder),
      tokenizer_(std::move(tokenizer)),
      template_(std::move(chat_template)),
      options_(std::move(options)),
      sampler_(options_.sampling) {
  decoder_.truncate(0, 0);
}

Prompt Session::prompt(const nlohmann::ordered_json& messages) const {
  const Rendered rendered =
      render_chat(template_, messages, {.bos_token = options_.bos_token, .eos_token = options_.eos_token});
  std::vector<std::pair<size_t, size_t>> input;
  for (const jinja::Range& range : rendered.input) input.emplace_back(range.begin, range.end);
  Prompt prompt{tokenizer_.encode(rendered.text, input), ends_in_thought(rendered.text)};
  if (prompt.tokens.empty()) throw Error("chat", "the chat template wrote nothing; use another template");
  return prompt;
}

Answer Session::answer(const Prompt& prompt, const OnText& on_text) {
  const auto size = static_cast<int64_t>(prompt.tokens.size());
  if (size >= decoder_.capacity())
    throw Error("chat", "the conversation has {} tokens, and the context holds {}; make it shorter", size,
                decoder_.capacity());
  Answer answer;
  answer.prompt_tokens = size;
  const auto begin = Clock::now();
  const bool go_on = read(prompt, answer, on_text);
  answer.read_seconds = seconds_since(begin);
  const auto written = Clock::now();
  if (go_on)
    write(prompt, answer, on_text);
  else
    answer.finish = engine::Finish::caller;
  answer.write_seconds = seconds_since(written);
  return answer;
}

// Only what comes after the tokens that the cache and the prompt have in common.
bool Session::read(const Prompt& prompt, Answer& answer, const OnText& on_text) {
  const std::vector<int32_t>& tokens = prompt.tokens;
  const auto common =
      std::mismatch(held_.begin(), held_.end(), tokens.begin(), tokens.end()).first - held_.begin();
  // The last token is read again: its logits are needed.
  size_t at = std::min(static_cast<size_t>(common), tokens.size() - 1);
  answer.reused_tokens = static_cast<int64_t>(at);
  decoder_.truncate(0, answer.reused_tokens);
  held_.resize(at);
  while (at < tokens.size()) {
    const size_t n = std::min(kReadTokens, tokens.size() - at);
    decoder_.extend(0, std::span(tokens).subspan(at, n));
    held_.insert(held_.end(), tokens.begin() + static_cast<ptrdiff_t>(at),
                 tokens.begin() + static_cast<ptrdiff_t>(at + n));
    at += n;
    if (!on_text({})) return false;
  }
  return true;
}

void Session::write(const Prompt& prompt, Answer& answer, const OnText& on_text) {
  Rng rng(options_.seed, answers_++);
  tokens::StreamingDecoder decoder(tokenizer_, /*skip_special=*/false);
  tokens::StopStrings stops(options_.stop);
  std::vector<int32_t> generated;
  const auto& ends = options_.stop_tokens;
  const auto say = [&](std::string_view text) {
    answer.text += text;
    return text.empty() || on_text(text);
  };
  bool go_on = true;
  for (;;) {
    const int32_t id = sampler_.sample(decoder_.logits(0), rng, {prompt.tokens, generated});
    generated.push_back(id);
    answer.finish = engine::Finish::stop;
    if (std::find(ends.begin(), ends.end(), id) != ends.end()) break;
    if (!is_silent(tokenizer_, id)) go_on = say(stops.push(decoder.push(id)));
    go_on = go_on && !stops.stopped() && on_text({});
    answer.finish = engine::Finish::caller;
    if (!go_on) break;
    answer.finish = engine::Finish::length;
    if (options_.max_tokens > 0 && static_cast<int64_t>(generated.size()) >= options_.max_tokens) break;
    answer.finish = engine::Finish::context;
    if (decoder_.length(0) >= decoder_.capacity()) break;
    const int64_t slot = 0;
    decoder_.step({&slot, 1}, {&id, 1});
    held_.push_back(id);
  }
  answer.tokens = static_cast<int64_t>(generated.size());
  if (stops.stopped()) return;
  std::string rest(stops.push(decoder.flush()));
  if (!stops.stopped()) rest += stops.flush();
  say(rest);
}

std::vector<int32_t> end_tokens(const tokens::Tokenizer& tokenizer, const std::vector<int64_t>& eos) {
  std::vector<int32_t> ends;
  for (const int64_t id : eos) ends.push_back(static_cast<int32_t>(id));
  const auto add = [&](std::optional<int32_t> id) {
    if (id && std::find(ends.begin(), ends.end(), *id) == ends.end()) ends.push_back(*id);
  };
  add(tokenizer.eos_id());
  for (const char* name : {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>",
                           "<|end_of_turn|>", "<|endoftext|>",
                           "<\xEF\xBD\x9C"
                           "end\xE2\x96\x81of\xE2\x96\x81"
                           "sentence\xEF\xBD\x9C>"})
    if (const auto id = tokenizer.find_added(name); id && tokenizer.is_special(*id)) add(id);
  return ends;
}

}  // namespace tumbler::chat
