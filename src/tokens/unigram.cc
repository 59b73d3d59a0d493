// Unigram model: of all ways to cut a piece into tokens the one with the greatest sum of log-probabilities.
// Kudo 2018 (arXiv:1804.10959), section 3.2; Viterbi 1967.
#include <algorithm>

#include "tokens/model.h"
#include "tokens/unicode_tables.h"

namespace tumbler::tokens {
namespace {

// The best way to the end of each prefix: its score, and the token it ends with.
struct Step {
  double score = 0;
  TokenId token = -1;  // -1: no way found yet
  uint32_t begin = 0;
};

std::vector<Step> best_steps(const Tokenizer::Model& model, std::string_view piece) {
  std::vector<Step> steps(piece.size() + 1);
  const TokenId unk = model.parts.unk.value();
  const auto relax = [&](size_t begin, size_t end, TokenId token, double score) {
    Step& step = steps[end];
    if (step.token < 0 || score > step.score) step = {score, token, static_cast<uint32_t>(begin)};
  };
  for (size_t begin = 0, length; begin < piece.size(); begin += length) {
    length = decode_utf8(piece.data(), piece.size(), begin).length;
    const double score = steps[begin].score;
    bool whole_character = false;
    TokenId node = 0;
    for (size_t end = begin; end < piece.size();) {
      const uint64_t next = model.pairs.find(node, static_cast<unsigned char>(piece[end]));
      if (next == kNoMerge) break;
      node = static_cast<TokenId>(next & 0xFFFFFFFF);
      ++end;
      const TokenId token = model.node_tokens[static_cast<size_t>(node)];
      if (token < 0) continue;
      relax(begin, end, token, score + model.parts.scores[static_cast<size_t>(token)]);
      whole_character |= end - begin == length;
    }
    if (!whole_character) relax(begin, begin + length, unk, score + model.unk_score);
  }
  return steps;
}

// Neighbouring unknown characters are one; its bytes where all have tokens.
void append_unknown(const Tokenizer::Model& model, std::string_view text, std::vector<TokenId>& out) {
  const auto byte = [&](char c) { return model.byte_tokens[static_cast<unsigned char>(c)]; };
  if (!std::all_of(text.begin(), text.end(), [&](char c) { return byte(c) >= 0; })) {
    out.push_back(model.parts.unk.value());
    return;
  }
  for (const char c : text) out.push_back(byte(c));
}

void append_part(const Tokenizer::Model& model, std::string_view piece, std::vector<TokenId>& out) {
  const std::vector<Step> steps = best_steps(model, piece);
  std::vector<uint32_t> ends;
  for (auto end = static_cast<uint32_t>(piece.size()); end > 0; end = steps[end].begin) ends.push_back(end);
  std::reverse(ends.begin(), ends.end());
  const TokenId unk = model.parts.unk.value();
  for (size_t i = 0, begin = 0; i < ends.size();) {
    const TokenId token = steps[ends[i]].token;
    size_t end = ends[i++];
    if (token != unk) {
      out.push_back(token);
    } else {
      while (i < ends.size() && steps[ends[i]].token == unk) end = ends[i++];
      append_unknown(model, piece.substr(begin, end - begin), out);
    }
    begin = end;
  }
}

}  // namespace

void append_unigram(const Tokenizer::Model& model, std::string_view piece, std::vector<TokenId>& out) {
  constexpr size_t kMaxPiece = size_t{1} << 31;  // places are 32 bits wide
  for (; piece.size() > kMaxPiece; piece.remove_prefix(kMaxPiece))
    append_part(model, piece.substr(0, kMaxPiece), out);
  append_part(model, piece, out);
}

}  // namespace tumbler::tokens
