// Constraint: which tokens may come next where a text has to follow a grammar.
//
//   const auto vocabulary = std::make_shared<const TokenTrie>(bytes_of_each_token);
//   Constraint constraint(std::make_shared<const Grammar>(Grammar::parse(gbnf)), vocabulary);
//   constraint.allowed();          // a bit for each token
//   constraint.accept(token);      // one of them was chosen
//
// The machine's states are found as they are needed and kept with what each byte leads to, so that a token's
// bytes are mostly looked up (lazy determinisation, as RE2 does; with a stack, as in XGrammar, Dong et al.
// 2024, arXiv:2411.15100). A state's tokens are found by one walk over the vocabulary's trie, which leaves
// out whole branches at their first byte that does not fit, and kept too.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/grammar.h"

namespace tumbler::engine {

// The bytes of all tokens, in one tree. Tokens without bytes, such as special ones, are not in it.
class TokenTrie {
 public:
  explicit TokenTrie(std::vector<std::string> tokens);
  int64_t vocabulary() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  const std::string& bytes(int32_t token) const { return tokens_.at(static_cast<size_t>(token)); }

  // In depth-first order: what follows a node that does not fit begins at `skip`.
  struct Node {
    uint8_t byte;
    int32_t depth, skip;
    int32_t first_token, token_count;  // in sorted(): those that end here
  };
  std::span<const Node> nodes() const noexcept { return nodes_; }
  std::span<const int32_t> sorted() const noexcept { return sorted_; }

 private:
  std::vector<std::string> tokens_;
  std::vector<int32_t> sorted_;  // by bytes
  std::vector<Node> nodes_;
};

class Constraint {
 public:
  Constraint(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> tokens);
  ~Constraint();
  Constraint(const Constraint&) = delete;
  Constraint& operator=(const Constraint&) = delete;

  int64_t vocabulary() const noexcept;
  // A bit for each token that may come next, in words of 64. Valid until the next call. Throws Error where
  // the grammar has too many ways at once (kMaxWays).
  std::span<const uint64_t> allowed();
  bool is_allowed(int32_t token);
  // May the text end here? Must it, since nothing can follow?
  bool may_end() const noexcept;
  bool must_end() const noexcept;
  // Goes on with a token that is_allowed().
  void accept(int32_t token);

  // Ways through the grammar that are followed at once, and rules within rules: deeper ones are not allowed.
  static constexpr int64_t kMaxWays = 20'000;
  static constexpr int32_t kMaxDepth = 1000;

 private:
  class Machine;
  std::unique_ptr<Machine> machine_;
  std::shared_ptr<const TokenTrie> tokens_;
  int32_t state_;
};

}  // namespace tumbler::engine
