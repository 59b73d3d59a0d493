#include "engine/json_numbers.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace tumbler::engine {
namespace {

constexpr int64_t kLargest = 9'999'999'999'999'999;  // 16 digits
constexpr const char* kFraction = "(\".\" [0-9]{1,16})?";

std::string digit(char low, char high) {
  return low == high ? fmt::format("\"{}\"", low) : fmt::format("[{}-{}]", low, high);
}

// Numbers of as many digits from low to high, without the common beginning being split more than it has to.
void add_same_length(const std::string& low, const std::string& high, const std::string& before,
                     std::vector<std::string>& out) {
  if (low.empty()) {
    out.push_back(before);
    return;
  }
  const auto rest = static_cast<int>(low.size()) - 1;
  const std::string low_rest = low.substr(1), high_rest = high.substr(1);
  if (low[0] == high[0])
    return add_same_length(low_rest, high_rest, before + digit(low[0], low[0]) + " ", out);
  const bool low_whole = low_rest.find_first_not_of('0') == std::string::npos,
             high_whole = high_rest.find_first_not_of('9') == std::string::npos;
  char first = low[0], last = high[0];
  if (!low_whole) {
    add_same_length(low_rest, std::string(static_cast<size_t>(rest), '9'), before + digit(first, first) + " ",
                    out);
    ++first;
  }
  if (!high_whole) --last;
  if (first <= last)
    out.push_back(before + digit(first, last) + (rest > 0 ? fmt::format(" [0-9]{{{}}}", rest) : ""));
  if (!high_whole)
    add_same_length(std::string(static_cast<size_t>(rest), '0'), high_rest,
                    before + digit(high[0], high[0]) + " ", out);
}

// From 0 on.
std::vector<std::string> magnitudes(int64_t least, int64_t most) {
  std::vector<std::string> out;
  if (least > most) return out;
  for (std::string low = std::to_string(least), end = std::to_string(most); low.size() <= end.size();
       low = "1" + std::string(low.size(), '0')) {
    const std::string high = low.size() == end.size() ? end : std::string(low.size(), '9');
    add_same_length(low, high, "", out);
  }
  return out;
}

std::string any_of(const std::vector<std::string>& ways) {
  if (ways.empty()) return "";
  std::string out = "(" + ways[0];
  for (size_t i = 1; i < ways.size(); ++i) out += " | " + ways[i];
  return out + ")";
}

struct Bounds {
  int64_t least, most;
};
Bounds bounds_of(const IntegerRange& range) {
  return {std::max(range.least.value_or(-kLargest), -kLargest),
          std::min(range.most.value_or(kLargest), kLargest)};
}

// The magnitudes from `least` to `most`, with fractions.
void add_numbers(const std::string& sign, int64_t least, int64_t most, std::vector<std::string>& out) {
  if (least > most) return;
  const std::string inner = any_of(magnitudes(least, most == kLargest ? most : most - 1));
  if (!inner.empty()) out.push_back(sign + inner + " " + kFraction);
  if (most != kLargest) out.push_back(fmt::format("{}\"{}\" (\".\" \"0\"{{1,16}})?", sign, most));
}

}  // namespace

std::string integer_grammar(const IntegerRange& range) {
  const auto [least, most] = bounds_of(range);
  if (least > most) return "";
  std::vector<std::string> ways;
  if (least < 0) {
    const std::string below = any_of(magnitudes(std::max<int64_t>(1, -most), -least));
    if (!below.empty()) ways.push_back("\"-\" " + below);
  }
  if (most >= 0) ways.push_back(any_of(magnitudes(std::max<int64_t>(0, least), most)));
  return any_of(ways);
}

std::string number_grammar(const IntegerRange& range) {
  const auto [least, most] = bounds_of(range);
  if (least > most) return "";
  std::vector<std::string> ways;
  if (least < 0) add_numbers("\"-\" ", std::max<int64_t>(0, -most), -least, ways);
  if (most >= 0) add_numbers("", std::max<int64_t>(0, least), most, ways);
  return any_of(ways);
}

}  // namespace tumbler::engine
