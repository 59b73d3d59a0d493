#include "chat/store/chat_files.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace tumbler::chat {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kHeadings = {
    {{"user", "## User"}, {"assistant", "## Assistant"}, {"system", "## System"}, {"tool", "## Tool"}}};
constexpr std::array kRoles = {"user", "assistant", "system", "tool"};
constexpr std::array kStates = {"done", "stopped", "failed"};

template <class T>
T read(const Json& json, const char* key, T otherwise) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return otherwise;
  const bool fits = std::is_same_v<T, std::string> ? found->is_string() : found->is_number_integer();
  if (!fits)
    throw Error("chats", "import: {}: got {}, expected {}", key, found->type_name(),
                std::is_same_v<T, std::string> ? "a text" : "a whole number");
  return found->get<T>();
}

template <class List>
void check_one_of(const std::string& value, const List& list, const char* key) {
  if (std::find(list.begin(), list.end(), value) == list.end())
    throw Error("chats", "import: {}: got \"{}\"", key, value.substr(0, 40));
}

Message message_from_json(const Json& json) {
  if (!json.is_object()) throw Error("chats", "import: messages: expected objects");
  Message m;
  m.id = read<int64_t>(json, "id", 0);
  m.parent = read<int64_t>(json, "parent", 0);
  m.role = read<std::string>(json, "role", "");
  m.content = read<std::string>(json, "content", "");
  m.thought = read<std::string>(json, "thought", "");
  m.model = read<std::string>(json, "model", "");
  m.state = read<std::string>(json, "state", "done");
  m.finish = read<std::string>(json, "finish", "");
  m.created = read<int64_t>(json, "created", 0);
  if (m.state == "writing") m.state = "stopped";
  if (json.contains("stats")) m.stats = json["stats"];
  if (m.id <= 0) throw Error("chats", "import: id: got {}, expected 1 or more", m.id);
  check_one_of(m.role, kRoles, "role");
  check_one_of(m.state, kStates, "state");
  return m;
}

// The role whose heading a line is.
std::string_view role_of(std::string_view line) {
  while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
  for (const auto& [role, heading] : kHeadings)
    if (line == heading) return role;
  return {};
}

// A line that looks like a heading of ours, behind any number of \.
bool needs_escape(std::string_view line) {
  while (line.starts_with('\\')) line.remove_prefix(1);
  return !role_of(line).empty();
}

template <class Use>
void for_lines(std::string_view text, const Use& use) {
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    use(text.substr(at, end - at));
    at = end + 1;
  }
}

std::string escaped(std::string_view text) {
  std::string out;
  for_lines(text, [&](std::string_view line) {
    if (!out.empty()) out += '\n';
    if (needs_escape(line)) out += '\\';
    out += line;
  });
  return out;
}

// Without the blank line that stands before and behind each message.
std::string trimmed(std::string text) {
  if (text.starts_with('\n')) text.erase(0, 1);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace

Json to_json(const Message& m) {
  Json out = {{"id", m.id}, {"parent", m.parent}, {"role", m.role}, {"content", m.content}};
  if (!m.thought.empty()) out["thought"] = m.thought;
  if (!m.model.empty()) out["model"] = m.model;
  out["created"] = m.created;
  out["state"] = m.state;
  if (!m.finish.empty()) out["finish"] = m.finish;
  if (!m.stats.is_null()) out["stats"] = m.stats;
  return out;
}

Json to_json(const StoredChat& c) {
  Json out = {{"id", c.id},           {"title", c.title},       {"system", c.system},
              {"model", c.model},     {"settings", c.settings}, {"head", c.head},
              {"created", c.created}, {"updated", c.updated}};
  if (!c.snippet.empty()) out["snippet"] = c.snippet;
  if (c.messages.empty()) return out;
  out["messages"] = Json::array();
  for (const Message& message : c.messages) out["messages"].push_back(to_json(message));
  return out;
}

StoredChat chat_from_json(const Json& json) {
  if (!json.is_object()) throw Error("chats", "import: got {}, expected an object", json.type_name());
  StoredChat chat;
  chat.title = read<std::string>(json, "title", "");
  chat.system = read<std::string>(json, "system", "");
  chat.model = read<std::string>(json, "model", "");
  chat.head = read<int64_t>(json, "head", 0);
  chat.created = read<int64_t>(json, "created", 0);
  if (json.contains("settings")) chat.settings = json["settings"];
  if (!chat.settings.is_object()) throw Error("chats", "import: settings: expected an object");
  const auto messages = json.find("messages");
  if (messages == json.end()) return chat;
  if (!messages->is_array() || messages->size() > ChatStore::kMaxMessages)
    throw Error("chats", "import: messages: expected a list of at most {}", ChatStore::kMaxMessages);
  for (const Json& message : *messages) chat.messages.push_back(message_from_json(message));
  return chat;
}

std::string to_markdown(const StoredChat& chat, const std::vector<Message>& branch) {
  std::string out = "# " + (chat.title.empty() ? std::string("Chat") : chat.title) + "\n";
  const auto add = [&](std::string_view role, std::string_view text) {
    for (const auto& [name, heading] : kHeadings)
      if (name == role) out += "\n" + std::string(heading) + "\n\n" + escaped(text) + "\n";
  };
  if (!chat.system.empty()) add("system", chat.system);
  for (const Message& message : branch) add(message.role, message.content);
  return out;
}

StoredChat chat_from_markdown(std::string_view text) {
  StoredChat chat;
  std::string part, role;
  const auto end_part = [&] {
    const std::string content = trimmed(std::exchange(part, {}));
    if (role.empty()) {
      if (content.starts_with("# ")) chat.title = content.substr(2, content.find('\n') - 2);
    } else if (role == "system" && chat.messages.empty() && chat.system.empty()) {
      chat.system = content;
    } else {
      const auto n = static_cast<int64_t>(chat.messages.size());
      Message message;
      message.id = n + 1;
      message.parent = n;
      message.role = role;
      message.content = content;
      chat.messages.push_back(std::move(message));
    }
  };
  for_lines(text, [&](std::string_view line) {
    if (const std::string_view next = role_of(line); !next.empty()) {
      end_part();
      role = next;
      return;
    }
    if (needs_escape(line)) line.remove_prefix(1);
    part += line;
    part += '\n';
  });
  end_part();
  if (chat.messages.empty())
    throw Error("chats", "import: got no message, expected headings like \"## User\" and \"## Assistant\"");
  chat.head = static_cast<int64_t>(chat.messages.size());
  return chat;
}

}  // namespace tumbler::chat
