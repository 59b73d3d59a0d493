#include <algorithm>
#include <charconv>
#include <unordered_map>

#include <unicode/utf8.h>

#include "chat/store/chat_files.h"

namespace tumbler::chat {
namespace {

using Json = nlohmann::ordered_json;

// What stands for itself in a text of JSON.
bool is_plain(char c) {
  return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\' && static_cast<signed char>(c) >= 0;
}

void append_escaped(char c, std::string& out) {
  switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
  }
}

void append_text(std::string_view text, std::string& out) {
  out += '"';
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < size;) {
    const auto begin = text.begin() + i;
    const auto plain = std::find_if_not(begin, text.end(), is_plain);
    out.append(begin, plain);
    i += plain - begin;
    if (i == size) break;
    if (static_cast<signed char>(text[static_cast<size_t>(i)]) >= 0) {
      append_escaped(text[static_cast<size_t>(i++)], out);
      continue;
    }
    const int64_t from = i;
    UChar32 c = 0;
    U8_NEXT(reinterpret_cast<const uint8_t*>(text.data()), i, size, c);
    out += c < 0 ? std::string_view("\xEF\xBF\xBD")
                 : text.substr(static_cast<size_t>(from), static_cast<size_t>(i - from));
  }
  out += '"';
}

void append_key(std::string_view key, std::string_view text, std::string& out) {
  out += fmt::format(",\"{}\":", key);
  append_text(text, out);
}

void append(const Message& m, std::string& out) {
  out += fmt::format("{{\"id\":{},\"parent\":{}", m.id, m.parent);
  append_key("role", m.role, out);
  append_key("content", m.content, out);
  if (!m.thought.empty()) append_key("thought", m.thought, out);
  if (!m.model.empty()) append_key("model", m.model, out);
  out += fmt::format(",\"created\":{}", m.created);
  append_key("state", m.state, out);
  if (!m.finish.empty()) append_key("finish", m.finish, out);
  if (!m.stats.is_null()) out += ",\"stats\":" + m.stats.dump(-1, ' ', false, Json::error_handler_t::replace);
  out += '}';
}

const Json* find(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string read_text(const Json& json, const char* key, const char* otherwise = "") {
  const Json* value = find(json, key);
  if (value == nullptr) return otherwise;
  if (!value->is_string())
    throw Unfit("chats", "import: {}: got {}, expected a text", key, value->type_name());
  return value->get<std::string>();
}

int64_t read_time(const Json& json, const char* key) {
  const Json* value = find(json, key);
  if (value == nullptr) return 0;
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() || value->get<uint64_t>() <= uint64_t{INT64_MAX});
  if (!fits || value->get<int64_t>() < 0)
    throw Unfit("chats", "import: {}: expected milliseconds since 1970", key);
  return value->get<int64_t>();
}

// "" where there is none, which the parent of a first message has as null, 0 or "".
std::string read_id(const Json& json, const char* key) {
  const Json* value = find(json, key);
  if (value == nullptr) return {};
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_number_integer())
    throw Unfit("chats", "import: {}: got {}, expected an id", key, value->type_name());
  const std::string id = value->dump();
  return id == "0" ? "" : id;
}

Json read_object(const Json& json, const char* key) {
  const Json* value = find(json, key);
  if (value == nullptr) return nullptr;
  if (!value->is_object())
    throw Unfit("chats", "import: {}: got {}, expected an object", key, value->type_name());
  return *value;
}

Message read_message(const Json& json) {
  Message m;
  m.role = read_text(json, "role");
  m.content = read_text(json, "content");
  m.thought = read_text(json, "thought");
  m.model = read_text(json, "model");
  m.state = read_text(json, "state", "done");
  m.finish = read_text(json, "finish");
  m.stats = read_object(json, "stats");
  m.created = read_time(json, "created");
  return m;
}

// Ids become 1, 2, 3…
std::vector<Message> read_messages(const Json& list, std::unordered_map<std::string, int64_t>& ids) {
  if (!list.is_array() || list.size() > ChatStore::kMaxMessages)
    throw Unfit("chats", "import: messages: expected a list of at most {}", ChatStore::kMaxMessages);
  std::vector<Message> messages;
  for (const Json& json : list) {
    if (!json.is_object())
      throw Unfit("chats", "import: messages: got {}, expected objects", json.type_name());
    const auto n = static_cast<int64_t>(messages.size());
    Message& message = messages.emplace_back(read_message(json));
    message.id = n + 1;
    message.parent = n;
    const std::string id = read_id(json, "id"), parent = read_id(json, "parent");
    if (json.contains("parent")) {
      const auto found = ids.find(parent);
      if (!parent.empty() && found == ids.end())
        throw Unfit("chats", "import: message {}: its parent \"{}\" does not come before it", n + 1,
                    parent.substr(0, 40));
      message.parent = parent.empty() ? 0 : found->second;
    }
    if (!id.empty() && !ids.emplace(id, n + 1).second)
      throw Unfit("chats", "import: two messages have the id \"{}\"", id.substr(0, 40));
  }
  return messages;
}

}  // namespace

Json to_json(const Message& message) {
  std::string text;
  append(message, text);
  return Json::parse(text);
}

Json to_json(const StoredChat& c) {
  Json out = {{"id", c.id},           {"title", c.title},       {"system", c.system},
              {"model", c.model},     {"settings", c.settings}, {"head", c.head},
              {"created", c.created}, {"updated", c.updated}};
  if (c.found != 0) out["found"] = c.found;
  if (!c.snippet.empty()) out["snippet"] = c.snippet;
  return out;
}

std::string to_json_text(const StoredChat& chat) {
  std::string out = to_json(chat).dump(-1, ' ', false, Json::error_handler_t::replace);
  out.back() = ',';
  out += "\"messages\":[";
  for (const Message& message : chat.messages) {
    append(message, out);
    out += ',';
  }
  if (out.ends_with(',')) out.pop_back();
  return out + "]}";
}

StoredChat chat_from_json(const Json& json) {
  if (!json.is_object()) throw Unfit("chats", "import: got {}, expected an object", json.type_name());
  StoredChat chat;
  chat.title = read_text(json, "title");
  chat.system = read_text(json, "system");
  chat.model = read_text(json, "model");
  chat.created = read_time(json, "created");
  chat.updated = read_time(json, "updated");
  if (Json settings = read_object(json, "settings"); !settings.is_null()) chat.settings = std::move(settings);
  std::unordered_map<std::string, int64_t> ids;
  if (const Json* messages = find(json, "messages")) chat.messages = read_messages(*messages, ids);
  const std::string head = read_id(json, "head");
  if (!json.contains("head"))
    chat.head = static_cast<int64_t>(chat.messages.size());
  else if (const auto found = ids.find(head); found != ids.end())
    chat.head = found->second;
  else if (!head.empty())
    throw Unfit("chats", "import: head: there is no message \"{}\"", head.substr(0, 40));
  return chat;
}

}  // namespace tumbler::chat
