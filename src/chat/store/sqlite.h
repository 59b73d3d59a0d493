// SQLite with values and exceptions: just what the store needs. A Database and its statements are used by one
// thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace tumbler::chat {

class Database {
 public:
  // Opens or makes it: write-ahead log, foreign keys. Throws Error where it is damaged or no database.
  explicit Database(const std::filesystem::path& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  sqlite3* get() const noexcept { return database_; }
  const std::filesystem::path& path() const noexcept { return path_; }
  // Throws Error where something is wrong with it. One of more than 256 MB is not read through: its damage is
  // met where it is.
  void check();
  void run(const std::string& sql);  // any number of statements
  int64_t last_id() const;
  // Whether a commit waits until the disk has it (as at first). If not, a killed process loses nothing, and
  // a machine without power what was not on the disk yet; the next commit that waits, waits for these too.
  void wait_for_disk(bool wait);

 private:
  std::filesystem::path path_;
  sqlite3* database_ = nullptr;
  bool waits_ = true;
};

// One statement, prepared once and run any number of times. Columns count from 0.
class Statement {
 public:
  Statement(const Database& database, std::string_view sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Resets it and binds all its parameters, in order.
  template <class... Values>
  Statement& with(const Values&... values) {
    reset();
    int i = 0;
    (bind(++i, values), ...);
    return *this;
  }
  // The next row; false: no more. Throws Error.
  bool step();
  // To the end, for what has no rows.
  void run();
  int64_t integer(int column) const;  // 0: NULL
  // Valid until the next step.
  std::string_view view(int column) const;
  std::string text(int column) const { return std::string(view(column)); }

 private:
  void reset();
  void bind(int i, int64_t value);
  void bind(int i, std::string_view value);
  const Database& database_;
  sqlite3_stmt* statement_ = nullptr;
};

// All or nothing: rolled back unless commit() was reached.
class Transaction {
 public:
  enum class Kind { read, write };  // read: what is seen is the state of one moment
  Transaction(Database& database, Kind kind);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
};

}  // namespace tumbler::chat
