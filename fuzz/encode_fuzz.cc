// Any bytes, split by the pattern that the first of them chooses: pieces cover the text, decode(encode(x)) is
// x, with and without memory, streamed text is UTF-8.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tokens/byte_level.h"
#include "tokens/streaming_decoder.h"
#include "tokens/tokenizer.h"

namespace {

using namespace tumbler::tokens;

void require(bool condition) {
  if (!condition) std::abort();
}

Tokenizer make(Pattern pattern) {
  TokenizerParts parts;
  parts.pattern = pattern;
  for (const uint8_t byte : byte_level_order()) parts.tokens.emplace_back(1, static_cast<char>(byte));
  for (TokenId left = 0; left < 188; left += 7)  // a few merges of what prints, and merges of those
    for (const TokenId right : {left + 1, TokenId{65}, TokenId{220}}) {
      parts.merges.emplace_back(left, right);
      parts.tokens.push_back(parts.tokens[static_cast<size_t>(left)] +
                             parts.tokens[static_cast<size_t>(right)]);
    }
  auto next = static_cast<TokenId>(parts.tokens.size());
  for (const char* text : {"<|endoftext|>", "<|", "  "})
    parts.added.push_back({.text = text, .id = next++, .special = text[0] == '<'});
  return Tokenizer::from_parts(std::move(parts));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<Tokenizer> kTokenizers = [] {
    std::vector<Tokenizer> all;
    for (int p = 0; p <= static_cast<int>(Pattern::kTekken); ++p)
      all.push_back(make(static_cast<Pattern>(p)));
    return all;
  }();
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Tokenizer& tokenizer = kTokenizers[data[0] % kTokenizers.size()];
  std::string joined, streamed, checked;
  for (const std::string_view piece : split(tokenizer.parts().pattern, text)) joined += piece;
  require(joined == text);
  const std::vector<TokenId> ids = tokenizer.encode(text);
  require(tokenizer.decode(ids) == text);
  require(tokenizer.decode(tokenizer.encode(text, true)) == text);
  Encoder encoder(tokenizer);
  std::vector<TokenId> twice;
  for (int i = 0; i < 2; ++i) {
    twice.clear();
    encoder.encode(text, twice);
    require(twice == ids);
  }
  StreamingDecoder decoder(tokenizer);
  for (const TokenId id : ids) streamed += decoder.push(id);
  streamed += decoder.flush();
  require(append_utf8(streamed, checked) == 0 && checked == streamed);
  return 0;
}
