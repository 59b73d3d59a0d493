// SQLite with values and exceptions: just what the store needs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace tumbler::chat {

// One statement, prepared once and run many times. Columns and parameters count from 0 and 1, as SQLite's do.
class Statement {
 public:
  Statement(sqlite3* database, std::string_view sql);
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
  int64_t integer(int column) const;
  std::string text(int column) const;
  bool is_null(int column) const;

 private:
  void reset();
  void bind(int i, int64_t value);
  void bind(int i, std::string_view value);
  void bind(int i, std::nullptr_t);
  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
};

class Database {
 public:
  // Opens or makes it: WAL, synchronous FULL, foreign keys. Throws Error where it is damaged or none.
  explicit Database(const std::filesystem::path& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  sqlite3* get() const noexcept { return database_; }
  void run(std::string_view sql);  // any number of statements
  int64_t last_id() const;

 private:
  sqlite3* database_ = nullptr;
};

// All or nothing: rolled back unless commit() was reached.
class Transaction {
 public:
  explicit Transaction(Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace tumbler::chat
