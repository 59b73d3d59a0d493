// Byte pair encoding of one piece: the pair with the smallest rank merges first, of equals the leftmost.
#include <algorithm>
#include <queue>

#include <xxhash.h>

#include "tokens/model.h"
#include "tokens/unicode_tables.h"

namespace tumbler::tokens {
namespace {

// Up to this many bytes the pairs are searched one after the other: n·m steps over two cache lines a side
// beat a heap.
constexpr size_t kLinearBytes = 64;

// The rank of a merge: equal ones (of equal scores) go from left to right, whatever the tokens.
uint32_t rank_of(uint64_t merge) {
  return static_cast<uint32_t>(merge >> 32);
}

// tokens[n], 0 < n <= kLinearBytes, is scratch.
void append_merged_short(const Tokenizer::Model& model, TokenId* tokens, size_t n,
                         std::vector<TokenId>& out) {
  uint64_t merges[kLinearBytes];  // merges[i]: of tokens i and i + 1
  for (size_t i = 0; i + 1 < n; ++i) merges[i] = model.pairs.find(tokens[i], tokens[i + 1]);
  while (n > 1) {
    size_t best = 0;
    uint64_t least = merges[0];
    for (size_t i = 1; i + 1 < n; ++i)
      if (rank_of(merges[i]) < rank_of(least)) least = merges[i], best = i;
    if (least == kNoMerge) break;
    tokens[best] = static_cast<TokenId>(least & 0xFFFFFFFF);
    --n;
    for (size_t i = best + 1; i < n; ++i) tokens[i] = tokens[i + 1];
    for (size_t i = best + 1; i + 1 < n; ++i) merges[i] = merges[i + 1];
    if (best + 1 < n) merges[best] = model.pairs.find(tokens[best], tokens[best + 1]);
    if (best > 0) merges[best - 1] = model.pairs.find(tokens[best - 1], tokens[best]);
  }
  out.insert(out.end(), tokens, tokens + n);
}

// A linked list of tokens and a heap of merges. A heap entry is stale where the pair at its place has changed
// since.
void append_merged_long(const Tokenizer::Model& model, std::span<const TokenId> tokens,
                        std::vector<TokenId>& out) {
  struct Node {
    TokenId token;
    uint32_t previous, next;
    uint64_t merge;  // with the next node
  };
  constexpr uint32_t kEnd = 0xFFFFFFFF;
  const auto n = static_cast<uint32_t>(tokens.size());
  std::vector<Node> nodes(n);
  for (uint32_t i = 0; i < n; ++i) nodes[i] = {tokens[i], i - 1, i + 1 < n ? i + 1 : kEnd, kNoMerge};
  using Entry = std::pair<uint32_t, uint32_t>;  // rank, place
  std::vector<Entry> entries;
  entries.reserve(n);
  for (uint32_t i = 0; i + 1 < n; ++i) {
    nodes[i].merge = model.pairs.find(nodes[i].token, nodes[i + 1].token);
    if (nodes[i].merge != kNoMerge) entries.emplace_back(rank_of(nodes[i].merge), i);
  }
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> heap({}, std::move(entries));
  const auto update = [&](uint32_t i) {
    Node& node = nodes[i];
    node.merge = node.next == kEnd ? kNoMerge : model.pairs.find(node.token, nodes[node.next].token);
    if (node.merge != kNoMerge) heap.emplace(rank_of(node.merge), i);
  };
  while (!heap.empty()) {
    const auto [rank, i] = heap.top();
    heap.pop();
    const uint64_t merge = nodes[i].merge;
    if (merge == kNoMerge || rank_of(merge) != rank) continue;
    const uint32_t gone = nodes[i].next;
    nodes[i].token = static_cast<TokenId>(merge & 0xFFFFFFFF);
    nodes[i].next = nodes[gone].next;
    nodes[gone].merge = kNoMerge;
    if (nodes[i].next != kEnd) nodes[nodes[i].next].previous = i;
    update(i);
    if (i > 0) update(nodes[i].previous);
  }
  for (uint32_t i = 0; i != kEnd; i = nodes[i].next) out.push_back(nodes[i].token);
}

}  // namespace

PieceKey long_piece_key(std::string_view piece) noexcept {
  return {XXH3_64bits(piece.data(), piece.size()), PieceKey::kLong | (piece.size() & ~PieceKey::kLong)};
}

namespace {

// Places are 32 bits wide; a longer piece (one character class for 4 GB) is cut.
constexpr size_t kMaxPiece = size_t{1} << 31;

void append_merged_bytes(const Tokenizer::Model& model, std::string_view piece, std::vector<TokenId>& out) {
  TokenId few[kLinearBytes];
  std::vector<TokenId> many;
  if (piece.size() > kLinearBytes) many.resize(piece.size());
  TokenId* tokens = many.empty() ? few : many.data();
  size_t n = 0;
  for (const char c : piece) {
    const TokenId id = model.byte_tokens[static_cast<unsigned char>(c)];
    if (id >= 0) tokens[n++] = id;
  }
  if (n > kLinearBytes)
    append_merged_long(model, {tokens, n}, out);
  else if (n > 0)
    append_merged_short(model, tokens, n, out);
}

// One token a character; where there is none its bytes, or the unknown token.
void append_characters(const Tokenizer::Model& model, std::string_view piece, std::vector<TokenId>& out) {
  const TokenizerParts& parts = model.parts;
  const auto bytes_of = [&](TokenId id) { return model.bytes(id); };
  bool unknown = false;  // the last character
  for (size_t i = 0, length; i < piece.size(); i += length) {
    length = decode_utf8(piece.data(), piece.size(), i).length;
    const std::string_view c = piece.substr(i, length);
    if (const auto* slot = model.pieces.find(piece_key(c), c, bytes_of)) {
      out.push_back(slot->id);
      unknown = false;
      continue;
    }
    const bool falls_back = std::all_of(
        c.begin(), c.end(), [&](char b) { return model.byte_tokens[static_cast<unsigned char>(b)] >= 0; });
    if (falls_back) {
      for (const char b : c) out.push_back(model.byte_tokens[static_cast<unsigned char>(b)]);
    } else if (parts.unk && !(unknown && parts.fuse_unk)) {
      out.push_back(*parts.unk);
    }
    unknown = !falls_back;
  }
}

void append_merged_characters(const Tokenizer::Model& model, std::string_view piece,
                              std::vector<TokenId>& out) {
  std::vector<TokenId> tokens;
  append_characters(model, piece, tokens);
  if (tokens.size() > kLinearBytes)
    append_merged_long(model, tokens, out);
  else if (!tokens.empty())
    append_merged_short(model, tokens.data(), tokens.size(), out);
}

}  // namespace

void append_merged(const Tokenizer::Model& model, std::string_view piece, std::vector<TokenId>& out) {
  const bool bytes = model.parts.kind == TokenizerKind::kByteLevel;
  while (!piece.empty()) {
    const std::string_view part = piece.substr(0, kMaxPiece);
    if (bytes)
      append_merged_bytes(model, part, out);
    else
      append_merged_characters(model, part, out);
    piece.remove_prefix(part.size());
  }
}

}  // namespace tumbler::tokens
