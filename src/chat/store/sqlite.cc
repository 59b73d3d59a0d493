#include "chat/store/sqlite.h"

#include <sqlite3.h>

#include "base/error.h"

namespace tumbler::chat {
namespace {

[[noreturn]] void fail(sqlite3* database, std::string_view what) {
  throw Error("chats", "{}: {}", what, database == nullptr ? "out of memory" : sqlite3_errmsg(database));
}

}  // namespace

Statement::Statement(sqlite3* database, std::string_view sql) : database_(database) {
  if (sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &statement_, nullptr) !=
      SQLITE_OK)
    fail(database, sql);
}

Statement::~Statement() {
  sqlite3_finalize(statement_);
}

void Statement::reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void Statement::bind(int i, int64_t value) {
  if (sqlite3_bind_int64(statement_, i, value) != SQLITE_OK) fail(database_, "bind");
}

void Statement::bind(int i, std::string_view value) {
  if (sqlite3_bind_text64(statement_, i, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8) !=
      SQLITE_OK)
    fail(database_, "bind");
}

void Statement::bind(int i, std::nullptr_t) {
  sqlite3_bind_null(statement_, i);
}

bool Statement::step() {
  const int status = sqlite3_step(statement_);
  if (status == SQLITE_ROW) return true;
  if (status == SQLITE_DONE) {
    sqlite3_reset(statement_);  // ends the read that it holds
    return false;
  }
  // The message before the reset that makes the statement usable again.
  const std::string message = sqlite3_errmsg(database_);
  sqlite3_reset(statement_);
  throw Error("chats", "{}; the chat was not changed", message);
}

void Statement::run() {
  while (step()) {
  }
}

int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string Statement::text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return text == nullptr ? std::string()
                         : std::string(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

Database::Database(const std::filesystem::path& path) {
  const int status = sqlite3_open_v2(
      path.c_str(), &database_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, nullptr);
  try {
    if (status != SQLITE_OK) fail(database_, path.string());
    sqlite3_busy_timeout(database_, 5000);
    run("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
    Statement check(database_, "PRAGMA quick_check(1)");
    if (!check.step() || check.text(0) != "ok")
      throw Error("chats",
                  "{}: the database is damaged: {}; move it away, or mend it with sqlite3 FILE .recover",
                  path.string(), check.text(0));
  } catch (...) {
    sqlite3_close_v2(database_);
    throw;
  }
}

Database::~Database() {
  sqlite3_close_v2(database_);
}

void Database::run(std::string_view sql) {
  if (sqlite3_exec(database_, std::string(sql).c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    fail(database_, sql.substr(0, 60));
}

int64_t Database::last_id() const {
  return sqlite3_last_insert_rowid(database_);
}

Transaction::Transaction(Database& database) : database_(database) {
  database_.run("BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
  if (open_) sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  database_.run("COMMIT");
  open_ = false;
}

}  // namespace tumbler::chat
