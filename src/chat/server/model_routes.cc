#include "chat/server/model_routes.h"

#include "chat/server/api_error.h"
#include "chat/server/json_request.h"
#include "kernels/isa.h"

namespace tumbler::chat {
namespace {

Json status_json(const HostedModel& model) {
  const HostedModel::Status status = model.status();
  return {{"weight_bytes", status.weight_bytes},
          {"cache_bytes", status.cache_bytes},
          {"sequences", model.options().sequences},
          {"context", model.context()},
          {"active", status.active},
          {"queued", status.waiting},
          {"idle_seconds", status.idle_seconds}};
}

Json listed_json(const ListedModel& model) {
  constexpr const char* kStates[] = {"here", "loading", "loaded"};
  Json out = {{"id", model.id}, {"path", model.found.path.string()}};
  if (!model.found.error.empty()) out["error"] = model.found.error;
  if (!model.load_error.empty()) out["error"] = model.load_error;
  out.update({{"family", model.found.family},
              {"parameters", model.found.parameters},
              {"size_bytes", model.found.size_bytes},
              {"weights", model.found.weights},
              {"context", model.found.context},
              {"chat", model.found.chats},
              {"recommended", model.recommended},
              {"needed_bytes", model.found.needed_bytes()},
              {"state", kStates[static_cast<size_t>(model.state)]}});
  if (model.hosted) out["loaded"] = status_json(*model.hosted);
  return out;
}

Json config_json(const nn::ModelConfig& c) {
  return {{"family", c.family},
          {"n_layer", c.n_layer},
          {"n_embd", c.n_embd},
          {"n_head", c.n_head},
          {"n_kv_head", c.n_kv_head},
          {"head_dim", c.head_dim},
          {"n_ff", c.n_ff},
          {"vocab_size", c.vocab_size},
          {"max_positions", c.max_positions},
          {"sliding_window", c.sliding_window}};
}

void add_tensor(Json& tensors, const std::string& name, const engine::Linear& linear) {
  for (const engine::Linear::Part& part : linear.parts) {
    const kernels::PackedWeights& w = part.weights;
    tensors.push_back(
        {{"name", linear.parts.size() > 1 ? fmt::format("{}[{}:]", name, part.first_row) : name},
         {"shape", {w.rows, w.cols}},
         {"type", kernels::weight_type_name(w.type)},
         {"bytes", kernels::packed_bytes(w.type, w.rows, w.cols)}});
  }
}

void add_vector(Json& tensors, const std::string& name, const std::vector<float>& values) {
  if (values.empty()) return;
  tensors.push_back(
      {{"name", name}, {"shape", {values.size()}}, {"type", "f32"}, {"bytes", values.size() * 4}});
}

Json tensors_json(const engine::Model& model) {
  Json out = Json::array();
  const kernels::PackedWeights& e = model.embedding();
  out.push_back({{"name", "embedding"},
                 {"shape", {e.rows, e.cols}},
                 {"type", kernels::weight_type_name(e.type)},
                 {"bytes", kernels::packed_bytes(e.type, e.rows, e.cols)}});
  add_vector(out, "positions", model.positions());
  for (size_t i = 0; i < model.layers().size(); ++i) {
    const engine::Layer& layer = model.layers()[i];
    const std::string prefix = fmt::format("layers.{}.", i);
    add_vector(out, prefix + "attn_norm", layer.attn_norm);
    add_tensor(out, prefix + "qkv", layer.qkv);
    add_vector(out, prefix + "q_norm", layer.q_norm);
    add_vector(out, prefix + "k_norm", layer.k_norm);
    add_tensor(out, prefix + "out", layer.out);
    add_vector(out, prefix + "attn_post_norm", layer.attn_post_norm);
    add_vector(out, prefix + "mlp_norm", layer.mlp_norm);
    add_tensor(out, prefix + "up", layer.up);
    add_tensor(out, prefix + "down", layer.down);
    add_vector(out, prefix + "mlp_post_norm", layer.mlp_post_norm);
  }
  add_vector(out, "final_norm", model.final_norm());
  if (!model.head().parts.empty() && model.head().parts[0].weights.data != e.data)
    add_tensor(out, "head", model.head());
  return out;
}

void answer(httplib::Response& response, const Json& json, int status = 200) {
  response.status = status;
  response.set_content(dump(json), "application/json");
}

}  // namespace

void add_model_routes(httplib::Server& server, ModelRegistry& models, const std::string& version) {
  server.Get("/api/status", [version](const auto&, auto& response) {
    answer(response, {{"version", version},
                      {"isa", kernels::isa_name(kernels::active_isa())},
                      {"threads", kernels::thread_count()},
                      {"memory_available_bytes", available_bytes()}});
  });
  server.Get("/api/models", [&models](const auto&, auto& response) {
    Json list = Json::array();
    for (const ListedModel& model : models.list()) list.push_back(listed_json(model));
    answer(response, {{"memory_available_bytes", available_bytes()}, {"models", std::move(list)}});
  });
  server.Post("/api/models/load", [&models](const auto& request, auto& response) {
    models.start_loading(Keys(parse_body(request.body)).text("path"));
    answer(response, Json::object(), 202);
  });
  server.Post("/api/models/eject", [&models](const auto& request, auto& response) {
    answer(response, {{"freed_bytes", models.eject(Keys(parse_body(request.body)).text("id"))}});
  });
  server.Get(R"(/api/models/(.+))", [&models](const auto& request, auto& response) {
    const auto model = models.get(request.matches[1]);
    answer(response, {{"id", model->id()},
                      {"config", config_json(model->open().model.config())},
                      {"chat_template", model->open().chat_template},
                      {"tensors", tensors_json(model->open().model)}});
  });
}

}  // namespace tumbler::chat
