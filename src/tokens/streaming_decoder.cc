#include "tokens/streaming_decoder.h"

#include <algorithm>

#include "base/error.h"
#include "tokens/unicode_tables.h"

namespace tumbler::tokens {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Bytes of an ill-formed sequence at `at` that could begin a character (at least 1), and whether text that
// follows could complete them. Unicode 15, table 3-7.
std::pair<size_t, bool> ill_formed(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned a = byte(at);
  size_t length = 0;  // of the whole character
  if (a >= 0xC2 && a <= 0xDF)
    length = 2;
  else if (a >= 0xE0 && a <= 0xEF)
    length = 3;
  else if (a >= 0xF0 && a <= 0xF4)
    length = 4;
  if (length == 0) return {1, false};
  size_t n = 1;
  for (; n < length && at + n < text.size(); ++n) {
    unsigned low = 0x80, high = 0xBF;
    if (n == 1 && a == 0xE0) low = 0xA0;
    if (n == 1 && a == 0xED) high = 0x9F;
    if (n == 1 && a == 0xF0) low = 0x90;
    if (n == 1 && a == 0xF4) high = 0x8F;
    if (byte(at + n) < low || byte(at + n) > high) return {n, false};
  }
  return {n, at + n == text.size()};
}

}  // namespace

size_t append_utf8(std::string_view bytes, std::string& out) {
  for (size_t i = 0; i < bytes.size();) {
    const CodePoint c = decode_utf8(bytes.data(), bytes.size(), i);
    if (c.value != CodePoint::kInvalid) {
      out.append(bytes, i, c.length);
      i += c.length;
      continue;
    }
    const auto [length, may_go_on] = ill_formed(bytes, i);
    if (may_go_on) return length;
    out += kReplacement;
    i += length;
  }
  return 0;
}

StreamingDecoder::StreamingDecoder(Tokenizer tokenizer, bool skip_special, bool goes_on)
    : tokenizer_(std::move(tokenizer)), skip_special_(skip_special), goes_on_(goes_on) {}

std::string_view StreamingDecoder::push(TokenId id) {
  out_.clear();
  if (id < 0 || id >= tokenizer_.vocab_size())
    throw Error("tokenizer", "decode: got id {}, expected 0 to {}; use the tokenizer that made these ids", id,
                tokenizer_.vocab_size() - 1);
  if (skip_special_ && tokenizer_.is_special(id)) return out_;
  std::string_view text = tokenizer_.token_bytes(id);
  if (at_start_ && !goes_on_) {
    using Strip = Metaspace::Strip;
    const Strip strip = tokenizer_.parts().metaspace.strip;
    if (strip == Strip::kFirstToken) text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    if (strip == Strip::kOne && text.starts_with(' ')) text.remove_prefix(1);
  }
  if (!tokenizer_.token_bytes(id).empty()) at_start_ = false;
  pending_ += text;
  const size_t held = append_utf8(pending_, out_);
  pending_.erase(0, pending_.size() - held);
  return out_;
}

std::string_view StreamingDecoder::flush() {
  out_.clear();
  if (!pending_.empty()) out_ = kReplacement;
  pending_.clear();
  at_start_ = true;
  return out_;
}

}  // namespace tumbler::tokens
