// What the encoder runs on: made once from TokenizerParts. Internal to tokens/.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tokens/added_tokens.h"
#include "tokens/flat_tables.h"
#include "tokens/tokenizer.h"

namespace tumbler::tokens {

struct Tokenizer::Model {
  TokenizerParts parts;
  SplitBatch split_batch = nullptr;
  std::array<TokenId, 256> byte_tokens{};  // -1: none, and the byte is left out
  bool lacks_bytes = false;                // some of byte_tokens are -1
  std::string arena;                       // bytes of all tokens
  std::vector<uint32_t> offsets;           // (vocab_size + 1) into arena
  std::vector<int32_t> byte_lengths;       // (vocab_size)
  enum Kind : uint8_t { kUnused, kPlain, kAdded, kSpecial };
  std::vector<Kind> kinds;  // (vocab_size)
  PieceTable pieces;
  PairTable pairs;
  AddedTokenMatcher always, allowed;  // matched with Special::kText, with Special::kAllow

  std::string_view bytes(TokenId id) const noexcept {
    const auto i = static_cast<size_t>(id);
    return std::string_view(arena).substr(offsets[i], offsets[i + 1] - offsets[i]);
  }
};

// Appends the tokens of one piece by its merges, without looking the whole piece up. Exact; n log n in its
// length.
void append_merged(const Tokenizer::Model& model, std::string_view piece, std::vector<TokenId>& out);

// Unicode NFC of the well-formed parts of `text`; other bytes stay.
std::string normalize_nfc(std::string_view text);

}  // namespace tumbler::tokens
