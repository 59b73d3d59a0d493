#include "engine/grammar.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/constraint.h"

namespace tumbler::engine {
namespace {

// Tokens of one byte each: what a grammar says of texts.
std::shared_ptr<const TokenTrie> bytes() {
  static const auto trie = [] {
    std::vector<std::string> tokens;
    for (int b = 0; b < 256; ++b) tokens.emplace_back(1, static_cast<char>(b));
    return std::make_shared<const TokenTrie>(std::move(tokens));
  }();
  return trie;
}

bool matches(const std::string& gbnf, std::string_view text) {
  Constraint constraint(std::make_shared<const Grammar>(Grammar::parse(gbnf)), bytes());
  for (const char c : text) {
    const int32_t token = static_cast<unsigned char>(c);
    if (!constraint.is_allowed(token)) return false;
    constraint.accept(token);
  }
  return constraint.may_end();
}

std::string error_of(const std::string& gbnf) {
  try {
    Grammar::parse(gbnf);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Grammar, TakesWhatItSays) {
  struct Case {
    const char* gbnf;
    std::vector<std::string> yes, no;
  };
  const std::vector<Case> cases = {
      {R"(root ::= "ab")", {"ab"}, {"", "a", "abc", "b"}},
      {R"(root ::= "a" | "bc" | "")", {"a", "bc", ""}, {"b", "abc"}},
      {R"(root ::= "a"* "b"+ "c"?)", {"b", "aab", "bbc", "abbc"}, {"", "a", "ac", "bcc"}},
      {R"(root ::= "x"{2} "y"{1,} "z"{0,2})", {"xxy", "xxyyyzz"}, {"xy", "xxyzzz", "xxx"}},
      {R"(root ::= ("a" | "b"){2,3})", {"ab", "bbb"}, {"a", "abab"}},
      {R"(root ::= [a-c0-9_]+)", {"a", "c9_"}, {"", "d", "A"}},
      {R"(root ::= [^"\\\n]*)",
       {"", "x y", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
       {"\"", "\\", "a\n", "\xC3", "\xFF"}},
      {R"(root ::= "\x41\u00e9\U0001F600\n\"\\")", {"A\xC3\xA9\xF0\x9F\x98\x80\n\"\\"}, {"A"}},
      {R"(root ::= .)", {"a", "\xF4\x8F\xBF\xBF", "\n"}, {"", "ab", "\xED\xA0\x80"}},
      {R"(root ::= [\u00e0-\u0fff])",
       {"\xC3\xA0", "\xE0\xBF\xBF", "\xDF\xBF"},
       {"\xC3\x9F", "\xE1\x80\x80", "a"}},
      {"root ::= list # a comment\nlist ::= \"(\" list* \")\"",
       {"()", "(()())", "((()))"},
       {"(", "())", ")("}},
      {"root ::= item\n  | item \",\" root\nitem ::= [0-9]+", {"1", "12,3,45"}, {"1,", ",1"}},
      {"root ::= (\n  \"a\"\n  \"b\" )\n", {"ab"}, {"a"}},
      {R"(root ::= ("" | "a")*)", {"", "aaa"}, {"b"}},
      {"root ::= a-1 b_2\na-1 ::= \"x\"\nb_2 ::= \"y\"?", {"x", "xy"}, {"y"}},
      {R"(root ::= "a"{0})", {""}, {"a"}},
      {R"(root ::= [-a] [a-] [\]\^])", {"-a]", "a-^"}, {"b-]"}},
  };
  for (const Case& c : cases) {
    for (const std::string& text : c.yes) EXPECT_TRUE(matches(c.gbnf, text)) << c.gbnf << " takes " << text;
    for (const std::string& text : c.no) EXPECT_FALSE(matches(c.gbnf, text)) << c.gbnf << " refuses " << text;
  }
}

TEST(Grammar, SaysWhereAndWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "no rule 'root'"},
      {"start ::= \"a\"", "no rule 'root'"},
      {"root ::= other", "line 1, column 10: got rule 'other'"},
      {"root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: got rule 'root' again"},
      {"root = \"a\"", "expected '::='"},
      {"root ::= \"a", "at the literal's end"},
      {"root ::= [a", "at the end of the characters"},
      {"root ::= []", "no characters"},
      {"root ::= (\"a\"", "expected ')'"},
      {"root ::= \"a\" )", "the end of the line"},
      {"root ::= \"\\q\"", "an escape"},
      {"root ::= \"\\u12\"", "4 hexadecimal digits"},
      {"root ::= \"\\UFFFFFFFF\"", "beyond Unicode"},
      {"root ::= \"a\"{3,2}", "least first"},
      {"root ::= \"a\"{200000}", "at most 100000"},
      {"root ::= [z-a]", "ends before it begins"},
      {"root ::= \"\xFF\"", "UTF-8"},
      {"root ::= [\\uD800-\\uDFFF]", "surrogate"},
      {"root ::= root \"a\"", "itself before any character"},
      {"root ::= a\na ::= b? c\nb ::= \"x\"\nc ::= a | \"y\"", "itself before any character"},
      {"root ::= (\"x\"{50000}){50000}", "lower the counts"},
      {"root ::= " + std::string(300, '('), "at most 200 deep"},
  };
  for (const auto& [gbnf, message] : cases)
    EXPECT_NE(error_of(gbnf).find(message), std::string::npos)
        << gbnf.substr(0, 80) << " -> " << error_of(gbnf);
  EXPECT_EQ(error_of("root ::= a b\na ::= \"x\" a | \"\"\nb ::= \"(\" b \")\" | [0-9]"), "");
  EXPECT_EQ(error_of("root ::= (((\"\"{100000}){100000}){100000})"), "")
      << "nothing, however often, ends at once";
}

TEST(Grammar, RulesWithinRulesHaveALimit) {
  const std::string gbnf = "root ::= \"(\" root \")\" | \"x\"";
  const auto deep = [](size_t n) { return std::string(n, '(') + "x" + std::string(n, ')'); };
  EXPECT_TRUE(matches(gbnf, deep(500)));
  EXPECT_FALSE(matches(gbnf, deep(5000))) << "one parenthesis more is not allowed";
  EXPECT_TRUE(matches("root ::= \"a\" root | \"b\"", std::string(5000, 'a') + "b"))
      << "a list needs no depth";
}

TEST(Grammar, TooManyWaysAreAnError) {
  // Each character may belong to any of the rules that are open: ways without an end.
  const std::string gbnf = "root ::= \"a\" root \"a\"? | \"a\" root \"b\"? | \"a\" root | \"a\"";
  EXPECT_THROW(matches(gbnf, std::string(900, 'a')), Error);
}

}  // namespace
}  // namespace tumbler::engine
