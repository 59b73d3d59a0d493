#include "chat/store/chat_store.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <unordered_map>

#include "chat/store/sqlite.h"
#include "io/file.h"
#include "io/file_lock.h"

namespace tumbler::chat {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Messages are indexed once they are whole: an answer that is being written changes a few times a second.
constexpr std::string_view kSchema = R"(
CREATE TABLE chats (
  id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, system TEXT NOT NULL, model TEXT NOT NULL,
  settings TEXT NOT NULL, head INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL);
CREATE INDEX chats_by_time ON chats (updated);
CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, chat INTEGER NOT NULL REFERENCES chats (id), parent INTEGER NOT NULL,
  role TEXT NOT NULL, content TEXT NOT NULL, thought TEXT NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL,
  finish TEXT NOT NULL, stats TEXT NOT NULL, created INTEGER NOT NULL);
CREATE INDEX messages_by_chat ON messages (chat);
CREATE INDEX messages_by_parent ON messages (parent);
CREATE VIRTUAL TABLE found USING fts5 (content, content = 'messages', content_rowid = 'id', tokenize = 'trigram');
CREATE TRIGGER message_added AFTER INSERT ON messages WHEN new.state <> 'writing' BEGIN
  INSERT INTO found (rowid, content) VALUES (new.id, new.content);
END;
CREATE TRIGGER message_removed AFTER DELETE ON messages WHEN old.state <> 'writing' BEGIN
  INSERT INTO found (found, rowid, content) VALUES ('delete', old.id, old.content);
END;
CREATE TRIGGER message_ended AFTER UPDATE ON messages WHEN old.state = 'writing' AND new.state <> 'writing' BEGIN
  INSERT INTO found (rowid, content) VALUES (new.id, new.content);
END;
PRAGMA user_version = 1;
)";

int64_t now() {
  const auto time = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

constexpr const char* kMessageColumns =
    "id, parent, role, content, thought, model, state, finish, stats, created";

Message read_message(const Statement& row) {
  return {.id = row.integer(0),
          .parent = row.integer(1),
          .role = row.text(2),
          .content = row.text(3),
          .thought = row.text(4),
          .model = row.text(5),
          .state = row.text(6),
          .finish = row.text(7),
          .stats = Json::parse(row.text(8), nullptr, false),
          .created = row.integer(9)};
}

constexpr const char* kChatColumns = "id, title, system, model, settings, head, created, updated";

StoredChat read_chat(const Statement& row) {
  StoredChat chat;
  chat.id = row.integer(0);
  chat.title = row.text(1);
  chat.system = row.text(2);
  chat.model = row.text(3);
  chat.settings = Json::parse(row.text(4), nullptr, false);
  chat.head = row.integer(5);
  chat.created = row.integer(6);
  chat.updated = row.integer(7);
  return chat;
}

// As a phrase of FTS5's language: nothing in it is an operator.
std::string as_phrase(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

// As LIKE's pattern, with \ as its escape.
std::string pattern(std::string_view text) {
  std::string out = "%";
  for (const char c : text) {
    if (c == '%' || c == '_' || c == '\\') out += '\\';
    out += c;
  }
  return out + "%";
}

size_t characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

void check_text(std::string_view text, const char* what) {
  if (text.size() > ChatStore::kMaxText)
    throw Error("chats", "{}: got {} bytes, expected at most {}", what, text.size(), ChatStore::kMaxText);
}

}  // namespace

struct ChatStore::Implementation {
  explicit Implementation(const fs::path& directory)
      : lock(make(directory) / ".lock", "chats",
             "another server has these chats open; give this one another --data"),
        database(directory / "chats.db") {
    Statement version(database.get(), "PRAGMA user_version");
    version.step();
    const int64_t found = version.integer(0);
    version.run();
    if (found > 1)
      throw Error("chats", "{}: is of a newer version of this program (got {}, expected 1)",
                  (directory / "chats.db").string(), found);
    Transaction transaction(database);
    if (found == 0) database.run(kSchema);
    database.run("UPDATE messages SET state = 'stopped' WHERE state = 'writing'");
    transaction.commit();
  }
  static const fs::path& make(const fs::path& directory) {
    io::make_directories(directory);
    return directory;
  }

  StoredChat chat(int64_t id) {
    Statement row(database.get(), fmt::format("SELECT {} FROM chats WHERE id = ?", kChatColumns));
    if (!row.with(id).step()) throw NotFound("chats", "there is no chat {}", id);
    return read_chat(row);
  }
  Message message(int64_t chat_id, int64_t id) {
    Statement row(database.get(),
                  fmt::format("SELECT {} FROM messages WHERE id = ? AND chat = ?", kMessageColumns));
    if (!row.with(id, chat_id).step())
      throw NotFound("chats", "there is no message {} in chat {}", id, chat_id);
    return read_message(row);
  }
  void touch(int64_t chat_id, int64_t head) {
    Statement(database.get(), "UPDATE chats SET head = ?, updated = ? WHERE id = ?")
        .with(head, now(), chat_id)
        .run();
  }
  int64_t insert(int64_t chat_id, const Message& m) {
    check_text(m.content, "a message");
    check_text(m.thought, "a thought");
    Statement(
        database.get(),
        "INSERT INTO messages (chat, parent, role, content, thought, model, state, finish, stats, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .with(chat_id, m.parent, m.role, m.content, m.thought, m.model, m.state, m.finish, dump(m.stats),
              m.created != 0 ? m.created : now())
        .run();
    return database.last_id();
  }
  int64_t insert(const StoredChat& c) {
    check_text(c.system, "a system message");
    check_text(c.title, "a title");
    const int64_t time = now();
    Statement(database.get(),
              "INSERT INTO chats (title, system, model, settings, head, created, updated) VALUES (?, ?, ?, "
              "?, ?, ?, ?)")
        .with(c.title, c.system, c.model, dump(c.settings), int64_t{0}, c.created != 0 ? c.created : time,
              time)
        .run();
    return database.last_id();
  }

  io::FileLock lock;
  Database database;
  std::mutex mutex;
};

ChatStore::ChatStore(const fs::path& directory)
    : implementation_(std::make_unique<Implementation>(directory)) {}
ChatStore::~ChatStore() = default;

std::vector<StoredChat> ChatStore::list(const std::string& query, int64_t limit, int64_t before) const {
  Implementation& self = *implementation_;
  const std::lock_guard lock(self.mutex);
  const int64_t until = before > 0 ? before : INT64_MAX;
  std::vector<StoredChat> out;
  if (query.empty()) {
    Statement rows(
        self.database.get(),
        fmt::format("SELECT {} FROM chats WHERE updated < ? ORDER BY updated DESC, id DESC LIMIT ?",
                    kChatColumns));
    for (rows.with(until, limit); rows.step();) out.push_back(read_chat(rows));
    return out;
  }
  const bool indexed = characters(query) >= 3;
  // The first of each chat's messages with the query, and chats with it in their title.
  Statement rows(
      self.database.get(),
      fmt::format(
          "WITH hits AS (SELECT m.chat AS chat, min(m.id) AS message FROM messages m WHERE {} GROUP BY "
          "m.chat) SELECT {}, hits.message FROM chats LEFT JOIN hits ON hits.chat = chats.id WHERE "
          "updated < ? AND (hits.message IS NOT NULL OR title LIKE ? ESCAPE '\\') ORDER BY updated DESC, "
          "id DESC LIMIT ?",
          indexed ? "m.id IN (SELECT rowid FROM found WHERE found MATCH ?)" : "m.content LIKE ? ESCAPE '\\'",
          kChatColumns));
  Statement around(self.database.get(),
                   "SELECT substr(content, max(1, at - 40), 120) FROM (SELECT content, instr(lower(content), "
                   "lower(?)) AS at "
                   "FROM messages WHERE id = ?)");
  for (rows.with(indexed ? as_phrase(query) : pattern(query), until, pattern(query), limit); rows.step();) {
    out.push_back(read_chat(rows));
    if (!rows.is_null(8) && around.with(query, rows.integer(8)).step()) out.back().snippet = around.text(0);
  }
  return out;
}

StoredChat ChatStore::create(const StoredChat& fields) {
  Implementation& self = *implementation_;
  const std::lock_guard lock(self.mutex);
  Transaction transaction(self.database);
  const int64_t id = self.insert(fields);
  transaction.commit();
  return self.chat(id);
}

StoredChat ChatStore::get(int64_t id) const {
  Implementation& self = *implementation_;
  const std::lock_guard lock(self.mutex);
  StoredChat chat = self.chat(id);
  Statement rows(self.database.get(),
                 fmt::format("SELECT {} FROM messages WHERE chat = ? ORDER BY id", kMessageColumns));
  for (rows.with(id); rows.step();) chat.messages.push_back(read_message(rows));
  return chat;
}

void ChatStore::change(int64_t id, const Change& change) {
  Implementation& self = *implementation_;
  const std::lock_guard lock(self.mutex);
  Transaction transaction(self.database);
  StoredChat chat = self.chat(id);
  if (change.head && *change.head != 0) self.message(id, *change.head);
  chat.title = change.title.value_or(chat.title);
  chat.system = change.system.value_or(chat.system);
  chat.model = change.model.value_or(chat.model);
  chat.settings = change.settings.value_or(chat.settings);
  check_text(chat.title, "a title");
  check_text(chat.system, "a system message");
  Statement(self.database.get(),
            "UPDATE chats SET title = ?, system = ?, model = ?, settings = ?, head = ? WHERE id = ?")
      .with(chat.title, chat.system, chat.model, dump(chat.settings), change.head.value_or(chat.head), id)
      .run();
  transaction.commit();
}

void ChatStore::remove(int64_t id) {
  Implementation& self = *implementation_;
  const std::lock_guard lock(self.mutex);
  Transaction transaction(self.database);
  self.chat(id);
  Statement(self.database.get(), "DELETE FROM messages WHERE chat = ?").with(id).run();
  Statement(self.database.get(), "DELETE FROM chats WHERE id = ?").with(id).run();
  transaction.commit();
}

Message ChatStore::add_message(int64_t chat, Message message) {
  Implementation& self = *implementation_;
  const std::lock_guard lock(self.mutex);
  Transaction transaction(self.database);
  self.chat(chat);
  if (message.parent != 0) self.message(chat, message.parent);
  const int64_t id = self.insert(chat, message);
  self.touch(chat, id);
  transaction.commit();
  return self.message(chat, id);
}

Message ChatStore::get_message(int64_t chat, int64_t id) const {
  Implementation& self = *implementation_;
  const std::lock_guard lock(self.mutex);
  return self.message(chat, id);
}

void ChatStore::remove_message(int64_t chat, int64_t id) {
  constexpr const char* kBelow =
      "WITH RECURSIVE below (id) AS (SELECT ? UNION SELECT m.id FROM messages m JOIN below ON m.parent = "
      "below.id) ";
  Implementation& self = *implementation_;
  const std::lock_guard lock(self.mutex);
  Transaction transaction(self.database);
  const Message message = self.message(chat, id);
  const int64_t head = self.chat(chat).head;
  Statement among(self.database.get(), fmt::format("{} SELECT 1 FROM below WHERE id = ?", kBelow));
  const bool loses_head = among.with(id, head).step();
  Statement(self.database.get(),
            fmt::format("{} DELETE FROM messages WHERE id IN (SELECT id FROM below)", kBelow))
      .with(id)
      .run();
  self.touch(chat, loses_head ? message.parent : head);
  transaction.commit();
}

void ChatStore::save_answer(const Message& answer) {
  Implementation& self = *implementation_;
  const std::lock_guard lock(self.mutex);
  check_text(answer.content, "an answer");
  check_text(answer.thought, "a thought");
  Transaction transaction(self.database);
  Statement(self.database.get(),
            "UPDATE messages SET content = ?, thought = ?, state = ?, finish = ?, stats = ? WHERE id = ? AND "
            "state = "
            "'writing'")
      .with(answer.content, answer.thought, answer.state, answer.finish, dump(answer.stats), answer.id)
      .run();
  transaction.commit();
}

std::vector<Message> ChatStore::branch(int64_t chat, int64_t id) const {
  Implementation& self = *implementation_;
  const std::lock_guard lock(self.mutex);
  Statement rows(
      self.database.get(),
      fmt::format(
          "WITH RECURSIVE up (up_id, next, depth) AS (SELECT id, parent, 0 FROM messages WHERE id = ? "
          "AND chat = ? UNION ALL SELECT m.id, m.parent, depth + 1 FROM messages m JOIN up ON m.id = "
          "up.next) SELECT {} FROM messages JOIN up ON id = up_id ORDER BY depth DESC",
          kMessageColumns));
  std::vector<Message> out;
  for (rows.with(id, chat); rows.step();) out.push_back(read_message(rows));
  if (out.empty() && id != 0) throw NotFound("chats", "there is no message {} in chat {}", id, chat);
  return out;
}

StoredChat ChatStore::import_chat(StoredChat chat) {
  Implementation& self = *implementation_;
  {
    const std::lock_guard lock(self.mutex);
    Transaction transaction(self.database);
    std::unordered_map<int64_t, int64_t> ids = {{0, 0}};
    const int64_t head = chat.head;
    chat.id = self.insert(chat);
    for (Message& message : chat.messages) {
      const auto parent = ids.find(message.parent);
      if (parent == ids.end() || ids.contains(message.id))
        throw Error("chats", "message {}: its parent {} does not come before it, or it comes twice",
                    message.id, message.parent);
      message.parent = parent->second;
      ids.emplace(message.id, self.insert(chat.id, message));
    }
    if (!ids.contains(head)) throw Error("chats", "head: there is no message {}", head);
    self.touch(chat.id, ids[head]);
    transaction.commit();
  }
  return get(chat.id);
}

}  // namespace tumbler::chat
