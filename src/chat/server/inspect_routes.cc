#include "chat/server/inspect_routes.h"

#include <cmath>

#include "chat/server/api_error.h"
#include "chat/server/json_request.h"
#include "chat/server/openai_json.h"
#include "engine/inspector.h"

namespace tumbler::chat {
namespace {

constexpr int64_t kMaxTop = 20, kSmallMap = 24;

// Four digits are more than a picture shows, and a third of the bytes.
double rounded(double x) {
  return std::round(x * 1e4) / 1e4;
}

Json map_json(const std::vector<std::vector<float>>& map) {
  Json out = Json::array();
  for (const std::vector<float>& row : map) {
    Json values = Json::array();
    for (const float x : row) values.push_back(rounded(x));
    out.push_back(std::move(values));
  }
  return out;
}

Json heads_json(const std::vector<std::vector<std::vector<float>>>& heads) {
  Json out = Json::array();
  for (const auto& map : heads) out.push_back(map_json(map));
  return out;
}

Json lens(HostedModel& model, const Keys& keys) {
  const engine::Inspector inspector(model.open().model);
  const tokens::Tokenizer& tokenizer = model.open().tokenizer;
  Json layers = Json::array();
  for (const auto& cells : inspector.lens(keys.ids("tokens"), keys.integer("top", 5, 1, kMaxTop))) {
    Json row = Json::array();
    for (const engine::LensCell& cell : cells) {
      Json top = Json::array();
      for (const engine::Candidate& c : cell.top)
        top.push_back({{"id", c.id},
                       {"text", token_text(tokenizer, c.id)},
                       {"probability", rounded(std::exp(c.log_prob))}});
      row.push_back({{"top", std::move(top)}, {"norm", rounded(cell.norm)}});
    }
    layers.push_back(std::move(row));
  }
  return {{"layers", std::move(layers)}};
}

Json attention(HostedModel& model, const Keys& keys) {
  const engine::Inspector inspector(model.open().model);
  const std::vector<int32_t> tokens = keys.ids("tokens");
  if (keys.find("layer") != nullptr)
    return {{"heads", heads_json(inspector.attention(tokens, keys.integer("layer", 0, 0, INT32_MAX)))}};
  Json layers = Json::array();
  for (const auto& heads : inspector.attention_maps(tokens, kSmallMap)) layers.push_back(heads_json(heads));
  return {{"layers", std::move(layers)}};
}

template <class Question>
void handle(ModelRegistry& models, const Question& question, const httplib::Request& request,
            httplib::Response& response) {
  const Json body = parse_body(request.body);
  const Keys keys(body);
  const auto model = models.get(keys.text("model"));
  try {
    // Beside the model's passes: it takes turns with them.
    const std::lock_guard turn(model->turns());
    response.set_content(dump(question(*model, keys)), "application/json");
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "tokens");
  }
}

}  // namespace

void add_inspect_routes(httplib::Server& server, ModelRegistry& models) {
  server.Post("/api/inspect/lens",
              [&models](const auto& request, auto& response) { handle(models, lens, request, response); });
  server.Post("/api/inspect/attention", [&models](const auto& request, auto& response) {
    handle(models, attention, request, response);
  });
}

}  // namespace tumbler::chat
