// Byte pair encoding of one piece: the pair with the smallest rank merges first, of equals the leftmost.
#include <queue>

#include <xxhash.h>

#include "tokens/model.h"

namespace tumbler::tokens {
namespace {

// Up to this many bytes the pairs are searched one after the other: n·m steps over two cache lines a side
// beat a heap.
constexpr size_t kLinearBytes = 64;

void append_merged_short(const Tokenizer::Model& model, std::string_view piece, std::vector<TokenId>& out) {
  TokenId tokens[kLinearBytes];
  uint64_t merges[kLinearBytes];  // merges[i]: of tokens i and i + 1
  size_t n = piece.size();
  for (size_t i = 0; i < n; ++i) tokens[i] = model.byte_tokens[static_cast<unsigned char>(piece[i])];
  for (size_t i = 0; i + 1 < n; ++i) merges[i] = model.pairs.find(tokens[i], tokens[i + 1]);
  while (n > 1) {
    size_t best = 0;
    uint64_t least = merges[0];
    for (size_t i = 1; i + 1 < n; ++i)
      if (merges[i] < least) least = merges[i], best = i;
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
void append_merged_long(const Tokenizer::Model& model, std::string_view piece, std::vector<TokenId>& out) {
  struct Node {
    TokenId token;
    uint32_t previous, next;
    uint64_t merge;  // with the next node
  };
  constexpr uint32_t kEnd = 0xFFFFFFFF;
  const auto n = static_cast<uint32_t>(piece.size());
  std::vector<Node> nodes(n);
  for (uint32_t i = 0; i < n; ++i)
    nodes[i] = {model.byte_tokens[static_cast<unsigned char>(piece[i])], i - 1, i + 1 < n ? i + 1 : kEnd,
                kNoMerge};
  using Entry = std::pair<uint64_t, uint32_t>;  // merge, place
  std::vector<Entry> entries;
  entries.reserve(n);
  for (uint32_t i = 0; i + 1 < n; ++i) {
    nodes[i].merge = model.pairs.find(nodes[i].token, nodes[i + 1].token);
    if (nodes[i].merge != kNoMerge) entries.emplace_back(nodes[i].merge, i);
  }
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> heap({}, std::move(entries));
  const auto update = [&](uint32_t i) {
    Node& node = nodes[i];
    node.merge = node.next == kEnd ? kNoMerge : model.pairs.find(node.token, nodes[node.next].token);
    if (node.merge != kNoMerge) heap.emplace(node.merge, i);
  };
  while (!heap.empty()) {
    const auto [merge, i] = heap.top();
    heap.pop();
    if (nodes[i].merge != merge) continue;
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

void append_merged(const Tokenizer::Model& model, std::string_view piece, std::vector<TokenId>& out) {
  std::string known;
  if (model.lacks_bytes) {
    for (const char c : piece)
      if (model.byte_tokens[static_cast<unsigned char>(c)] >= 0) known += c;
    piece = known;
  }
  // Places are 32 bits wide; a longer piece (one character class for 4 GB) is cut.
  constexpr size_t kMax = size_t{1} << 31;
  for (; piece.size() > kMax; piece.remove_prefix(kMax))
    append_merged_long(model, piece.substr(0, kMax), out);
  if (piece.empty()) return;
  if (piece.size() <= kLinearBytes)
    append_merged_short(model, piece, out);
  else
    append_merged_long(model, piece, out);
}

}  // namespace tumbler::tokens
