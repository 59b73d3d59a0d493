#include "engine/constraint.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace tumbler::engine {
namespace {

std::shared_ptr<const Grammar> grammar(const std::string& gbnf) {
  return std::make_shared<const Grammar>(Grammar::parse(gbnf));
}

// A text of a few characters, so that tokens have beginnings in common.
std::string random_text(Rng& rng, size_t most) {
  static const std::string characters[] = {"a", "b", "(", ")", ",", "\xC3\xA9", "\"", " "};
  std::string text;
  for (uint64_t n = 1 + rng.below(most); n > 0; --n) text += characters[rng.below(8)];
  return text;
}

// A token is allowed where all of its bytes are, one after another: the same machine on tokens of one byte.
TEST(Constraint, AllowsTheTokensWhoseBytesFit) {
  const std::string grammars[] = {R"g(root ::= ("a" | "b" | "(" root ")" | ",")*)g",
                                  "root ::= \"\\\"\" [^\"]* \"\\\"\" root?",
                                  "root ::= list \" \"\nlist ::= [ab]+ (\",\" list)? | \"(\" list \")\"",
                                  R"(root ::= [^a]{2,5} "a"* "é"?)"};
  std::vector<std::string> one_byte;
  for (int b = 0; b < 256; ++b) one_byte.emplace_back(1, static_cast<char>(b));
  const auto bytes = std::make_shared<const TokenTrie>(one_byte);
  Rng rng(7, 0);
  for (const std::string& gbnf : grammars)
    for (int round = 0; round < 8; ++round) {
      std::vector<std::string> tokens = {"", "", "a", "a", "\xC3", "\xA9"};  // none, twice the same, halves
      for (int i = 0; i < 40; ++i) tokens.push_back(random_text(rng, 5));
      const auto trie = std::make_shared<const TokenTrie>(tokens);
      Constraint constraint(grammar(gbnf), trie);
      std::string text;
      for (int step = 0; step < 8; ++step) {
        std::vector<int32_t> allowed;
        for (int32_t token = 0; token < constraint.vocabulary(); ++token) {
          const std::string& piece = tokens[static_cast<size_t>(token)];
          Constraint slow(grammar(gbnf), bytes);
          bool fits = !piece.empty();
          for (const char c : text + piece) {
            fits = fits && slow.is_allowed(static_cast<unsigned char>(c));
            if (!fits) break;
            slow.accept(static_cast<unsigned char>(c));
          }
          ASSERT_EQ(constraint.is_allowed(token), fits)
              << gbnf << ": '" << piece << "' after '" << text << "'";
          if (fits) allowed.push_back(token);
        }
        if (allowed.empty()) break;
        const int32_t chosen = allowed[rng.below(allowed.size())];
        text += tokens[static_cast<size_t>(chosen)];
        constraint.accept(chosen);
      }
    }
}

TEST(Constraint, KnowsWhereTheTextMayAndMustEnd) {
  const auto trie = std::make_shared<const TokenTrie>(std::vector<std::string>{"a", "b", ""});
  Constraint constraint(grammar("root ::= \"a\"+ \"b\"?"), trie);
  EXPECT_FALSE(constraint.may_end());
  constraint.accept(0);
  EXPECT_TRUE(constraint.may_end());
  EXPECT_FALSE(constraint.must_end());
  constraint.accept(1);
  EXPECT_TRUE(constraint.must_end());
  EXPECT_FALSE(constraint.is_allowed(0));
  EXPECT_FALSE(constraint.is_allowed(-1));
  EXPECT_FALSE(constraint.is_allowed(3));
}

// Every step makes states that were not there before: more than are kept.
TEST(Constraint, ForgetsAndGoesOn) {
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) tokens.emplace_back(1, static_cast<char>(b));
  Constraint constraint(grammar("root ::= ([ab] [ab]){0,40000} \"c\""),
                        std::make_shared<const TokenTrie>(tokens));
  for (int i = 0; i < 79'000; ++i) {
    ASSERT_TRUE(constraint.is_allowed(i % 2 == 0 ? 'a' : 'b'));
    constraint.accept(i % 2 == 0 ? 'a' : 'b');
    ASSERT_EQ(constraint.is_allowed('c'), i % 2 == 1);
  }
}

}  // namespace
}  // namespace tumbler::engine
