// SentencePiece's way with blanks: they are part of the words that follow them. Kudo and Richardson 2018,
// arXiv:1808.06226. Files write such a blank "▁" (U+2581); here it is a blank in tokens and text alike, and a
// "▁" in a text becomes one, as it does everywhere else.
#include "tokens/metaspace.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "tokens/model.h"
#include "tokens/unicode_tables.h"

namespace tumbler::tokens {
namespace {

// Tokens in use have up to 128 bytes; a longer one would make cutting it up, or finding it, quadratic.
constexpr size_t kMaxTokenBytes = 1024;

std::string_view token_text(const Tokenizer::Model& model, size_t id) {
  const TokenizerParts& parts = model.parts;
  const auto kind = model.kinds[id];
  if (id >= parts.tokens.size() || parts.tokens[id].empty() || kind == Tokenizer::Model::kSpecial ||
      kind == Tokenizer::Model::kUnused)
    return {};
  return model.bytes(static_cast<TokenId>(id));
}

// Every token that text may become without being named in it: not the special ones, and not the bytes.
void fill_pieces(Tokenizer::Model& model) {
  const TokenizerParts& parts = model.parts;
  std::vector<bool> is_byte(model.kinds.size(), false);
  model.byte_tokens.fill(-1);
  for (size_t byte = 0; byte < parts.byte_tokens.size(); ++byte) {
    const TokenId id = parts.byte_tokens[byte];
    if (id < 0) continue;
    model.byte_tokens[byte] = id;
    is_byte[static_cast<size_t>(id)] = true;
  }
  model.pieces.reset(model.kinds.size());
  const auto bytes_of = [&](TokenId id) { return model.bytes(id); };
  for (size_t id = 0; id < model.kinds.size(); ++id) {
    const std::string_view text = token_text(model, id);
    if (!text.empty() && !is_byte[id] && !(parts.unk && *parts.unk == static_cast<TokenId>(id)))
      model.pieces.insert(text, static_cast<TokenId>(id), bytes_of);
  }
}

// Where no token goes on, pieces may end: so words can be encoded one by one, and remembered.
void fill_ends(Tokenizer::Model& model) {
  const TokenizerParts& parts = model.parts;
  const char blank = ' ';
  const auto bytes_of = [&](TokenId id) { return model.bytes(id); };
  const bool cuts = parts.kind == TokenizerKind::kMetaspaceBpe && !parts.ignore_merges &&
                    model.pieces.find(piece_key({&blank, 1}), {&blank, 1}, bytes_of) != nullptr;
  model.ends_piece.fill(cuts);
  model.ends_piece[' '] = false;
  for (const PieceTable::Slot& slot : model.pieces.slots()) {
    if (slot.id < 0) continue;
    const std::string_view text = model.bytes(slot.id);
    for (size_t i = 1; i < text.size(); ++i)
      if (text[i] == ' ') model.ends_piece[static_cast<unsigned char>(text[i - 1])] = false;
  }
  if (parts.metaspace.split) model.ends_piece.fill(true);
}

// Ranks from scores: the greatest is the first, equal ones are one rank.
void fill_merges_from_scores(Tokenizer::Model& model) {
  struct Cut {
    TokenId left, right, id;
  };
  std::vector<Cut> cuts;
  for_each_cut(model, [&](TokenId left, TokenId right, TokenId id) { cuts.push_back({left, right, id}); });
  std::vector<double> order = model.parts.scores;
  std::sort(order.begin(), order.end(), std::greater<>());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  model.pairs.reset(cuts.size());
  for (const Cut& cut : cuts) {
    const double score = model.parts.scores[static_cast<size_t>(cut.id)];
    const auto rank = std::lower_bound(order.begin(), order.end(), score, std::greater<>()) - order.begin();
    model.pairs.insert(cut.left, cut.right, static_cast<uint32_t>(rank), cut.id);
  }
}

void fill_trie(Tokenizer::Model& model) {
  size_t bytes = 0;
  for (const PieceTable::Slot& slot : model.pieces.slots())
    if (slot.id >= 0) bytes += model.bytes(slot.id).size();
  model.pairs.reset(bytes);
  model.node_tokens.assign(1, -1);
  double least = 0;
  for (const double score : model.parts.scores) least = std::min(least, score);
  model.unk_score = least - 10;  // what SentencePiece takes from it
  for (const PieceTable::Slot& slot : model.pieces.slots()) {
    if (slot.id < 0) continue;
    const std::string_view text = model.bytes(slot.id);
    if (text.size() > kMaxTokenBytes)
      throw Error("tokenizer", "{}: token {} has {} bytes, expected at most {}", model.parts.name, slot.id,
                  text.size(), kMaxTokenBytes);
    TokenId node = 0;
    for (const char c : text) {
      const auto next = static_cast<TokenId>(model.node_tokens.size());
      if (model.pairs.insert(node, static_cast<unsigned char>(c), 0, next)) {
        model.node_tokens.push_back(-1);
        node = next;
      } else {
        node = static_cast<TokenId>(model.pairs.find(node, static_cast<unsigned char>(c)) & 0xFFFFFFFF);
      }
    }
    model.node_tokens[static_cast<size_t>(node)] = slot.id;
  }
}

void check(const Tokenizer::Model& model) {
  const TokenizerParts& parts = model.parts;
  const size_t vocab = model.kinds.size();
  const auto check_id = [&](TokenId id, const char* what) {
    if (id < 0 || static_cast<size_t>(id) >= vocab)
      throw Error("tokenizer", "{}: {}: got id {}, expected 0 to {}; the file is damaged", parts.name, what,
                  id, vocab - 1);
  };
  if (parts.unk) {
    check_id(*parts.unk, "the unknown token");
    if (model.kinds[static_cast<size_t>(*parts.unk)] == Tokenizer::Model::kUnused)
      throw Error("tokenizer", "{}: the unknown token has id {}, which is no token; the file is damaged",
                  parts.name, *parts.unk);
  }
  for (const TokenId id : parts.byte_tokens)
    if (id != -1) check_id(id, "a byte");
  if (parts.kind == TokenizerKind::kUnigram && !parts.unk)
    throw Error("tokenizer", "{}: a unigram model without an unknown token; the file is damaged", parts.name);
  const bool scored = parts.kind == TokenizerKind::kUnigram || !parts.scores.empty();
  if (scored && parts.scores.size() != parts.tokens.size())
    throw Error("tokenizer", "{}: got {} scores, expected one for each of {} tokens; the file is damaged",
                parts.name, parts.scores.size(), parts.tokens.size());
  for (const double score : parts.scores)
    if (!std::isfinite(score))
      throw Error("tokenizer", "{}: a score of {}, expected a number; the file is damaged", parts.name,
                  score);
}

}  // namespace

std::string to_metaspace(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ')
      out += kMetaspace;
    else
      out += c;
  }
  return out;
}

std::string from_metaspace(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const bool blank = text.starts_with(kMetaspace);
    out += blank ? ' ' : text[0];
    text.remove_prefix(blank ? kMetaspace.size() : 1);
  }
  return out;
}

std::optional<uint8_t> parse_byte_token(std::string_view text) noexcept {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  unsigned value = 0;
  const auto [stop, error] = std::from_chars(text.data() + 3, text.data() + 5, value, 16);
  if (error != std::errc() || stop != text.data() + 5) return std::nullopt;
  return static_cast<uint8_t>(value);
}

std::string byte_token(uint8_t byte) {
  return fmt::format("<0x{:02X}>", byte);
}

void for_each_cut(const Tokenizer::Model& model,
                  const std::function<void(TokenId left, TokenId right, TokenId id)>& use) {
  const auto bytes_of = [&](TokenId id) { return model.bytes(id); };
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < static_cast<TokenId>(model.kinds.size()); ++id) {
    const std::string_view token = model.bytes(id);
    if (token.size() < 2) continue;
    const auto* slot = model.pieces.find(piece_key(token), token, bytes_of);
    if (slot == nullptr || slot->id != id) continue;
    if (token.size() > kMaxTokenBytes)
      throw Error("tokenizer", "{}: token {} has {} bytes, expected at most {}", model.parts.name, id,
                  token.size(), kMaxTokenBytes);
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const std::string_view head = token.substr(0, cut), tail = token.substr(cut);
      const auto* left = model.pieces.find(piece_key(head), head, bytes_of);
      if (left == nullptr) continue;
      const auto* right = model.pieces.find(piece_key(tail), tail, bytes_of);
      if (right != nullptr) use(left->id, right->id, id);
    }
  }
}

void fill_metaspace(Tokenizer::Model& model) {
  check(model);
  fill_pieces(model);
  fill_ends(model);
  if (model.parts.kind == TokenizerKind::kUnigram)
    fill_trie(model);
  else if (!model.parts.scores.empty())
    fill_merges_from_scores(model);
}

std::string_view to_blanks(const Tokenizer::Model& model, std::string_view text, bool first,
                           std::string& changed) {
  const Metaspace& how = model.parts.metaspace;
  bool prepend = how.prepend && (first || !how.first_only);
  if (how.unless_blank && (text.starts_with(' ') || text.starts_with(kMetaspace))) prepend = false;
  size_t at = text.find(kMetaspace);
  if (!prepend && at == std::string_view::npos) return text;
  std::string out;
  out.reserve(text.size() + 1);
  if (prepend) out += ' ';
  size_t done = 0;
  for (; at != std::string_view::npos; at = text.find(kMetaspace, done)) {
    out.append(text, done, at - done);
    out += ' ';
    done = at + kMetaspace.size();
  }
  out.append(text, done);
  changed = std::move(out);
  return changed;
}

size_t split_blanks(const Tokenizer::Model& model, std::string_view text, size_t begin, size_t* ends,
                    size_t capacity) {
  size_t n = 0;
  while (n < capacity && begin < text.size()) {
    size_t end = text.find(' ', begin + 1);
    while (end != std::string_view::npos && !model.ends_piece[static_cast<unsigned char>(text[end - 1])])
      end = text.find(' ', end + 1);
    begin = ends[n++] = std::min(end, text.size());
  }
  return n;
}

}  // namespace tumbler::tokens
