#include "chat/server/openai_json.h"

#include <random>

#include <fmt/format.h>

#include "chat/server/api_error.h"
#include "tokens/streaming_decoder.h"
#include "tokens/tokenizer_json.h"

namespace tumbler::chat {
namespace {

constexpr size_t kMaxPrompts = 2048;

std::string bytes_of(const tokens::Tokenizer& tokenizer, int32_t id) {
  return id >= 0 && id < tokenizer.vocab_size() && tokenizer.has(id) ? std::string(tokenizer.token_bytes(id))
                                                                     : std::string();
}

// JSON has no minus infinity.
double finite(float log_prob) {
  return std::max(static_cast<double>(log_prob), -9999.0);
}

Json token_json(const tokens::Tokenizer& tokenizer, int32_t id, float log_prob) {
  Json bytes = Json::array();
  for (const char c : bytes_of(tokenizer, id)) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", token_text(tokenizer, id)}, {"logprob", finite(log_prob)}, {"bytes", std::move(bytes)}};
}

std::string text_of_parts(const Json& content) {
  std::string out;
  for (const Json& part : content) {
    if (!part.is_object() || !part.contains("text") || !part["text"].is_string())
      throw wrong("messages", "content: expected parts of type text; images and sound are not understood");
    out += part["text"].get<std::string>();
  }
  return out;
}

Json read_message(const Json& message) {
  if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
    throw wrong("messages", "expected objects with a role");
  Json out = message;
  if (out["role"] == "developer") out["role"] = "system";
  if (!out.contains("content") || out["content"].is_null())
    out["content"] = "";
  else if (out["content"].is_array())
    out["content"] = text_of_parts(out["content"]);
  else if (!out["content"].is_string())
    throw wrong("messages", "content: expected a text or a list of parts");
  if (!out.contains("tool_calls")) return out;
  if (!out["tool_calls"].is_array()) throw wrong("messages", "tool_calls: expected a list");
  for (Json& call : out["tool_calls"]) {
    const bool good = call.is_object() && call.contains("function") && call["function"].is_object();
    if (!good) throw wrong("messages", "tool_calls: expected functions");
    Json& arguments = call["function"]["arguments"];
    if (!arguments.is_string()) continue;
    Json parsed = Json::parse(arguments.get<std::string>(), nullptr, /*allow_exceptions=*/false);
    if (parsed.is_object()) arguments = std::move(parsed);
  }
  return out;
}

}  // namespace

std::string token_text(const tokens::Tokenizer& tokenizer, int32_t id) {
  std::string out;
  const std::string bytes = bytes_of(tokenizer, id);
  if (tokens::append_utf8(bytes, out) > 0) out += "\uFFFD";
  return out;
}

std::string new_id(const char* prefix) {
  std::random_device random;
  return fmt::format("{}-{:08x}{:08x}{:08x}", prefix, random(), random(), random());
}

Json token_log_prob(const tokens::Tokenizer& tokenizer, const engine::TokenChoice& choice) {
  Json out = token_json(tokenizer, choice.id, choice.log_prob);
  out["top_logprobs"] = Json::array();
  for (const engine::Candidate& c : choice.top)
    out["top_logprobs"].push_back(token_json(tokenizer, c.id, c.log_prob));
  return out;
}

void LegacyLogProbs::add_first(const tokens::Tokenizer& tokenizer, int32_t id) {
  add(tokenizer, {id, 0, 0, {}});
  log_probs_.back() = nullptr;
  top_.back() = nullptr;
}

void LegacyLogProbs::add(const tokens::Tokenizer& tokenizer, const engine::TokenChoice& choice) {
  tokens_.push_back(token_text(tokenizer, choice.id));
  log_probs_.push_back(finite(choice.log_prob));
  Json top = Json::object();
  for (const engine::Candidate& c : choice.top) top[token_text(tokenizer, c.id)] = finite(c.log_prob);
  top_.push_back(std::move(top));
  offsets_.push_back(length_);
  length_ += bytes_of(tokenizer, choice.id).size();
}

Json LegacyLogProbs::json(size_t from) const {
  Json out = {{"tokens", Json::array()},
              {"token_logprobs", Json::array()},
              {"top_logprobs", Json::array()},
              {"text_offset", Json::array()}};
  for (size_t i = from; i < tokens_.size(); ++i) {
    out["tokens"].push_back(tokens_[i]);
    out["token_logprobs"].push_back(log_probs_[i]);
    out["top_logprobs"].push_back(top_[i]);
    out["text_offset"].push_back(offsets_[i]);
  }
  return out;
}

void check_length(size_t tokens, const HostedModel& model, const char* param) {
  if (static_cast<int64_t>(tokens) >= model.context())
    throw ApiError(
        400,
        fmt::format("the prompt has {} tokens, and the context holds {}, the answer included; make it "
                    "shorter or start the server with a larger --context",
                    tokens, model.context()),
        param, "context_length_exceeded");
}

std::shared_ptr<Generation> start(HostedModel& model, std::vector<engine::Request> requests) {
  try {
    return model.start(std::move(requests));
  } catch (const QueueFull& error) {
    throw ApiError(429, error.what(), {}, "queue_full");
  } catch (const Error& error) {
    throw ApiError(400, error.what());
  }
}

std::vector<std::vector<int32_t>> read_prompts(const Keys& keys, const char* key, const HostedModel& model) {
  const tokens::Tokenizer& tokenizer = model.open().tokenizer;
  const auto encode = [&](const std::string& text) {
    std::vector<int32_t> ids(tokenizer.prefix().begin(), tokenizer.prefix().end());
    const std::vector<int32_t> rest = tokenizer.encode(text);
    ids.insert(ids.end(), rest.begin(), rest.end());
    if (ids.empty()) ids.push_back(tokenizer.bos_id().value_or(tokenizer.eos_id().value_or(0)));
    return ids;
  };
  const Json* prompt = keys.find(key);
  if (prompt == nullptr) throw wrong(key, "is missing");
  if (prompt->is_string()) return {encode(prompt->get<std::string>())};
  if (!prompt->is_array() || prompt->empty())
    throw wrong(key, "expected a text, a list of texts, or token ids");
  if (prompt->front().is_number()) return {keys.ids(key)};
  if (prompt->size() > kMaxPrompts)
    throw wrong(key, "got {} texts, expected at most {}", prompt->size(), kMaxPrompts);
  std::vector<std::vector<int32_t>> out;
  for (const Json& item : *prompt) {
    out.push_back(item.is_string() ? encode(item.get<std::string>()) : Keys(Json{{key, item}}).ids(key));
    if (out.back().empty()) throw wrong(key, "got an empty list in it");
  }
  return out;
}

Json read_messages(const Json& body) {
  const Json* messages = Keys(body).array("messages");
  if (messages == nullptr || messages->empty())
    throw wrong("messages", "expected a list of at least one message");
  Json out = Json::array();
  for (const Json& message : *messages) out.push_back(read_message(message));
  return out;
}

Prompt read_prompt(const Json& body, const Json& tools, const HostedModel& model) {
  if (model.chat_template() == nullptr)
    throw ApiError(400,
                   fmt::format("{} has no chat template: it continues texts and was not made to answer; use "
                               "/v1/completions",
                               model.id()),
                   "model");
  const Keys keys(body);
  const Json messages = read_messages(body);
  const tokens::Tokenizer& tokenizer = model.open().tokenizer;
  const auto text = [&](std::optional<int32_t> id) {
    return id ? tokens::spelling(tokenizer, *id) : std::string();
  };
  try {
    return make_prompt(*model.chat_template(), tokenizer, messages,
                       {.tools = tools.empty() ? nullptr : &tools,
                        .extra = keys.object("chat_template_kwargs"),
                        .bos_token = text(tokenizer.bos_id()),
                        .eos_token = text(tokenizer.eos_id())});
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "messages");
  }
}

}  // namespace tumbler::chat
