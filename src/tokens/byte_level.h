// GPT-2's printable spelling of bytes, in which tokenizer.json, vocab.json and merges.txt write tokens: "
// the" is "Ġthe".
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace tumbler::tokens {

// The bytes in the order of their ids in byte-level vocabularies: those that print, then the others.
const std::array<uint8_t, 256>& byte_level_order() noexcept;

// Each byte as one character: itself where it prints in Latin-1, else U+0100 and on.
std::string to_byte_level(std::string_view bytes);
// The other way; text with a character that stands for no byte is its own UTF-8 bytes, as in Hugging Face's
// decoder.
std::string from_byte_level(std::string_view text);

}  // namespace tumbler::tokens
