// A file of ranks from anywhere: an Error or a tokenizer that round-trips.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "tokens/tiktoken.h"

namespace {

// All single bytes, so that the fuzzer need not find them: base64 of one byte is two digits and "==".
std::string single_bytes() {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (unsigned byte = 0; byte < 256; ++byte) {
    text += kDigits[byte >> 2];
    text += kDigits[(byte & 3) << 4];
    text += "== " + std::to_string(byte) + "\n";
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tumbler;
  static const std::string kBytes = single_bytes();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const bool complete : {false, true}) {
    try {
      tokens::TokenizerParts parts =
          tokens::parse_tiktoken((complete ? kBytes : "") + std::string(text), "o200k", "fuzz");
      for (tokens::AddedToken& added : parts.added) added.id -= 199'000;  // else all small files are refused
      const tokens::Tokenizer tokenizer = tokens::Tokenizer::from_parts(std::move(parts));
      if (tokenizer.decode(tokenizer.encode(text)) != text) std::abort();
      (void)tokens::recover_merges(tokenizer);
    } catch (const Error&) {
    }
  }
  return 0;
}
