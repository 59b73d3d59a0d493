// Text of a template run: UTF-8 bytes that remember which of them came from outside (a message, a tool's
// answer), so that such text can never be read as a special token. Python's notions: a string is a sequence
// of code points, white space is what str.isspace() says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tumbler::jinja {

// Bytes [begin, end) of a text.
struct Range {
  size_t begin = 0, end = 0;
  bool operator==(const Range&) const = default;
};

struct Text {
  std::string bytes;
  std::vector<Range> input;  // what came from outside: sorted, disjoint, not touching, none empty

  Text() = default;
  Text(std::string s, bool from_outside = false);  // NOLINT: implicit by design
  Text(const char* s) : bytes(s) {}                // NOLINT: implicit by design

  bool has_input() const noexcept { return !input.empty(); }
  void append(const Text& other);
  void append(std::string_view trusted) { bytes += trusted; }
  void append(const std::string& trusted) { bytes += trusted; }
  void append(const char* trusted) { bytes += trusted; }
  Text sub(size_t begin, size_t end) const;  // bytes [begin, end)
};

bool is_utf8(std::string_view s) noexcept;
void append_utf8(std::string& out, uint32_t code_point);
// The code point at s[i], i < size, and its length in bytes; s is UTF-8.
uint32_t code_point_at(std::string_view s, size_t i, size_t& length) noexcept;
size_t count_code_points(std::string_view s) noexcept;
// Byte offsets of the code points and, at the end, s.size().
std::vector<size_t> code_point_offsets(std::string_view s);

bool is_space(uint32_t code_point) noexcept;
std::string to_upper(std::string_view s);
std::string to_lower(std::string_view s);
// First character upper, the others lower.
std::string capitalize(std::string_view s);
// str.title(): each word's first cased letter upper, the others lower.
std::string title(std::string_view s);
// A function of bytes on a text: the outcome is all from outside where any of the text was.
template <class F>
Text map_text(const Text& text, F f) {
  return Text(f(std::string_view(text.bytes)), text.has_input());
}

// str.strip(): white space, or the code points in `characters`.
enum class Side { kBoth, kLeft, kRight };
Text strip(const Text& text, Side side = Side::kBoth);
Text strip(const Text& text, Side side, std::string_view characters);
std::vector<Text> split_lines(const Text& text, bool keep_ends = false);
// At most `limit` cuts where it is not negative.
std::vector<Text> split_space(const Text& text, int64_t limit);
std::vector<Text> split(const Text& text, std::string_view separator, int64_t limit);
std::vector<Text> split_right(const Text& text, std::string_view separator, int64_t limit);
// Bytes of the outcome of replace().
size_t replaced_size(const Text& text, std::string_view old, size_t fresh, int64_t limit);
Text replace(const Text& text, std::string_view old, const Text& fresh, int64_t limit);

// repr() of a string: quotes and escapes as Python prints them.
std::string quote(std::string_view s);
// repr() of a float.
std::string float_text(double x);

}  // namespace tumbler::jinja
