// Whole numbers between bounds as GBNF.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace tumbler::engine {

// Bounds, both inclusive; none: as far as 16 digits go.
struct IntegerRange {
  std::optional<int64_t> least = {}, most = {};
};

// The whole numbers of the range, as JSON writes them (no leading zeros, no "-0"). Empty where there is none.
std::string integer_grammar(const IntegerRange& range);

// Numbers of the range, whole or with a fraction, no exponent.
std::string number_grammar(const IntegerRange& range);

}  // namespace tumbler::engine
