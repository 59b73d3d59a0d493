// Documents on disk: JSON lines with FineWeb's field names (`.jsonl`, `.json`, with `.zst` or `.gz`), or any
// other name: the whole file is one document of text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>

namespace tumbler::tokens {

struct InputDocument {
  std::string text;
  std::string id;  // field `id`, else `url`; for a text file its name; may be empty
};

struct DocumentCounts {
  int64_t documents = 0, text_bytes = 0;
  std::map<std::string, int64_t> dropped;  // by reason: "not_json", "no_text"
};

bool is_json_lines(const std::filesystem::path& path);

// Reads a file in batches of about `batch_bytes` of input, in order; JSON is parsed by `threads` threads. A
// bad line is counted and left out. Memory: a few times batch_bytes, or the longest line or text file.
DocumentCounts for_each_batch(const std::filesystem::path& path, int64_t batch_bytes, int threads,
                              const std::function<void(std::span<InputDocument>)>& use);

}  // namespace tumbler::tokens
