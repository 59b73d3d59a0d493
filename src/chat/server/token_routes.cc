#include "chat/server/token_routes.h"

#include "chat/render_chat.h"
#include "chat/server/api_error.h"
#include "chat/server/json_request.h"
#include "chat/server/openai_json.h"
#include "chat/server/pieces.h"
#include "tokens/streaming_decoder.h"

namespace tumbler::chat {
namespace {

Json answer(const std::vector<int32_t>& ids, Json pieces) {
  return {{"tokens", ids}, {"count", ids.size()}, {"pieces", std::move(pieces)}};
}

void tokenize(ModelRegistry& models, const httplib::Request& request, httplib::Response& response) {
  const Json body = parse_body(request.body);
  const Keys keys(body);
  const auto model = models.get(keys.text("model"));
  const tokens::Tokenizer& tokenizer = model->open().tokenizer;
  if (keys.find("messages") != nullptr) {
    const Pieces pieces = chat_pieces(body, *model);
    response.set_content(dump(answer(pieces.ids, pieces_json(tokenizer, pieces))), "application/json");
    return;
  }
  if (keys.find("content") == nullptr) throw wrong("content", "is missing, and so is messages");
  const std::vector<int32_t> ids = tokenizer.encode(keys.text("content"), keys.boolean("special", false));
  response.set_content(dump(answer(ids, pieces_json(tokenizer, {ids, {}}))), "application/json");
}

void detokenize(ModelRegistry& models, const httplib::Request& request, httplib::Response& response) {
  const Json body = parse_body(request.body);
  const Keys keys(body);
  const auto model = models.get(keys.text("model"));
  const std::vector<int32_t> ids = keys.ids("tokens");
  const tokens::Tokenizer& tokenizer = model->open().tokenizer;
  for (const int32_t id : ids)
    if (id >= tokenizer.vocab_size())
      throw wrong("tokens", "got id {}, expected 0 to {}", id, tokenizer.vocab_size() - 1);
  std::string text;
  if (tokens::append_utf8(tokenizer.decode(ids), text) > 0) text += "\uFFFD";
  response.set_content(dump({{"content", text}}), "application/json");
}

}  // namespace

void add_token_routes(httplib::Server& server, ModelRegistry& models) {
  server.Post("/tokenize",
              [&models](const auto& request, auto& response) { tokenize(models, request, response); });
  server.Post("/detokenize",
              [&models](const auto& request, auto& response) { detokenize(models, request, response); });
}

}  // namespace tumbler::chat
