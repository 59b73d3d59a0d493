// Grammars and JSON schemas from outside: refused, or a machine that allows a token exactly where its bytes
// may come next, in bounded time and memory.
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/constraint.h"
#include "engine/grammar.h"
#include "engine/json_schema.h"

namespace {

using namespace tumbler;

std::shared_ptr<const engine::TokenTrie> vocabulary() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* text :
       {"\"", "\":", "{\"", "\"}", "},", "[[", "true", "null", "  ", "12", "ab", "\xC3\xA9", "\xE7\x9F", ""})
    tokens.emplace_back(text);
  return std::make_shared<const engine::TokenTrie>(std::move(tokens));
}

void require(bool condition) {
  if (!condition) std::abort();
}

// Goes along tokens that are allowed, chosen by `choices`.
void follow(const std::shared_ptr<const engine::Grammar>& grammar, std::string_view choices) {
  static const auto tokens = vocabulary();
  engine::Constraint constraint(grammar, tokens);
  for (const char choice : choices.substr(0, 24)) {
    std::vector<int32_t> allowed;
    const auto words = constraint.allowed();
    for (size_t i = 0; i < words.size(); ++i)
      for (uint64_t bits = words[i]; bits != 0; bits &= bits - 1)
        allowed.push_back(static_cast<int32_t>(64 * i) + std::countr_zero(bits));
    const auto last = static_cast<int32_t>(tokens->vocabulary()) - 1;
    require(allowed.empty() || allowed.back() < last);  // the last one has no bytes
    require(constraint.must_end() == (allowed.empty() && constraint.may_end()) || !allowed.empty());
    if (allowed.empty()) return;
    const auto pick = allowed[static_cast<unsigned char>(choice) % allowed.size()];
    require(constraint.is_allowed(pick));
    const auto other = static_cast<int32_t>(static_cast<unsigned char>(choice));
    bool listed = false;
    for (const int32_t id : allowed) listed |= id == other;
    require(constraint.is_allowed(other) == listed);
    constraint.accept(pick);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 26) return 0;
  const std::string_view choices(reinterpret_cast<const char*>(data) + 1, 24);
  const std::string text(reinterpret_cast<const char*>(data) + 25, size - 25);
  try {
    const std::string gbnf = data[0] & 1 ? engine::json_schema_grammar(text) : text;
    follow(std::make_shared<const engine::Grammar>(engine::Grammar::parse(gbnf)), choices);
  } catch (const Error&) {
  }
  return 0;
}
