// tokenizer.json from anywhere: an Error or a tokenizer that encodes and decodes, streams what it decodes,
// and writes a file that says the same.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "tokens/streaming_decoder.h"
#include "tokens/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tumbler;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    tokens::TokenizerParts parts = tokens::parse_tokenizer_json(text, "fuzz");
    tokens::apply_tokenizer_config(parts, text, "fuzz");
    const bool lossless =
        parts.kind == tokens::TokenizerKind::kByteLevel && !parts.nfc && !parts.add_prefix_space;
    const tokens::Tokenizer tokenizer = tokens::Tokenizer::from_parts(std::move(parts));
    const std::string sample = std::string(text.substr(0, 100)) +
                               std::string(text.substr(text.size() - text.size() / 16).substr(0, 100));
    if (lossless && tokenizer.decode(tokenizer.encode(sample)) != sample) std::abort();
    const std::pair<size_t, size_t> outside[] = {{sample.size() / 4, sample.size() / 2}};
    for (const auto& ids : {tokenizer.encode(sample), tokenizer.encode(sample, true),
                            tokenizer.encode(sample, std::span(outside))}) {
      std::string decoded, streamed;
      if (tokens::append_utf8(tokenizer.decode(ids), decoded) > 0) decoded += "\xEF\xBF\xBD";
      tokens::StreamingDecoder stream(tokenizer, /*skip_special=*/false);
      for (const tokens::TokenId id : ids) streamed += stream.push(id);
      streamed += stream.flush();
      if (streamed != decoded) std::abort();
    }
    (void)tokens::parse_tokenizer_json(to_tokenizer_json(tokenizer), "written");
  } catch (const Error&) {
  }
  return 0;
}
