// What the encoder runs on: made once from TokenizerParts. Internal to tokens/.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tokens/added_tokens.h"
#include "tokens/flat_tables.h"
#include "tokens/tokenizer.h"

namespace tumbler::tokens {

// Ids below which `listed` tokens lie: vocabularies are dense but for some reserved ids. Tables have an entry
// for each id, so that a higher one, in a damaged file, would take memory that the file does not account for.
constexpr size_t id_limit(size_t listed) {
  return 2 * listed + 4096;
}

struct Tokenizer::Model {
  TokenizerParts parts;
  SplitBatch split_batch = nullptr;
  std::array<TokenId, 256> byte_tokens{};  // -1: none, and the byte is left out
  std::string arena;                       // bytes of all tokens
  std::vector<uint32_t> offsets;           // (vocab_size + 1) into arena
  std::vector<int32_t> byte_lengths;       // (vocab_size)
  enum Kind : uint8_t { kUnused, kPlain, kAdded, kSpecial };
  std::vector<Kind> kinds;        // (vocab_size)
  std::vector<int32_t> added_of;  // (vocab_size): place in parts.added, -1: none
  PieceTable pieces;
  PairTable pairs;
  // The kinds with blanks: may a piece end before a blank that follows this byte?
  std::array<bool, 256> ends_piece{};
  // Unigram: a trie of the tokens' bytes. pairs: (node, byte) → node; node_tokens: what ends at a node.
  std::vector<TokenId> node_tokens;
  double unk_score = 0;
  AddedTokenMatcher always, allowed;  // matched with Special::kText, with Special::kAllow

  std::string_view bytes(TokenId id) const noexcept {
    const auto i = static_cast<size_t>(id);
    return std::string_view(arena).substr(offsets[i], offsets[i + 1] - offsets[i]);
  }
};

// Fills the tables of kMetaspaceBpe and kUnigram, once arena and kinds are there.
void fill_metaspace(Tokenizer::Model& model);
// Calls use(left, right, id) for each way to cut a token of `pieces` into two. Throws Error on tokens too
// long for that.
void for_each_cut(const Tokenizer::Model& model,
                  const std::function<void(TokenId left, TokenId right, TokenId id)>& use);
// Text of a segment as these kinds cut it: blanks for "▁", and one before it where the model has it so.
// `changed` holds what is not `text` itself.
std::string_view to_blanks(const Tokenizer::Model& model, std::string_view text, bool first,
                           std::string& changed);
// As splitter.h's SplitBatch.
size_t split_blanks(const Tokenizer::Model& model, std::string_view text, size_t begin, size_t* ends,
                    size_t capacity);

// Appends the tokens of one piece by its merges, without looking the whole piece up. Exact; n log n in its
// length.
void append_merged(const Tokenizer::Model& model, std::string_view piece, std::vector<TokenId>& out);

// The likeliest tokens of a piece; n·m in its length and that of the longest token.
void append_unigram(const Tokenizer::Model& model, std::string_view piece, std::vector<TokenId>& out);

// Unicode NFC of the well-formed parts of `text`; other bytes stay.
std::string normalize_nfc(std::string_view text);

}  // namespace tumbler::tokens
