// tokenizer.json from anywhere: an Error or a tokenizer that encodes and decodes.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "tokens/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tumbler;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    tokens::TokenizerParts parts = tokens::parse_tokenizer_json(text, "fuzz");
    tokens::apply_tokenizer_config(parts, text, "fuzz");
    const bool lossless = !parts.nfc && !parts.add_prefix_space;
    const tokens::Tokenizer tokenizer = tokens::Tokenizer::from_parts(std::move(parts));
    const std::string_view sample = text.substr(0, 1000);
    if (lossless && tokenizer.decode(tokenizer.encode(sample)) != sample) std::abort();
    (void)tokenizer.encode(sample, true);
  } catch (const Error&) {
  }
  return 0;
}
