// Parts of requests and answers in the form of OpenAI's API.
#pragma once

#include <string>
#include <vector>

#include "chat/server/hosted_model.h"
#include "chat/server/json_request.h"
#include "chat/session.h"
#include "engine/scheduler.h"
#include "tokens/tokenizer.h"

namespace tumbler::chat {

// "chatcmpl-3f8a…": 24 random hexadecimal digits.
std::string new_id(const char* prefix);

// With U+FFFD where the token begins or ends inside a character.
std::string token_text(const tokens::Tokenizer& tokenizer, int32_t id);

// {"token", "logprob", "bytes", "top_logprobs"}
Json token_log_prob(const tokens::Tokenizer& tokenizer, const engine::TokenChoice& choice);

// The form of /v1/completions: {"tokens", "token_logprobs", "top_logprobs", "text_offset"}.
class LegacyLogProbs {
 public:
  // The prompt's first token, of which nothing is known.
  void add_first(const tokens::Tokenizer& tokenizer, int32_t id);
  void add(const tokens::Tokenizer& tokenizer, const engine::TokenChoice& choice);
  size_t size() const noexcept { return tokens_.size(); }
  Json json(size_t from) const;

 private:
  std::vector<std::string> tokens_;
  std::vector<Json> log_probs_, top_;
  std::vector<size_t> offsets_;  // in bytes
  size_t length_ = 0;
};

// Throws ApiError where a prompt leaves no room for an answer.
void check_length(size_t tokens, const HostedModel& model, const char* param);
// HostedModel::start with what it throws as ApiError.
std::shared_ptr<Generation> start(HostedModel& model, std::vector<engine::Request> requests);
// A text, a list of texts, token ids, or a list of lists of them. None is empty. Throws ApiError.
std::vector<std::vector<int32_t>> read_prompts(const Keys& keys, const char* key, const HostedModel& model);

// "messages", "tools" and "chat_template_kwargs" as the model reads them. Throws ApiError.
Prompt read_prompt(const Json& body, const Json& tools, const HostedModel& model);
// The messages with what clients may also send brought to what templates read: contents in parts become one
// text, arguments of calls become objects. Throws ApiError.
Json read_messages(const Json& body);

}  // namespace tumbler::chat
