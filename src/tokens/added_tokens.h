// Finds the names of added tokens in text: leftmost, and of those that start at one place the longest.
#pragma once

#include <cstddef>
#include <optional>
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
  std::optional<Match> find(std::string_view text, size_t from) const noexcept;

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

}  // namespace tumbler::tokens
