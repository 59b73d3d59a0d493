// Where tests find real data, and a tokenizer small enough to work out by hand.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/rng.h"
#include "tokens/byte_level.h"
#include "tokens/tokenizer.h"

namespace tumbler::tokens::testing_data {

inline std::filesystem::path root() {
  const char* set = std::getenv("TUMBLER_TEST_DATA");
  return set != nullptr ? std::filesystem::path(set)
                        : std::filesystem::path(TUMBLER_SOURCE_DIR) / "../shared/data";
}

// 256 bytes, the given merges (as text, in order) and <|endoftext|>, <|im_start|>, <|im_end|>.
inline TokenizerParts small_parts(const std::vector<std::pair<std::string, std::string>>& merges,
                                  Pattern pattern = Pattern::kQwen2) {
  TokenizerParts parts;
  parts.name = "small";
  parts.pattern = pattern;
  for (const uint8_t byte : byte_level_order()) parts.tokens.emplace_back(1, static_cast<char>(byte));
  const auto id_of = [&](const std::string& bytes) {
    for (size_t id = 0; id < parts.tokens.size(); ++id)
      if (parts.tokens[id] == bytes) return static_cast<TokenId>(id);
    throw std::runtime_error("no token " + bytes);
  };
  for (const auto& [left, right] : merges) {
    parts.merges.emplace_back(id_of(left), id_of(right));
    parts.tokens.push_back(left + right);
  }
  auto next = static_cast<TokenId>(parts.tokens.size());
  for (const char* text : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"})
    parts.added.push_back({.text = text, .id = next++});
  parts.eos = parts.bos = parts.pad = parts.added[0].id;
  return parts;
}

inline std::string random_bytes(Rng& rng, size_t size) {
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(rng.below(256));
  return out;
}

// A temporary directory that goes away with its owner.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "tumbler-tokens-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::filesystem::path operator/(const char* name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace tumbler::tokens::testing_data
