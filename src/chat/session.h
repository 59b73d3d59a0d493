// Session: a model answers a conversation. All that chat asks of the engine is here: prompt → tokens, what
// the cache holds already is not read again, tokens → text in whole characters.
//
//   Session session(decoder, tokenizer, jinja::Template::parse(source), options);
//   const Prompt prompt = session.prompt(conversation.messages());
//   const Answer answer = session.answer(prompt, [](std::string_view text) { … return true; });
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja/template.h"
#include "chat/render_chat.h"
#include "engine/decoder.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "tokens/tokenizer.h"

namespace tumbler::chat {

struct SessionOptions {
  engine::SamplingOptions sampling;
  uint64_t seed = 0;                   // answer n draws from Rng(seed, n): the same again has other luck
  int64_t max_tokens = 0;              // an answer; 0: what the context holds
  std::vector<int32_t> stop_tokens;    // end an answer and are no part of it
  std::vector<std::string> stop = {};  // likewise, as text
  int64_t guesses = 0;  // most tokens to guess ahead where text repeats itself; changes no token
  std::shared_ptr<const engine::Grammar> grammar = {};       // what every answer has to follow, or nothing
  std::shared_ptr<const engine::TokenTrie> vocabulary = {};  // with `grammar`: the tokens' bytes
  std::string bos_token = {}, eos_token = {};                // for the template; empty: not defined
};

struct Prompt {
  std::vector<int32_t> tokens;
  bool thinking = false;                              // it ends in <think>: the answer begins with a thought
  std::string text = {};                              // what the tokens are of
  std::vector<std::pair<size_t, size_t>> input = {};  // the bytes of it that came from outside
};

// A conversation's tokens. Throws Error where the template refuses the messages.
Prompt make_prompt(const jinja::Template& chat_template, const tokens::Tokenizer& tokenizer,
                   const nlohmann::ordered_json& messages, const ChatOptions& options);

struct Answer {
  std::string text;
  engine::Finish finish = engine::Finish::length;  // caller: on_text said so, or a text of `stop` came
  int64_t prompt_tokens = 0, reused_tokens = 0, tokens = 0;
  double read_seconds = 0, write_seconds = 0;  // until the first token could be drawn, and from then on
};

// Text as it comes, in whole characters; empty now and then while the prompt is read. False ends the answer.
using OnText = std::function<bool(std::string_view)>;

class Session {
 public:
  // Uses all of the decoder, which must outlive this.
  Session(engine::Decoder& decoder, tokens::Tokenizer tokenizer, jinja::Template chat_template,
          SessionOptions options);

  // Throws Error where the template refuses the messages.
  Prompt prompt(const nlohmann::ordered_json& messages) const;
  // Throws Error, and the session goes on as before, where the prompt leaves no room in the context.
  Answer answer(const Prompt& prompt, const OnText& on_text);

  int64_t context_tokens() const { return decoder_.length(0); }

 private:
  engine::Decoder& decoder_;
  tokens::Tokenizer tokenizer_;
  jinja::Template template_;
  SessionOptions options_;
  engine::Scheduler scheduler_;
  uint64_t answers_ = 0;
};

// What ends an answer: `eos`, and special tokens by which models are known to end a turn.
std::vector<int32_t> end_tokens(const tokens::Tokenizer& tokenizer, const std::vector<int64_t>& eos);

}  // namespace tumbler::chat
