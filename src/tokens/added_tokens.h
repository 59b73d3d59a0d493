// Finds the names of added tokens in text: leftmost, and of those that start at one place the longest.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "tokens/tokenizer.h"

namespace tumbler::tokens {

class AddedTokenMatcher {
 public:
  struct Match {
    size_t begin, end;  // with the white space that lstrip and rstrip take along
    TokenId id;
  };

  void add(const AddedToken& token);
  bool empty() const noexcept { return tokens_.empty(); }
  // The first match in text[from, …).
  std::optional<Match> find(std::string_view text, size_t from) const noexcept {
    return find(text, from, text.size());
  }
  // The first match that begins and ends in text[from, to), but for the white space that it takes along.
  std::optional<Match> find(std::string_view text, size_t from, size_t to) const noexcept;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, int>> children;  // sorted by byte
    int token = -1;
  };
  // Index of the longest token at `at` and its end; -1 where there is none.
  std::pair<int, size_t> longest_at(std::string_view text, size_t at) const noexcept;
  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::vector<AddedToken> tokens_;
  bool starts_[256] = {};
};

// Matches of `trusted` outside the ranges `input` (sorted, disjoint) and of `always` anywhere, from left to
// right. Each part of the text is looked at once, however many matches there are.
class MixedMatcher {
 public:
  using Match = AddedTokenMatcher::Match;
  MixedMatcher(const AddedTokenMatcher& trusted, const AddedTokenMatcher& always, std::string_view text,
               std::span<const std::pair<size_t, size_t>> input) noexcept
      : trusted_(trusted), always_(always), text_(text), input_(input) {}
  // The next match at or behind `from`, which never goes back; of two that begin at one place the longer.
  std::optional<Match> find(size_t from) noexcept;

 private:
  std::optional<Match> find_trusted(size_t from) noexcept;
  const AddedTokenMatcher &trusted_, &always_;
  std::string_view text_;
  std::span<const std::pair<size_t, size_t>> input_;  // those that do not end before what was asked for last
  std::optional<Match> own_, plain_;                  // found ahead
  bool own_known_ = false, plain_known_ = false;
};

}  // namespace tumbler::tokens
