// For tests: GGUF files of any bytes, right or wrong, in the format's order, and a tokenizer to go into one.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"
#include "tokens/byte_level.h"
#include "tokens/tokenizer.h"

namespace tumbler::formats {

class GgufBytes {
 public:
  template <class T>
  GgufBytes& number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  GgufBytes& u32(uint32_t value) { return number(value); }
  GgufBytes& u64(uint64_t value) { return number(value); }
  GgufBytes& text(std::string_view value) {
    u64(value.size());
    bytes_ += value;
    return *this;
  }
  GgufBytes& header(uint64_t n_tensors, uint64_t n_keys, uint32_t version = 3) {
    bytes_ += "GGUF";
    return u32(version).u64(n_tensors).u64(n_keys);
  }
  GgufBytes& key(std::string_view name, GgufType type) { return text(name).u32(static_cast<uint32_t>(type)); }
  // dims in the file's order: row length first.
  GgufBytes& tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                    uint64_t offset) {
    text(name).u32(static_cast<uint32_t>(dims.size()));
    for (const uint64_t d : dims) u64(d);
    return u32(type).u64(offset);
  }
  GgufBytes& pad(size_t to = 32) {
    bytes_.resize((bytes_.size() + to - 1) / to * to, '\0');
    return *this;
  }
  GgufBytes& zeros(size_t n) {
    bytes_.append(n, '\0');
    return *this;
  }
  const std::string& str() const { return bytes_; }

 private:
  std::string bytes_;
};

// 256 bytes, a merge, two special tokens and one that is not special; ids 255 and above the last are unused.
inline tokens::Tokenizer small_tokenizer(tokens::Pattern pattern = tokens::Pattern::kQwen2) {
  tokens::TokenizerParts parts;
  parts.name = "small";
  parts.pattern = pattern;
  for (const uint8_t byte : tokens::byte_level_order()) parts.tokens.emplace_back(1, static_cast<char>(byte));
  const auto id = [&](char c) {
    for (size_t i = 0; i < 256; ++i)
      if (parts.tokens[i] == std::string(1, c)) return static_cast<tokens::TokenId>(i);
    return tokens::TokenId{-1};
  };
  parts.tokens.emplace_back(" t");
  parts.merges.emplace_back(id(' '), id('t'));
  parts.added.push_back({.text = "<|endoftext|>", .id = 257});
  parts.added.push_back({.text = "<|im_end|>", .id = 258});
  parts.added.push_back({.text = "<think>", .id = 260, .special = false});
  parts.bos = parts.eos = 257;
  return tokens::Tokenizer::from_parts(std::move(parts));
}

// What parse() says: "" where it accepts the bytes. They are copied to the end of a block of memory of their
// size, so that sanitizers see every read beyond.
inline std::string problem_of(std::string_view bytes) {
  const std::vector<std::byte> exact(reinterpret_cast<const std::byte*>(bytes.data()),
                                     reinterpret_cast<const std::byte*>(bytes.data()) + bytes.size());
  const auto contents = GgufContents::parse(exact);
  return contents ? std::string() : contents.reason().detail;
}

}  // namespace tumbler::formats
