#include "chat/store/schema.h"

#include <array>

#include "base/error.h"

namespace tumbler::chat {
namespace {

// One script a version. A script that was released is never changed: add another one.
//
// Ids are never used again, so that a page cannot meet another message under an id that it knows. `size` is
// the number of messages. `found` has the grams of messages that are whole, and neither their text nor where
// in it: a message that has all grams of a query is read to see. Rows of it are added and removed by the
// store, as an answer that is being written changes a few times a second.
constexpr std::array kScripts = {R"(
CREATE TABLE chats (
  id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, system TEXT NOT NULL, model TEXT NOT NULL,
  settings TEXT NOT NULL, head INTEGER, size INTEGER NOT NULL, created INTEGER NOT NULL,
  updated INTEGER NOT NULL UNIQUE);
CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, chat INTEGER NOT NULL REFERENCES chats (id),
  parent INTEGER REFERENCES messages (id) DEFERRABLE INITIALLY DEFERRED,
  role TEXT NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL, finish TEXT NOT NULL, stats TEXT NOT NULL,
  created INTEGER NOT NULL, thought TEXT NOT NULL, content TEXT NOT NULL);
CREATE INDEX messages_by_chat ON messages (chat);
CREATE INDEX messages_by_parent ON messages (parent) WHERE parent IS NOT NULL;
CREATE INDEX messages_being_written ON messages (id) WHERE state = 'writing';
CREATE VIRTUAL TABLE found USING fts5 (content, content = '', detail = none, columnsize = 0, tokenize = 'grams');
PRAGMA application_id = 1953325676;  -- "tmbl"
)"};
constexpr int64_t kVersion = kScripts.size(), kApplication = 1953325676;

int64_t read_integer(const Database& database, std::string_view sql) {
  Statement statement(database, sql);
  return statement.step() ? statement.integer(0) : 0;
}

}  // namespace

void migrate(Database& database) {
  const int64_t version = read_integer(database, "PRAGMA user_version");
  const int64_t application = read_integer(database, "PRAGMA application_id");
  const bool empty = read_integer(database, "SELECT count(*) FROM sqlite_schema") == 0;
  if (!empty && (application != kApplication || version < 1))
    throw Error("chats", "{}: is a database of another program; give another folder with --data",
                database.path().string());
  if (version > kVersion)
    throw Error("chats", "{}: got version {}, expected at most {}: a newer tumbler made it; use that one",
                database.path().string(), version, kVersion);
  for (int64_t i = empty ? 0 : version; i < kVersion; ++i) {
    Transaction transaction(database, Transaction::Kind::write);
    database.run(kScripts[static_cast<size_t>(i)]);
    database.run(fmt::format("PRAGMA user_version = {}", i + 1));
    transaction.commit();
  }
}

}  // namespace tumbler::chat
