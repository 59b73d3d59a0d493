// StreamingDecoder: tokens in, text out as soon as it is whole. A token may end inside a UTF-8 character; its
// bytes are held back until the rest arrives, so that a terminal or a page never sees half a character.
#pragma once

#include <string>
#include <string_view>

#include "tokens/tokenizer.h"

namespace tumbler::tokens {

class StreamingDecoder {
 public:
  // Where the tokenizer puts a blank before a text, it is taken from the first token again, unless this text
  // `goes_on` where another one ended.
  explicit StreamingDecoder(Tokenizer tokenizer, bool skip_special = true, bool goes_on = false);
  // Text that `id` completes: well-formed UTF-8, possibly empty, valid until the next call. Bytes that cannot
  // be part of a character become U+FFFD, one per maximal subpart (Unicode 15, section 3.9).
  std::string_view push(TokenId id);
  // What is still held back, as U+FFFD; then the decoder is as new.
  std::string_view flush();

 private:
  Tokenizer tokenizer_;
  bool skip_special_, goes_on_;
  bool at_start_ = true;
  std::string pending_, out_;
};

// Appends `bytes` to `out` as well-formed UTF-8, with U+FFFD for each maximal ill-formed subpart; returns the
// number of bytes at the end that may be the start of a character and were left out (at most 3).
size_t append_utf8(std::string_view bytes, std::string& out);

}  // namespace tumbler::tokens
