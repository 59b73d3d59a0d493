#include "chat/store/sqlite.h"

#include <sqlite3.h>

#include "base/error.h"

namespace tumbler::chat {
namespace {

// Larger databases are not read through when they are opened; their damage is met where it is.
constexpr int64_t kMaxCheckedBytes = int64_t{256} << 20;

[[noreturn]] void fail(const std::filesystem::path& path, int status, const std::string& message) {
  switch (status & 0xFF) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      throw Error("chats",
                  "{}: the database is damaged ({}); what is whole can be saved with `sqlite3 FILE "
                  ".recover`, or move "
                  "it away to begin anew",
                  path.string(), message);
    case SQLITE_FULL:
    case SQLITE_IOERR:
      throw Error("chats", "{}: nothing was changed: {}; free some space", path.string(), message);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
      throw Error("chats", "{}: cannot be opened and written: {}", path.string(), message);
    default:
      throw Error("chats", "{}: {}", path.string(), message);
  }
}

[[noreturn]] void fail(const Database& database, int status) {
  // The message before anything that follows replaces it.
  fail(database.path(), status, sqlite3_errmsg(database.get()));
}

}  // namespace

Database::Database(const std::filesystem::path& path) : path_(path) {
  const int status = sqlite3_open_v2(
      path.c_str(), &database_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  try {
    if (status != SQLITE_OK)
      fail(path_, status, database_ == nullptr ? "out of memory" : sqlite3_errmsg(database_));
    sqlite3_extended_result_codes(database_, 1);
    sqlite3_busy_timeout(database_, 5000);
    sqlite3_db_config(database_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    run("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA journal_mode = WAL; "
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864");
  } catch (...) {
    sqlite3_close_v2(database_);
    throw;
  }
}

Database::~Database() {
  sqlite3_close_v2(database_);
}

void Database::run(const std::string& sql) {
  const int status = sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr);
  if (status != SQLITE_OK) fail(*this, status);
}

int64_t Database::last_id() const {
  return sqlite3_last_insert_rowid(database_);
}

void Database::wait_for_disk(bool wait) {
  if (wait == waits_) return;
  run(wait ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
  waits_ = wait;
}

void Database::check() {
  if (static_cast<int64_t>(std::filesystem::file_size(path_)) > kMaxCheckedBytes) return;
  Statement check(*this, "PRAGMA quick_check(1)");
  if (!check.step() || check.view(0) != "ok") fail(path_, SQLITE_CORRUPT, check.text(0));
}

Statement::Statement(const Database& database, std::string_view sql) : database_(database) {
  const int status =
      sqlite3_prepare_v2(database.get(), sql.data(), static_cast<int>(sql.size()), &statement_, nullptr);
  if (status != SQLITE_OK) fail(database, status);
}

Statement::~Statement() {
  sqlite3_finalize(statement_);
}

void Statement::reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void Statement::bind(int i, int64_t value) {
  const int status = sqlite3_bind_int64(statement_, i, value);
  if (status != SQLITE_OK) fail(database_, status);
}

void Statement::bind(int i, std::string_view value) {
  // Not a null pointer, which would be NULL and not an empty text.
  const char* data = value.data() == nullptr ? "" : value.data();
  const int status = sqlite3_bind_text64(statement_, i, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (status != SQLITE_OK) fail(database_, status);
}

bool Statement::step() {
  const int status = sqlite3_step(statement_);
  if (status == SQLITE_ROW) return true;
  if (status == SQLITE_DONE) {
    sqlite3_reset(statement_);  // ends the read that it holds
    return false;
  }
  const std::string message = sqlite3_errmsg(database_.get());
  sqlite3_reset(statement_);
  fail(database_.path(), status, message);
}

void Statement::run() {
  while (step()) {
  }
}

int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string_view Statement::view(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_, column);
  const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_, column));
  return text == nullptr ? std::string_view() : std::string_view(reinterpret_cast<const char*>(text), size);
}

Transaction::Transaction(Database& database, Kind kind) : database_(database) {
  database_.run(kind == Kind::read ? "BEGIN" : "BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
  // Some errors have rolled it back already.
  if (sqlite3_get_autocommit(database_.get()) == 0)
    sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  database_.run("COMMIT");
}

}  // namespace tumbler::chat
