// Grammar: what a text may be, in GBNF, the notation of llama.cpp's grammars, compiled for a machine that
// follows all ways through it at once (Thompson 1968; with calls, so that rules may contain themselves).
//
//   root  ::= "yes" | "no" reason?      # literals, alternatives, ? * + {2} {2,} {2,5}, groups, comments
//   reason ::= ", because " [^\n."]+    # classes of characters with ranges and ^; . is any character
//
// Escapes in literals and classes: \n \r \t \\ \" \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH. A rule ends with its
// line, except inside parentheses and where the next line begins with |.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tumbler::engine {

class Grammar {
 public:
  // One step of the machine. Characters are UTF-8: a class is ranges of bytes, one after another.
  struct Instruction {
    enum class Op : uint8_t { byte, split, jump, call, end_rule, accept };
    Op op;
    uint8_t low = 0, high = 0;  // byte: the next one has to be in this range
    int32_t to = 0;             // jump, call, and the first way of split; the other way is the next one
  };

  // Throws Error with line and column: where text is not GBNF, a rule is missing, defined twice, or begins
  // with itself (left recursion, which no text would ever end), and where the machine would have more than
  // kMaxInstructions.
  static Grammar parse(std::string_view gbnf);

  static constexpr int64_t kMaxInstructions = 1 << 20;

  // Starts at 0. Its last instruction for root is accept.
  std::span<const Instruction> program() const noexcept { return program_; }

 private:
  explicit Grammar(std::vector<Instruction> program) : program_(std::move(program)) {}
  std::vector<Instruction> program_;
};

// A piece of a rule's right side.
struct GrammarNode {
  enum class Kind { characters, sequence, alternatives, repeat, rule };
  static constexpr int64_t kNoLimit = -1;
  Kind kind = Kind::sequence;
  std::vector<std::pair<char32_t, char32_t>> ranges = {};  // characters: sorted, apart
  std::vector<GrammarNode> parts = {};
  int64_t least = 0, most = kNoLimit;  // repeat: of parts[0]
  size_t rule = 0;                     // its number
};

struct GrammarRule {
  std::string name;
  GrammarNode body;
};

// The rules of a GBNF text, root first. Throws Error as Grammar::parse does.
std::vector<GrammarRule> parse_gbnf(std::string_view text);

}  // namespace tumbler::engine
