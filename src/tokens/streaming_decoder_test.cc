#include "tokens/streaming_decoder.h"

#include <gtest/gtest.h>

#include "tokens/test_data.h"

namespace tumbler::tokens {
namespace {

using testing_data::small_parts;

std::string stream(StreamingDecoder& decoder, const Tokenizer& t, std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += decoder.push(*t.find_token({&c, 1}));
  return out;
}

TEST(StreamingDecoder, HoldsBackPartsOfCharacters) {
  const Tokenizer t = Tokenizer::from_parts(small_parts({}));
  StreamingDecoder decoder(t);
  EXPECT_EQ(stream(decoder, t, "\xE4\xB8"), "");
  EXPECT_EQ(stream(decoder, t, "\xAD"), "\xE4\xB8\xAD");
  EXPECT_EQ(stream(decoder, t, "a\xF0\x9F\x98"), "a");
  EXPECT_EQ(stream(decoder, t, "\x80"), "\xF0\x9F\x98\x80");
  EXPECT_EQ(decoder.flush(), "");
}

TEST(StreamingDecoder, ReplacesWhatCannotBecomeACharacter) {
  const Tokenizer t = Tokenizer::from_parts(small_parts({}));
  StreamingDecoder decoder(t);
  EXPECT_EQ(stream(decoder, t,
                   "\xE4\xB8"
                   "a"),
            "\xEF\xBF\xBD"
            "a");  // one for the maximal subpart
  EXPECT_EQ(stream(decoder, t, "\xFF"), "\xEF\xBF\xBD");
  EXPECT_EQ(stream(decoder, t, "\xED\xA0\x80"),
            "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate: three
  EXPECT_EQ(stream(decoder, t, "\xC3"), "");
  EXPECT_EQ(decoder.flush(), "\xEF\xBF\xBD");
  EXPECT_EQ(decoder.flush(), "");
}

TEST(StreamingDecoder, LeavesSpecialTokensOutUnlessAsked) {
  const Tokenizer t = Tokenizer::from_parts(small_parts({}));
  EXPECT_EQ(StreamingDecoder(t).push(*t.eos_id()), "");
  EXPECT_EQ(StreamingDecoder(t, false).push(*t.eos_id()), "<|endoftext|>");
}

TEST(StreamingDecoder, EqualsDecodingAtOnce) {
  const Tokenizer t = Tokenizer::from_parts(small_parts({{"\xE4", "\xB8"}, {"a", "\xC3"}, {"\x80", "\xE4"}}));
  Rng rng(2);
  const std::string alphabet = "a \xE4\xB8\xAD\xC3\xA9\xF0\x9F\x98\x80\xED";
  for (int i = 0; i < 3000; ++i) {
    std::string bytes, streamed, whole;
    for (uint64_t n = rng.below(30); n-- > 0;) bytes += alphabet[rng.below(alphabet.size())];
    StreamingDecoder decoder(t);
    for (const TokenId id : t.encode(bytes)) {
      const std::string part(decoder.push(id));
      std::string checked;
      ASSERT_EQ(append_utf8(part, checked), 0u);
      ASSERT_EQ(checked, part);  // whole characters only
      streamed += part;
    }
    streamed += decoder.flush();
    if (append_utf8(bytes, whole) > 0) whole += "\xEF\xBF\xBD";
    ASSERT_EQ(streamed, whole);
  }
}

}  // namespace
}  // namespace tumbler::tokens
