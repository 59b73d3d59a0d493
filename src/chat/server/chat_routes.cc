#include "chat/server/chat_routes.h"

#include <charconv>

#include "chat/server/api_error.h"
#include "chat/server/json_request.h"
#include "chat/server/openai_json.h"
#include "chat/server/pieces.h"
#include "chat/store/chat_files.h"

namespace tumbler::chat {
namespace {

constexpr size_t kTitleCharacters = 60;

void answer(httplib::Response& response, const Json& json, int status = 200) {
  response.status = status;
  response.set_content(dump(json), "application/json");
}

int64_t to_number(const std::string& text, const char* what) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0)
    throw wrong(what, "got \"{}\", expected a number from 0", text.substr(0, 40));
  return value;
}

int64_t parameter(const httplib::Request& request, const char* name, int64_t otherwise) {
  return request.has_param(name) ? to_number(request.get_param_value(name), name) : otherwise;
}

int64_t id_of(const httplib::Request& request, size_t group = 1) {
  return to_number(request.matches[group], "id");
}

// What the store throws, as answers.
template <class Body>
auto guarded(Body body) {
  return [body](const httplib::Request& request, httplib::Response& response) {
    try {
      body(request, response);
    } catch (const NotFound& error) {
      throw ApiError(404, error.what());
    } catch (const Unfit& error) {
      throw ApiError(400, error.what());
    }
  };
}

// The first line of the first message.
std::string title_of(const std::string& content) {
  std::string line = content.substr(0, content.find('\n'));
  size_t at = 0;
  for (size_t n = 0; at < line.size() && (n < kTitleCharacters || (line[at] & 0xC0) == 0x80); ++at)
    n += (line[at] & 0xC0) != 0x80;
  return at < line.size() ? line.substr(0, at) + "…" : line;
}

StoredChat read_fields(const Keys& keys) {
  StoredChat chat;
  chat.title = keys.text("title");
  chat.system = keys.text("system");
  chat.model = keys.text("model");
  if (const Json* settings = keys.object("settings")) chat.settings = *settings;
  return chat;
}

ChatStore::Change read_change(const Keys& keys) {
  ChatStore::Change change;
  if (keys.find("title") != nullptr) change.title = keys.text("title");
  if (keys.find("system") != nullptr) change.system = keys.text("system");
  if (keys.find("model") != nullptr) change.model = keys.text("model");
  if (const Json* settings = keys.object("settings")) change.settings = *settings;
  if (keys.find("head") != nullptr) change.head = keys.integer("head", 0, 0, INT64_MAX - 1);
  return change;
}

void answer_whole(httplib::Response& response, const StoredChat& chat, int status = 200) {
  response.status = status;
  response.set_content(to_json_text(chat), "application/json");
}

void add_message(ChatStore& store, int64_t chat, const Json& body, httplib::Response& response) {
  const Keys keys(body);
  Message message;
  message.parent = keys.integer("parent", 0, 0, INT64_MAX - 1);
  message.role = keys.text("role", "user");
  if (message.role != "user" && message.role != "assistant" && message.role != "tool")
    throw wrong("role", "got \"{}\", expected user, assistant or tool", message.role);
  if (keys.find("content") == nullptr) throw wrong("content", "is missing");
  message.content = keys.text("content");
  const bool first = store.get_fields(chat).title.empty();
  message = store.add_message(chat, message);
  if (first) store.change(chat, {.title = title_of(message.content)});
  answer(response, to_json(message), 201);
}

void export_chat(const ChatStore& store, const httplib::Request& request, httplib::Response& response) {
  const StoredChat chat = store.get(id_of(request));
  const std::string format = request.has_param("format") ? request.get_param_value("format") : "json";
  if (format != "json" && format != "markdown")
    throw wrong("format", "got \"{}\", expected json or markdown", format);
  const bool json = format == "json";
  response.set_header("Content-Disposition",
                      fmt::format("attachment; filename=\"chat-{}.{}\"", chat.id, json ? "json" : "md"));
  response.set_content(
      json ? to_json_text(chat) + "\n"
           : to_markdown(chat, chat.head == 0 ? std::vector<Message>() : store.branch(chat.id, chat.head)),
      json ? "application/json" : "text/markdown; charset=utf-8");
}

// {"markdown": TEXT} or {"json": CHAT} or the chat itself.
void import_chat(ChatStore& store, const httplib::Request& request, httplib::Response& response) {
  const Json body = parse_body(request.body);
  const Keys keys(body);
  try {
    const Json* json = keys.object("json");
    answer_whole(
        response,
        store.import_chat(keys.find("markdown") != nullptr ? chat_from_markdown(keys.text("markdown"))
                                                           : chat_from_json(json == nullptr ? body : *json)),
        201);
  } catch (const Unfit& error) {
    throw ApiError(400, error.what());
  }
}

// The exact tokens of a branch.
void show_tokens(const ChatStore& store, const ModelRegistry& models, const httplib::Request& request,
                 httplib::Response& response) {
  const StoredChat chat = store.get_fields(id_of(request));
  const auto model = models.get(request.get_param_value("model"));
  Json body = {{"messages", Json::array()}};
  if (!chat.system.empty()) body["messages"].push_back({{"role", "system"}, {"content", chat.system}});
  for (const Message& m : store.branch(chat.id, parameter(request, "head", chat.head)))
    body["messages"].push_back({{"role", m.role}, {"content", m.content}});
  const Pieces pieces = chat_pieces(body, *model);
  answer(response, {{"tokens", pieces.ids},
                    {"count", pieces.ids.size()},
                    {"context", model->context()},
                    {"pieces", pieces_json(model->open().tokenizer, pieces)}});
}

// Server-sent events, numbered, from `from` on.
void follow(const Answers& answers, const httplib::Request& request, httplib::Response& response) {
  const auto log = answers.find(id_of(request));
  if (log == nullptr) throw ApiError(404, "this answer is not being written; the chat has it");
  const std::string last = request.get_header_value("Last-Event-ID");
  const auto from = static_cast<size_t>(last.empty() ? parameter(request, "from", 0)
                                                     : to_number(last, "Last-Event-ID") + 1);
  response.set_header("Cache-Control", "no-store");
  response.set_chunked_content_provider(
      "text/event-stream", [log, next = from](size_t, httplib::DataSink& sink) mutable {
        if (!sink.is_writable()) return false;
        bool ended = false;
        std::string out;
        for (const std::string& event : log->read(next, Clock::now() + std::chrono::seconds(1), ended))
          out += fmt::format("id: {}\ndata: {}\n\n", next++, event);
        if (!out.empty() && !sink.write(out.data(), out.size())) return false;
        if (ended) sink.done();
        return true;
      });
}

}  // namespace

void add_chat_routes(httplib::Server& server, ChatStore& store, Answers& answers, ModelRegistry& models) {
  server.Get("/api/chats", [&store](const auto& request, auto& response) {
    Json list = Json::array();
    for (const StoredChat& chat :
         store.list(request.get_param_value("query"), parameter(request, "limit", 100),
                    parameter(request, "before", 0)))
      list.push_back(to_json(chat));
    answer(response, {{"chats", std::move(list)}});
  });
  server.Post("/api/chats", guarded([&store](const auto& request, auto& response) {
                const Json body = parse_body(request.body);
                answer_whole(response, store.create(read_fields(Keys(body))), 201);
              }));
  server.Post("/api/chats/import",
              [&store](const auto& request, auto& response) { import_chat(store, request, response); });
  server.Get(R"(/api/chats/(\d+))", guarded([&store](const auto& request, auto& response) {
               answer_whole(response, store.get(id_of(request)));
             }));
  server.Patch(R"(/api/chats/(\d+))", guarded([&store](const auto& request, auto& response) {
                 const Json body = parse_body(request.body);
                 store.change(id_of(request), read_change(Keys(body)));
                 answer_whole(response, store.get(id_of(request)));
               }));
  server.Delete(R"(/api/chats/(\d+))", guarded([&store](const auto& request, auto& response) {
                  store.remove(id_of(request));
                  response.status = 204;
                }));
  server.Post(R"(/api/chats/(\d+)/messages)", guarded([&store](const auto& request, auto& response) {
                add_message(store, id_of(request), parse_body(request.body), response);
              }));
  server.Delete(R"(/api/chats/(\d+)/messages/(\d+))", guarded([&store](const auto& request, auto& response) {
                  store.remove_message(id_of(request), id_of(request, 2));
                  response.status = 204;
                }));
  server.Get(R"(/api/chats/(\d+)/export)", guarded([&store](const auto& request, auto& response) {
               export_chat(store, request, response);
             }));
  server.Get(R"(/api/chats/(\d+)/tokens)", guarded([&store, &models](const auto& request, auto& response) {
               show_tokens(store, models, request, response);
             }));
  server.Post(R"(/api/chats/(\d+)/answer)", guarded([&answers](const auto& request, auto& response) {
                answer(response, to_json(answers.start(id_of(request), parse_body(request.body))), 201);
              }));
  server.Get(R"(/api/answers/(\d+))",
             [&answers](const auto& request, auto& response) { follow(answers, request, response); });
  server.Post(R"(/api/answers/(\d+)/stop)", [&answers](const auto& request, auto& response) {
    answers.stop(id_of(request));
    response.status = 204;
  });
}

}  // namespace tumbler::chat
