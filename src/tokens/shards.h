// Token shards, in datatrove's format, little endian:
//   NAME.ds           ids one after the other, uint16 where the vocabulary has at most 65,536 ids, else
//   uint32 NAME.ds.index     uint64 per document: where it ends, in tokens from the start of the shard
//   NAME.ds.metadata  three lines: tokenizer|bytes per token, number of tokens, the same for people
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "io/file.h"
#include "tokens/tokenizer.h"

namespace tumbler::tokens {

constexpr int64_t kMaxVocabUint16 = 65536;

// Bytes per token in a shard of a vocabulary of that many ids: 2 or 4.
int token_size_bytes(int64_t vocab_size) noexcept;

// A shard mapped read-only. Opening throws Error where the sizes of the three files do not agree, where the
// ends go down, or where one of the files is missing.
class TokenShardReader {
 public:
  // `path` is NAME.ds.
  explicit TokenShardReader(const std::filesystem::path& path);

  int64_t size() const noexcept { return size_; }  // tokens
  int64_t documents() const noexcept { return static_cast<int64_t>(ends_.size()); }
  int token_bytes() const noexcept { return token_bytes_; }  // 2 or 4
  const std::string& tokenizer_name() const noexcept { return tokenizer_name_; }

  TokenId operator[](int64_t i) const noexcept {
    return token_bytes_ == 2 ? static_cast<TokenId>(reinterpret_cast<const uint16_t*>(data_)[i])
                             : static_cast<TokenId>(reinterpret_cast<const uint32_t*>(data_)[i]);
  }
  // out[0..n) = tokens [begin, begin + n). CHECKs that the range is inside.
  void read(int64_t begin, std::span<TokenId> out) const;
  // Tokens [begin, end) of document d, its end-of-document token included.
  std::pair<int64_t, int64_t> document(int64_t d) const;
  // The largest id in the shard, -1 where it is empty; reads everything once. Compare it with the model's
  // vocabulary.
  TokenId max_token() const noexcept;

 private:
  io::MappedFile tokens_file_, index_file_;
  const std::byte* data_ = nullptr;
  int64_t size_ = 0;
  int token_bytes_ = 2;
  std::span<const uint64_t> ends_;
  std::string tokenizer_name_;
};

// Writes the three files; they appear when commit() returns, NAME.ds last, so that a shard whose .ds exists
// is whole.
class TokenShardWriter {
 public:
  TokenShardWriter(const std::filesystem::path& path, std::string_view tokenizer_name, int64_t vocab_size);
  ~TokenShardWriter();
  TokenShardWriter(TokenShardWriter&&) noexcept;
  TokenShardWriter& operator=(TokenShardWriter&&) noexcept;

  // One document. CHECKs that the ids are inside the vocabulary.
  void add_document(std::span<const TokenId> ids);
  int64_t tokens() const noexcept;
  int64_t documents() const noexcept;
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tumbler::tokens
