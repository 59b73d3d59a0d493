// How SentencePiece-style vocabularies spell tokens in files: "▁" (U+2581) for a blank, "<0x0A>" for a byte.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tumbler::tokens {

constexpr std::string_view kMetaspace = "\xE2\x96\x81";

std::string to_metaspace(std::string_view text);    // blanks become "▁"
std::string from_metaspace(std::string_view text);  // and back

// "<0x0A>": exactly two hexadecimal digits; anything else is no byte.
std::optional<uint8_t> parse_byte_token(std::string_view text) noexcept;
std::string byte_token(uint8_t byte);

}  // namespace tumbler::tokens
