#include "engine/grammar.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace tumbler::engine {
namespace {

using Instruction = Grammar::Instruction;
using Op = Instruction::Op;

struct Utf8 {
  std::array<uint8_t, 4> bytes;
  int size;
};

Utf8 encode(char32_t c) noexcept {
  const auto tail = [&](int shift) { return static_cast<uint8_t>(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) return {{static_cast<uint8_t>(c)}, 1};
  if (c < 0x800) return {{static_cast<uint8_t>(0xc0 | c >> 6), tail(0)}, 2};
  if (c < 0x10000) return {{static_cast<uint8_t>(0xe0 | c >> 12), tail(6), tail(0)}, 3};
  return {{static_cast<uint8_t>(0xf0 | c >> 18), tail(12), tail(6), tail(0)}, 4};
}

// Ranges of bytes, one after another, that stand for a range of characters.
using ByteRanges = std::vector<std::pair<uint8_t, uint8_t>>;

// Splits a range until all of its characters have the same number of bytes and any byte of a place goes with
// any of the next (as in Russ Cox's "Regular Expression Matching in the Wild", 2010).
void add_utf8_ranges(char32_t low, char32_t high, std::vector<ByteRanges>& out) {
  constexpr char32_t kLastOf[] = {0x7f, 0x7ff, 0xd7ff, 0xdfff, 0xffff};
  for (const char32_t last : kLastOf)
    if (low <= last && last < high) {
      add_utf8_ranges(low, last, out);
      return add_utf8_ranges(last + 1, high, out);
    }
  if (low >= 0xd800 && high <= 0xdfff) return;  // halves of surrogate pairs are no characters
  const int size = encode(low).size;
  for (int i = 1; i < size; ++i) {
    const char32_t tail = (char32_t{1} << (6 * i)) - 1;
    if ((low & ~tail) == (high & ~tail)) continue;
    if ((low & tail) != 0) {
      add_utf8_ranges(low, low | tail, out);
      return add_utf8_ranges((low | tail) + 1, high, out);
    }
    if ((high & tail) != tail) {
      add_utf8_ranges(low, (high & ~tail) - 1, out);
      return add_utf8_ranges(high & ~tail, high, out);
    }
  }
  const Utf8 from = encode(low), to = encode(high);
  ByteRanges ranges;
  for (size_t i = 0; i < static_cast<size_t>(size); ++i) ranges.emplace_back(from.bytes[i], to.bytes[i]);
  out.push_back(std::move(ranges));
}

class Compiler {
 public:
  explicit Compiler(const std::vector<GrammarRule>& rules) : rules_(rules) {}

  std::vector<Instruction> run() {
    add({Op::call, 0, 0, 0}, 0);
    add({Op::accept}, 0);
    for (size_t r = 0; r < rules_.size(); ++r) {
      entry_.push_back(here());
      current_ = r;
      emit(rules_[r].body);
      add({Op::end_rule}, r);
    }
    for (Instruction& instruction : program_)
      if (instruction.op == Op::call) instruction.to = entry_[static_cast<size_t>(instruction.to)];
    refuse_left_recursion();
    return std::move(program_);
  }

 private:
  int32_t here() const noexcept { return static_cast<int32_t>(program_.size()); }

  int32_t add(Instruction instruction, size_t rule) {
    if (here() >= Grammar::kMaxInstructions)
      throw Error("grammar",
                  "rule '{}': got more than {} steps in all, expected fewer; lower the counts of repetitions",
                  rules_[rule].name, Grammar::kMaxInstructions);
    program_.push_back(instruction);
    rule_of_.push_back(static_cast<int32_t>(rule));
    return here() - 1;
  }
  int32_t add(Instruction instruction) { return add(instruction, current_); }
  void patch(int32_t at, int32_t to) { program_[static_cast<size_t>(at)].to = to; }

  void emit(const GrammarNode& node) {
    using Kind = GrammarNode::Kind;
    switch (node.kind) {
      case Kind::characters:
        return emit_characters(node);
      case Kind::sequence:
        for (const GrammarNode& part : node.parts) emit(part);
        return;
      case Kind::alternatives:
        return emit_ways(node.parts.size(), [&](size_t i) { emit(node.parts[i]); });
      case Kind::repeat:
        return emit_repeat(node);
      case Kind::rule:
        add({Op::call, 0, 0, static_cast<int32_t>(node.rule)});
        return;
    }
  }

  template <class Emit>
  void emit_ways(size_t count, Emit emit_way) {
    std::vector<int32_t> jumps;
    for (size_t i = 0; i < count; ++i) {
      const int32_t split = i + 1 < count ? add({Op::split}) : -1;
      emit_way(i);
      if (split < 0) break;
      jumps.push_back(add({Op::jump}));
      patch(split, here());
    }
    for (const int32_t jump : jumps) patch(jump, here());
  }

  void emit_characters(const GrammarNode& node) {
    std::vector<ByteRanges> ways;
    for (const auto& [low, high] : node.ranges) add_utf8_ranges(low, high, ways);
    if (ways.empty())
      throw Error("grammar",
                  "rule '{}': got only halves of surrogate pairs, expected characters; correct the grammar",
                  rules_[current_].name);
    emit_ways(ways.size(), [&](size_t i) {
      for (const auto& [low, high] : ways[i]) add({Op::byte, low, high});
    });
  }

  void emit_repeat(const GrammarNode& node) {
    const GrammarNode& body = node.parts[0];
    const int32_t begin = here();
    for (int64_t i = 0; i < node.least; ++i) {
      emit(body);
      if (here() == begin) return;  // nothing, however often
    }
    if (node.most == GrammarNode::kNoLimit) {
      const int32_t split = add({Op::split});
      emit(body);
      add({Op::jump, 0, 0, split});
      return patch(split, here());
    }
    std::vector<int32_t> splits;
    for (int64_t i = node.least; i < node.most; ++i) {
      splits.push_back(add({Op::split}));
      emit(body);
    }
    for (const int32_t split : splits) patch(split, here());
  }

  // Which rules a rule may call before it has taken a byte. A call of a rule that may be empty is passed
  // over, also where that is found out later.
  std::vector<std::vector<int32_t>> first_calls() const {
    std::vector<std::vector<int32_t>> calls(rules_.size()), waiting(rules_.size());
    std::vector<bool> seen(program_.size()), empty(rules_.size());
    std::vector<int32_t> open = entry_;
    const auto rule_at = [&](int32_t pc) { return static_cast<size_t>(rule_of_[static_cast<size_t>(pc)]); };
    while (!open.empty()) {
      const int32_t pc = open.back();
      open.pop_back();
      if (seen[static_cast<size_t>(pc)]) continue;
      seen[static_cast<size_t>(pc)] = true;
      const Instruction& step = program_[static_cast<size_t>(pc)];
      const size_t rule = rule_at(pc);
      if (step.op == Op::jump || step.op == Op::split) open.push_back(step.to);
      if (step.op == Op::split) open.push_back(pc + 1);
      if (step.op == Op::call) {
        const size_t called = rule_at(step.to);
        calls[rule].push_back(static_cast<int32_t>(called));
        if (empty[called])
          open.push_back(pc + 1);
        else
          waiting[called].push_back(pc + 1);
      }
      if (step.op == Op::end_rule && !empty[rule]) {
        empty[rule] = true;
        open.insert(open.end(), waiting[rule].begin(), waiting[rule].end());
      }
    }
    return calls;
  }

  void refuse_left_recursion() const {
    const std::vector<std::vector<int32_t>> calls = first_calls();
    enum : uint8_t { unseen, open, done };
    std::vector<uint8_t> state(rules_.size(), unseen);
    std::vector<std::pair<size_t, size_t>> path;  // (rule, its next call)
    for (size_t first = 0; first < rules_.size(); ++first) {
      if (state[first] != unseen) continue;
      path.emplace_back(first, 0);
      state[first] = open;
      while (!path.empty()) {
        auto& [rule, next] = path.back();
        if (next == calls[rule].size()) {
          state[rule] = done;
          path.pop_back();
          continue;
        }
        const auto called = static_cast<size_t>(calls[rule][next++]);
        if (state[called] == open)
          throw Error("grammar",
                      "rule '{}': got itself before any character, expected a character first; write the "
                      "repetition with * or +",
                      rules_[called].name);
        if (state[called] == done) continue;
        state[called] = open;
        path.emplace_back(called, 0);
      }
    }
  }

  const std::vector<GrammarRule>& rules_;
  size_t current_ = 0;
  std::vector<Instruction> program_;
  std::vector<int32_t> rule_of_, entry_;
};

}  // namespace

Grammar Grammar::parse(std::string_view gbnf) {
  const std::vector<GrammarRule> rules = parse_gbnf(gbnf);
  return Grammar(Compiler(rules).run());
}

}  // namespace tumbler::engine
