#include "chat/server/sampling_request.h"

#include <charconv>
#include <random>

#include "chat/server/api_error.h"
#include "engine/grammar.h"
#include "engine/json_schema.h"

namespace tumbler::chat {
namespace {

constexpr int64_t kMaxChoices = 128, kMaxTokens = int64_t{1} << 31;
constexpr size_t kMaxStops = 16;

std::vector<std::pair<int32_t, float>> read_biases(const Keys& keys, const HostedModel& model) {
  std::vector<std::pair<int32_t, float>> out;
  const Json* biases = keys.object("logit_bias");
  if (biases == nullptr) return out;
  const int64_t V = model.open().model.config().vocab_size;
  for (const auto& [key, value] : biases->items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= V)
      throw wrong("logit_bias", "got token id \"{}\", expected 0 to {}", key, V - 1);
    if (!value.is_number()) throw wrong("logit_bias", "of token {}: expected a number", id);
    out.emplace_back(id, value.get<float>());
  }
  return out;
}

std::string read_grammar(const Keys& keys) {
  if (std::string grammar = keys.text("grammar"); !grammar.empty()) return grammar;
  if (const Json* schema = keys.object("json_schema")) return engine::json_schema_grammar(dump(*schema));
  const Json* format = keys.object("response_format");
  if (format == nullptr) return {};
  const std::string type = Keys(*format).text("type");
  if (type == "text") return {};
  if (type == "json_object") return engine::json_schema_grammar(R"({"type": "object"})");
  if (type != "json_schema")
    throw wrong("response_format", "got type \"{}\", expected text, json_object or json_schema", type);
  const Json* holder = Keys(*format).object("json_schema");
  const Json* schema = holder == nullptr ? nullptr : Keys(*holder).find("schema");
  if (schema == nullptr) throw wrong("response_format", "json_schema.schema is missing");
  return engine::json_schema_grammar(dump(*schema));
}

}  // namespace

SamplingRequest read_sampling(const Json& request, const HostedModel& model, const std::string& grammar) {
  const Keys keys(request);
  SamplingRequest out;
  engine::SamplingOptions& s = out.sampling;
  s.temperature = keys.number("temperature", 1, 0, 1000);
  s.top_k = keys.integer("top_k", 0, 0, kMaxTokens);
  s.top_p = keys.number("top_p", 1, 0, 1);
  if (s.top_p == 0) s.top_k = s.top_p = 1;  // as OpenAI's clients mean it
  s.min_p = keys.number("min_p", 0, 0, 1);
  s.repetition_penalty = keys.number("repetition_penalty", 1, 0.001, 1000);
  s.presence_penalty = keys.number("presence_penalty", 0, -2, 2);
  s.frequency_penalty = keys.number("frequency_penalty", 0, -2, 2);
  s.logit_bias = read_biases(keys, model);
  for (const char* key : {"max_completion_tokens", "max_tokens"})
    if (keys.find(key) != nullptr) out.max_tokens = keys.integer(key, 0, 0, kMaxTokens);
  out.choices = keys.integer("n", 1, 1, kMaxChoices);
  out.guesses = keys.integer("guesses", 0, 0, 64);
  out.stop = keys.texts("stop", kMaxStops);
  out.seed = keys.find("seed") != nullptr
                 ? static_cast<uint64_t>(keys.integer("seed", 0, std::numeric_limits<int64_t>::min(),
                                                      std::numeric_limits<int64_t>::max()))
                 : std::random_device()() | uint64_t{std::random_device()()} << 32;
  try {
    engine::check_sampling(s);
    const std::string text = grammar.empty() ? read_grammar(keys) : grammar;
    if (!text.empty()) out.grammar = std::make_shared<const engine::Grammar>(engine::Grammar::parse(text));
  } catch (const Error& error) {
    throw ApiError(400, error.what());
  }
  return out;
}

engine::Request make_request(const SamplingRequest& sampling, HostedModel& model, std::vector<int32_t> prompt,
                             int64_t choice) {
  engine::Request request{.prompt = std::move(prompt),
                          .sampling = sampling.sampling,
                          .seed = sampling.seed,
                          .stream = static_cast<uint64_t>(choice),
                          .max_tokens = sampling.max_tokens.value_or(model.context()),
                          .stop_tokens = model.stop_tokens(),
                          .guesses = sampling.guesses};
  if (sampling.grammar)
    request.constraint = std::make_shared<engine::Constraint>(sampling.grammar, model.vocabulary());
  return request;
}

}  // namespace tumbler::chat
