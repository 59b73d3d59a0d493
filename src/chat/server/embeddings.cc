#include "chat/server/embeddings.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "chat/server/api_error.h"
#include "chat/server/connection.h"
#include "chat/server/json_request.h"
#include "chat/server/openai_json.h"

namespace tumbler::chat {
namespace {

void normalise(std::vector<float>& vector) {
  double sum = 0;
  for (const float x : vector) sum += static_cast<double>(x) * x;
  const double scale = sum > 0 ? 1 / std::sqrt(sum) : 0;
  for (float& x : vector) x = static_cast<float>(x * scale);
}

// RFC 4648, of the floats' bytes in little-endian order.
std::string base64(const std::vector<float>& vector) {
  static_assert(std::endian::native == std::endian::little);
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<unsigned char> bytes(vector.size() * sizeof(float));
  std::memcpy(bytes.data(), vector.data(), bytes.size());
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < n ? bytes[i + k] : 0u);
    for (size_t k = 0; k < 4; ++k) out += k <= n ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

void handle(ModelRegistry& models, Metrics& metrics, const ApiOptions& options,
            const httplib::Request& request, httplib::Response& response) {
  const auto deadline =
      Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(1000 * options.request_seconds));
  const Json body = parse_body(request.body);
  const Keys keys(body);
  const auto model = models.get(keys.text("model"));
  const std::string format = keys.text("encoding_format", "float");
  if (format != "float" && format != "base64")
    throw wrong("encoding_format", "got \"{}\", expected float or base64", format);
  std::vector<engine::Request> requests;
  int64_t tokens = 0;
  for (std::vector<int32_t>& prompt : read_prompts(keys, "input", *model)) {
    check_length(prompt.size(), *model, "input");
    tokens += static_cast<int64_t>(prompt.size());
    requests.push_back({.prompt = std::move(prompt), .max_tokens = 0});
    requests.back().on_embedding = [](std::span<const float>) {};
  }
  const auto generation = start(*model, std::move(requests));
  std::vector<std::vector<float>> vectors(generation->choices());
  const Connection connection(request);
  for (size_t left = vectors.size(); left > 0;) {
    for (Event& event : generation->take(Clock::now() + std::chrono::milliseconds(100))) {
      if (event.kind == Event::Kind::embedding) vectors[event.choice] = std::move(event.embedding);
      if (event.kind == Event::Kind::failed) throw ApiError(500, event.message, {}, "generation_failed");
      if (event.kind == Event::Kind::done) --left;
    }
    const bool gone = connection.closed();
    if (!gone && Clock::now() < deadline) continue;
    generation->cancel();
    if (gone) metrics.count_cancelled();
    throw gone ? ApiError(499, "the client went away")
               : ApiError(504, "the request took longer than --request-seconds");
  }
  Json data = Json::array();
  for (size_t i = 0; i < vectors.size(); ++i) {
    normalise(vectors[i]);
    data.push_back({{"object", "embedding"},
                    {"index", i},
                    {"embedding", format == "float" ? Json(vectors[i]) : Json(base64(vectors[i]))}});
  }
  response.set_content(dump({{"object", "list"},
                             {"data", std::move(data)},
                             {"model", model->id()},
                             {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}}),
                       "application/json");
}

}  // namespace

void add_embedding_routes(httplib::Server& server, ModelRegistry& models, Metrics& metrics,
                          const ApiOptions& options) {
  server.Post("/v1/embeddings", [&models, &metrics, options](const auto& request, auto& response) {
    handle(models, metrics, options, request, response);
  });
}

}  // namespace tumbler::chat
