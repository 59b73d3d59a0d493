#include "tokens/byte_level.h"

#include "tokens/unicode_tables.h"

namespace tumbler::tokens {
namespace {

constexpr bool prints(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

constexpr auto kOrder = [] {
  std::array<uint8_t, 256> order{};
  size_t n = 0;
  for (const bool wanted : {true, false})
    for (int byte = 0; byte < 256; ++byte)
      if (prints(byte) == wanted) order[n++] = static_cast<uint8_t>(byte);
  return order;
}();

// Code point of each byte.
constexpr auto kCodePoints = [] {
  std::array<uint16_t, 256> code_points{};
  uint16_t next = 0x100;
  for (size_t byte = 0; byte < 256; ++byte)
    code_points[byte] = prints(static_cast<int>(byte)) ? static_cast<uint16_t>(byte) : next++;
  return code_points;
}();

// Byte of each code point below 0x144, -1 where there is none.
constexpr auto kBytes = [] {
  std::array<int16_t, 0x144> bytes{};
  for (int16_t& byte : bytes) byte = -1;
  for (size_t byte = 0; byte < 256; ++byte) bytes[kCodePoints[byte]] = static_cast<int16_t>(byte);
  return bytes;
}();

}  // namespace

const std::array<uint8_t, 256>& byte_level_order() noexcept {
  return kOrder;
}

std::string to_byte_level(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const uint32_t code_point = kCodePoints[static_cast<unsigned char>(c)];
    if (code_point < 0x80) {
      out += static_cast<char>(code_point);
      continue;
    }
    out += static_cast<char>(0xC0 | code_point >> 6);
    out += static_cast<char>(0x80 | (code_point & 0x3F));
  }
  return out;
}

std::string from_byte_level(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = decode_utf8(text.data(), text.size(), i);
    if (c.value >= kBytes.size() || kBytes[c.value] < 0) return std::string(text);
    out += static_cast<char>(kBytes[c.value]);
    i += c.length;
  }
  return out;
}

}  // namespace tumbler::tokens
