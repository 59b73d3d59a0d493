// Text lines in zstd (or plain) files: our documents, conversations and metrics are JSONL.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "io/file.h"

namespace tumbler::io {

// Writes lines to an AtomicFile; compresses where the name ends in `.zst`.
class LineWriter {
 public:
  explicit LineWriter(const std::filesystem::path& path, int level = 3);
  ~LineWriter();
  void write_line(std::string_view line);  // without the newline
  void commit();

 private:
  struct Compressor;
  AtomicFile file_;
  std::unique_ptr<Compressor> compressor_;  // null: plain text
};

// Reads lines from a plain, `.zst` or `.gz` file in bounded memory. Throws Error on a file that does not
// decompress and on a line longer than `max_line_bytes`.
class LineReader {
 public:
  static constexpr int64_t kMaxLineBytes = int64_t{256} << 20;
  explicit LineReader(const std::filesystem::path& path, int64_t max_line_bytes = kMaxLineBytes);
  ~LineReader();
  // The next line without its newline, valid until the next call.
  std::optional<std::string_view> next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tumbler::io
