#include "chat/session.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "chat/render_chat.h"
#include "chat/text_stream.h"

namespace tumbler::chat {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kReadTokens = 256;  // between two looks at whether to go on

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

bool ends_in_thought(std::string_view text) {
  const size_t end = text.find_last_not_of(" \n");
  return end != std::string_view::npos && text.substr(0, end + 1).ends_with("<think>");
}

}  // namespace

Prompt make_prompt(const jinja::Template& chat_template, const tokens::Tokenizer& tokenizer,
                   const nlohmann::ordered_json& messages, const ChatOptions& options) {
  const Rendered rendered = render_chat(chat_template, messages, options);
  std::vector<std::pair<size_t, size_t>> input;
  for (const jinja::Range& range : rendered.input) input.emplace_back(range.begin, range.end);
  Prompt prompt{tokenizer.encode(rendered.text, input), ends_in_thought(rendered.text), rendered.text, input};
  if (prompt.tokens.empty()) throw Error("chat", "the chat template wrote nothing; use another template");
  return prompt;
}

Session::Session(engine::Decoder& decoder, tokens::Tokenizer tokenizer, jinja::Template chat_template,
                 SessionOptions options)
    : decoder_(decoder),
      tokenizer_(std::move(tokenizer)),
      template_(std::move(chat_template)),
      options_(std::move(options)),
      scheduler_(decoder_, kReadTokens) {}

Prompt Session::prompt(const nlohmann::ordered_json& messages) const {
  return make_prompt(template_, tokenizer_, messages,
                     {.bos_token = options_.bos_token, .eos_token = options_.eos_token});
}

Answer Session::answer(const Prompt& prompt, const OnText& on_text) {
  const auto size = static_cast<int64_t>(prompt.tokens.size());
  if (size >= decoder_.capacity())
    throw Error("chat", "the conversation has {} tokens, and the context holds {}; make it shorter", size,
                decoder_.capacity());
  Answer answer;
  answer.prompt_tokens = size;
  TextStream stream(tokenizer_, options_.stop_tokens, options_.stop);
  const auto say = [&](std::string_view text) {
    answer.text += text;
    return text.empty() || on_text(text);
  };
  const auto begin = Clock::now();
  engine::Request request{.prompt = prompt.tokens,
                          .sampling = options_.sampling,
                          .seed = options_.seed,
                          .stream = answers_,
                          .max_tokens = options_.max_tokens > 0 ? options_.max_tokens : decoder_.capacity(),
                          .stop_tokens = options_.stop_tokens,
                          .guesses = options_.guesses};
  if (options_.grammar)
    request.constraint = std::make_shared<engine::Constraint>(options_.grammar, options_.vocabulary);
  request.on_token = [&](const engine::TokenChoice& choice) {
    if (answer.tokens == 0) {
      answer.read_seconds = seconds_since(begin);
      if (!on_text({})) return false;
    }
    ++answer.tokens;
    return say(stream.push(choice.id)) && !stream.stopped() && on_text({});
  };
  request.on_finish = [&](engine::Finish why) { answer.finish = why; };
  const int64_t reused = scheduler_.counts().reused_tokens, id = scheduler_.submit(std::move(request));
  while (scheduler_.step())
    if (answer.tokens == 0 && !on_text({})) scheduler_.cancel(id);
  answer.reused_tokens = scheduler_.counts().reused_tokens - reused;
  if (answer.tokens == 0) {
    answer.read_seconds = seconds_since(begin);
    return answer;
  }
  ++answers_;
  say(stream.finish());
  answer.write_seconds = seconds_since(begin) - answer.read_seconds;
  return answer;
}

std::vector<int32_t> end_tokens(const tokens::Tokenizer& tokenizer, const std::vector<int64_t>& eos) {
  std::vector<int32_t> ends;
  for (const int64_t id : eos) ends.push_back(static_cast<int32_t>(id));
  const auto add = [&](std::optional<int32_t> id) {
    if (id && std::find(ends.begin(), ends.end(), *id) == ends.end()) ends.push_back(*id);
  };
  add(tokenizer.eos_id());
  for (const char* name : {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>",
                           "<|end_of_turn|>", "<|endoftext|>", "<\uFF5Cend\u2581of\u2581sentence\uFF5C>"})
    if (const auto id = tokenizer.find_added(name); id && tokenizer.is_special(*id)) add(id);
  return ends;
}

}  // namespace tumbler::chat
