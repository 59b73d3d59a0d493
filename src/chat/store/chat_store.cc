#include "chat/store/chat_store.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "chat/store/schema.h"
#include "chat/store/search_text.h"
#include "chat/store/search_tokenizer.h"
#include "chat/store/sqlite.h"
#include "io/file.h"
#include "io/file_lock.h"

namespace tumbler::chat {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kMaxTitle = 64 << 10, kMaxSettings = 1 << 20;  // bytes; also of other short texts
constexpr size_t kIndexedBytes = 1 << 20;                       // of a message
constexpr int64_t kMaxListed = 1000;
constexpr size_t kIdleReaders = 4;
constexpr std::array kRoles = {"user", "assistant", "system", "tool"};
constexpr std::array kStates = {"done", "writing", "stopped", "failed"};

int64_t now() {
  const auto time = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// What was written by dump(), or `otherwise` where the database is damaged.
Json read_json(std::string_view text, Json otherwise) {
  if (text == "null") return otherwise;
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? std::move(json) : std::move(otherwise);
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
          .stats = read_json(row.view(8), nullptr),
          .created = row.integer(9)};
}

constexpr const char* kChatColumns = "id, title, system, model, settings, head, created, updated";

StoredChat read_chat(const Statement& row) {
  StoredChat chat;
  chat.id = row.integer(0);
  chat.title = row.text(1);
  chat.system = row.text(2);
  chat.model = row.text(3);
  chat.settings = read_json(row.view(4), Json::object());
  chat.head = row.integer(5);
  chat.created = row.integer(6);
  chat.updated = row.integer(7);
  return chat;
}

StoredChat get_chat(const Database& database, int64_t id) {
  Statement row(database, fmt::format("SELECT {} FROM chats WHERE id = ?", kChatColumns));
  if (!row.with(id).step()) throw NotFound("chats", "there is no chat {}", id);
  return read_chat(row);
}

Message get_message(const Database& database, int64_t chat, int64_t id) {
  Statement row(database, fmt::format("SELECT {} FROM messages WHERE id = ? AND chat = ?", kMessageColumns));
  if (!row.with(id, chat).step()) throw NotFound("chats", "there is no message {} in chat {}", id, chat);
  return read_message(row);
}

void check_size(size_t size, size_t most, const char* what) {
  if (size > most) throw Unfit("chats", "{}: got {} bytes, expected at most {}", what, size, most);
}

void check(const StoredChat& chat) {
  check_size(chat.title.size(), kMaxTitle, "title");
  check_size(chat.system.size(), ChatStore::kMaxText, "system");
  check_size(chat.model.size(), kMaxTitle, "model");
  check_size(dump(chat.settings).size(), kMaxSettings, "settings");
}

void check(const Message& m) {
  const auto one_of = [](const std::string& value, const auto& list, const char* what) {
    if (std::find(list.begin(), list.end(), value) == list.end())
      throw Unfit("chats", "{}: got \"{}\", expected {}", what, value.substr(0, 40), fmt::join(list, ", "));
  };
  one_of(m.role, kRoles, "role");
  one_of(m.state, kStates, "state");
  check_size(m.content.size(), ChatStore::kMaxText, "content");
  check_size(m.thought.size(), ChatStore::kMaxText, "thought");
  check_size(m.model.size(), kMaxTitle, "model");
  check_size(m.finish.size(), kMaxTitle, "finish");
  check_size(dump(m.stats).size(), kMaxSettings, "stats");
}

// Rows of the index for messages that are whole.
void index(const Database& database, int64_t id, std::string_view content) {
  Statement(database, "INSERT INTO found (rowid, content) VALUES (?, ?)")
      .with(id, content.substr(0, kIndexedBytes))
      .run();
}

void remove_messages(const Database& database, const std::vector<int64_t>& ids) {
  Statement row(database, "SELECT state, content FROM messages WHERE id = ?");
  // An index without texts wants to be told what it is to forget.
  Statement forget(database, "INSERT INTO found (found, rowid, content) VALUES ('delete', ?, ?)");
  Statement remove(database, "DELETE FROM messages WHERE id = ?");
  for (const int64_t id : ids) {
    if (row.with(id).step() && row.view(0) != "writing")
      forget.with(id, row.view(1).substr(0, kIndexedBytes)).run();
    remove.with(id).run();
  }
}

// A time at which no chat was changed yet, so that a page of a list ends between two chats.
int64_t free_time(const Database& database, int64_t time) {
  Statement taken(database, "SELECT 1 FROM chats WHERE updated = ?");
  while (taken.with(time).step()) ++time;
  return time;
}

void touch(const Database& database, int64_t chat, int64_t head, int64_t added) {
  Statement(database, "UPDATE chats SET head = nullif(?, 0), size = size + ?, updated = ? WHERE id = ?")
      .with(head, added, free_time(database, now()), chat)
      .run();
}

int64_t insert(const Database& database, const StoredChat& chat) {
  check(chat);
  const int64_t time = now();
  const int64_t updated = chat.updated > 0 ? std::min(chat.updated, time) : time;
  Statement(database,
            "INSERT INTO chats (title, system, model, settings, head, size, created, updated) VALUES (?, ?, "
            "?, ?, NULL, 0, ?, ?)")
      .with(chat.title, chat.system, chat.model, dump(chat.settings), chat.created > 0 ? chat.created : time,
            free_time(database, updated))
      .run();
  return database.last_id();
}

class MessageInserter {
 public:
  explicit MessageInserter(const Database& database)
      : database_(database),
        insert_(database,
                "INSERT INTO messages (chat, parent, role, content, thought, model, state, finish, stats, "
                "created) VALUES (?, nullif(?, 0), ?, ?, ?, ?, ?, ?, ?, ?)") {}
  int64_t insert(int64_t chat, const Message& m) {
    check(m);
    insert_
        .with(chat, m.parent, m.role, m.content, m.thought, m.model, m.state, m.finish, dump(m.stats),
              m.created > 0 ? m.created : now())
        .run();
    const int64_t id = database_.last_id();
    if (m.state != "writing") index(database_, id, m.content);
    return id;
  }

 private:
  const Database& database_;
  Statement insert_;
};

// The newest message of a chat that all words are in.
bool find_in_messages(Statement& ids, Statement& content, const SearchQuery& query,
                      const std::vector<int64_t>& hits, StoredChat& chat) {
  for (ids.with(chat.id); ids.step();) {
    const int64_t id = ids.integer(0);
    if (!std::binary_search(hits.begin(), hits.end(), id) || !content.with(id).step()) continue;
    const std::string_view text = content.view(0).substr(0, kIndexedBytes);
    const FoldedText folded = fold_text(text);
    const auto at = query.find(folded);
    if (!at) continue;
    chat.found = id;
    chat.snippet = snippet(text, folded, *at);
    return true;
  }
  return false;
}

std::vector<StoredChat> search(const Database& database, const SearchQuery& query, int64_t limit,
                               int64_t before) {
  std::vector<int64_t> hits;
  Statement rows(database, "SELECT rowid FROM found WHERE found MATCH ? ORDER BY rowid");
  for (rows.with(query.fts5()); rows.step();) hits.push_back(rows.integer(0));
  Statement chats(database,
                  fmt::format("SELECT {} FROM chats WHERE updated < ? ORDER BY updated DESC", kChatColumns));
  Statement ids(database, "SELECT id FROM messages WHERE chat = ? ORDER BY id DESC");
  Statement content(database, "SELECT content FROM messages WHERE id = ?");
  std::vector<StoredChat> out;
  for (chats.with(before); static_cast<int64_t>(out.size()) < limit && chats.step();) {
    const bool in_title = query.find(fold_text(chats.view(1))).has_value();
    if (!in_title && hits.empty()) continue;
    StoredChat chat = read_chat(chats);
    if (in_title || find_in_messages(ids, content, query, hits, chat)) out.push_back(std::move(chat));
  }
  return out;
}

std::vector<StoredChat> newest(const Database& database, int64_t limit, int64_t before) {
  Statement rows(database, fmt::format("SELECT {} FROM chats WHERE updated < ? ORDER BY updated DESC LIMIT ?",
                                       kChatColumns));
  std::vector<StoredChat> out;
  for (rows.with(before, limit); rows.step();) out.push_back(read_chat(rows));
  return out;
}

StoredChat get_tree(const Database& database, int64_t id) {
  StoredChat chat = get_chat(database, id);
  Statement rows(database,
                 fmt::format("SELECT {} FROM messages WHERE chat = ? ORDER BY id", kMessageColumns));
  for (rows.with(id); rows.step();) chat.messages.push_back(read_message(rows));
  return chat;
}

const fs::path& made(const fs::path& directory) {
  io::make_directories(directory);
  return directory;
}

}  // namespace

struct ChatStore::Implementation {
  explicit Implementation(const fs::path& directory)
      : lock(made(directory) / "chats.lock", "chats",
             "another server has these chats open; give this one another folder with --data"),
        path(directory / "chats.db"),
        writer(path) {
    add_search_tokenizer(writer.get());
    writer.check();
    migrate(writer);
    stop_answers();
  }

  // Those that a process was writing when it ended.
  void stop_answers() {
    Transaction transaction(writer, Transaction::Kind::write);
    Statement rows(writer, "SELECT id, content FROM messages WHERE state = 'writing'");
    while (rows.step()) index(writer, rows.integer(0), rows.view(1));
    writer.run("UPDATE messages SET state = 'stopped' WHERE state = 'writing'");
    transaction.commit();
  }

  // A connection of its own for each thread that reads, which the log of SQLite lets read while others write.
  template <class Use>
  auto read(const Use& use) {
    std::unique_ptr<Database> reader = take_reader();
    auto result = [&] {
      Transaction transaction(*reader, Transaction::Kind::read);
      return use(*reader);
    }();
    const std::lock_guard guard(readers_mutex);
    if (readers.size() < kIdleReaders) readers.push_back(std::move(reader));
    return result;
  }
  std::unique_ptr<Database> take_reader() {
    {
      const std::lock_guard guard(readers_mutex);
      if (!readers.empty()) {
        auto reader = std::move(readers.back());
        readers.pop_back();
        return reader;
      }
    }
    auto reader = std::make_unique<Database>(path);
    add_search_tokenizer(reader->get());
    reader->run("PRAGMA query_only = ON");
    return reader;
  }

  // All or nothing. `wait`: for the disk.
  template <class Use>
  auto write(const Use& use, bool wait = true) {
    const std::lock_guard guard(writer_mutex);
    writer.wait_for_disk(wait);
    Transaction transaction(writer, Transaction::Kind::write);
    auto result = use(std::as_const(writer));
    transaction.commit();
    return result;
  }

  io::FileLock lock;
  fs::path path;
  std::mutex writer_mutex;
  Database writer;
  std::mutex readers_mutex;
  std::vector<std::unique_ptr<Database>> readers;
};

ChatStore::ChatStore(const fs::path& directory)
    : implementation_(std::make_unique<Implementation>(directory)) {}
ChatStore::~ChatStore() = default;

std::vector<StoredChat> ChatStore::list(const std::string& query, int64_t limit, int64_t before) const {
  const int64_t most = std::clamp<int64_t>(limit, 0, kMaxListed), until = before > 0 ? before : INT64_MAX;
  const SearchQuery words(std::string_view(query).substr(0, kMaxTitle));
  return implementation_->read([&](const Database& database) {
    return words.empty() ? newest(database, most, until) : search(database, words, most, until);
  });
}

StoredChat ChatStore::create(const StoredChat& fields) {
  return implementation_->write(
      [&](const Database& database) { return get_chat(database, insert(database, fields)); });
}

StoredChat ChatStore::get(int64_t id) const {
  return implementation_->read([&](const Database& database) { return get_tree(database, id); });
}

StoredChat ChatStore::get_fields(int64_t id) const {
  return implementation_->read([&](const Database& database) { return get_chat(database, id); });
}

void ChatStore::change(int64_t id, const Change& change) {
  implementation_->write([&](const Database& database) {
    StoredChat chat = get_chat(database, id);
    if (change.head && *change.head != 0) chat::get_message(database, id, *change.head);
    chat.title = change.title.value_or(chat.title);
    chat.system = change.system.value_or(chat.system);
    chat.model = change.model.value_or(chat.model);
    chat.settings = change.settings.value_or(chat.settings);
    check(chat);
    Statement(database,
              "UPDATE chats SET title = ?, system = ?, model = ?, settings = ?, head = nullif(?, 0) WHERE id "
              "= ?")
        .with(chat.title, chat.system, chat.model, dump(chat.settings), change.head.value_or(chat.head), id)
        .run();
    return true;
  });
}

void ChatStore::remove(int64_t id) {
  implementation_->write([&](const Database& database) {
    get_chat(database, id);
    std::vector<int64_t> ids;
    Statement rows(database, "SELECT id FROM messages WHERE chat = ?");
    for (rows.with(id); rows.step();) ids.push_back(rows.integer(0));
    remove_messages(database, ids);
    Statement(database, "DELETE FROM chats WHERE id = ?").with(id).run();
    return true;
  });
}

Message ChatStore::add_message(int64_t chat, Message message) {
  return implementation_->write([&](const Database& database) {
    Statement size(database, "SELECT size FROM chats WHERE id = ?");
    if (!size.with(chat).step()) throw NotFound("chats", "there is no chat {}", chat);
    if (size.integer(0) >= static_cast<int64_t>(kMaxMessages))
      throw Unfit("chats", "chat {}: has {} messages, which is the most that it can have", chat,
                  kMaxMessages);
    if (message.parent != 0) chat::get_message(database, chat, message.parent);
    const int64_t id = MessageInserter(database).insert(chat, message);
    touch(database, chat, id, 1);
    return chat::get_message(database, chat, id);
  });
}

Message ChatStore::get_message(int64_t chat, int64_t id) const {
  return implementation_->read(
      [&](const Database& database) { return chat::get_message(database, chat, id); });
}

void ChatStore::remove_message(int64_t chat, int64_t id) {
  implementation_->write([&](const Database& database) {
    const Message message = chat::get_message(database, chat, id);
    std::vector<int64_t> ids;
    // A message comes before what follows it: a damaged tree cannot go round in circles.
    Statement rows(
        database,
        "WITH RECURSIVE below (id) AS (SELECT ? UNION ALL SELECT m.id FROM messages m JOIN below ON "
        "m.parent = below.id AND m.id > below.id) SELECT id FROM below");
    for (rows.with(id); rows.step();) ids.push_back(rows.integer(0));
    const int64_t head = get_chat(database, chat).head;
    const bool loses_head = std::find(ids.begin(), ids.end(), head) != ids.end();
    remove_messages(database, ids);
    touch(database, chat, loses_head ? message.parent : head, -static_cast<int64_t>(ids.size()));
    return true;
  });
}

bool ChatStore::save_answer(const Message& answer) {
  check(answer);
  const bool whole = answer.state != "writing";
  const auto save = [&](const Database& database) {
    Statement row(database, "SELECT chat FROM messages WHERE id = ? AND state = 'writing'");
    if (!row.with(answer.id).step()) return false;
    Statement(database,
              "UPDATE messages SET content = ?, thought = ?, state = ?, finish = ?, stats = ? WHERE id = ?")
        .with(answer.content, answer.thought, answer.state, answer.finish, dump(answer.stats), answer.id)
        .run();
    if (whole) {
      index(database, answer.id, answer.content);
      Statement(database, "UPDATE chats SET updated = ? WHERE id = ?")
          .with(free_time(database, now()), row.integer(0))
          .run();
    }
    return true;
  };
  return implementation_->write(save, whole);
}

std::vector<Message> ChatStore::branch(int64_t chat, int64_t id) const {
  return implementation_->read([&](const Database& database) {
    std::vector<Message> out;
    if (id == 0) return out;
    if (!Statement(database, "SELECT 1 FROM messages WHERE id = ? AND chat = ?").with(id, chat).step())
      throw NotFound("chats", "there is no message {} in chat {}", id, chat);
    // Sorted before their texts are read.
    Statement rows(
        database,
        fmt::format("WITH RECURSIVE up (up_id, next) AS (SELECT id, parent FROM messages WHERE id = ? "
                    "UNION ALL SELECT m.id, m.parent FROM messages m JOIN up ON m.id = next AND m.id "
                    "< up_id) SELECT {} FROM messages WHERE id IN (SELECT up_id FROM up) ORDER BY id",
                    kMessageColumns));
    for (rows.with(id); rows.step();) out.push_back(read_message(rows));
    return out;
  });
}

StoredChat ChatStore::import_chat(StoredChat chat) {
  if (chat.messages.size() > kMaxMessages)
    throw Unfit("chats", "messages: got {}, expected at most {}", chat.messages.size(), kMaxMessages);
  const int64_t id = implementation_->write([&](const Database& database) {
    std::unordered_map<int64_t, int64_t> ids = {{0, 0}};
    const int64_t new_id = insert(database, chat);
    MessageInserter messages(database);
    for (Message& message : chat.messages) {
      const auto parent = ids.find(message.parent);
      if (parent == ids.end() || ids.contains(message.id))
        throw Unfit("chats", "message {}: its parent {} does not come before it, or it comes twice",
                    message.id, message.parent);
      message.parent = parent->second;
      if (message.state == "writing") message.state = "stopped";  // nobody does
      ids.emplace(message.id, messages.insert(new_id, message));
    }
    const auto head = ids.find(chat.head);
    if (head == ids.end()) throw Unfit("chats", "head: there is no message {}", chat.head);
    Statement(database, "UPDATE chats SET head = nullif(?, 0), size = ? WHERE id = ?")
        .with(head->second, static_cast<int64_t>(chat.messages.size()), new_id)
        .run();
    return new_id;
  });
  return get(id);
}

}  // namespace tumbler::chat
