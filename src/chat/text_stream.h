// TextStream: tokens that a model chose in, text out: whole characters only, without the tokens that end an
// answer, and only up to a stop string.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokens/stop_strings.h"
#include "tokens/streaming_decoder.h"
#include "tokens/tokenizer.h"

namespace tumbler::chat {

class TextStream {
 public:
  // Special tokens are no text, but for those that bound a thought. `goes_on`: the text continues another.
  TextStream(tokens::Tokenizer tokenizer, std::vector<int32_t> stop_tokens, std::vector<std::string> stops,
             bool goes_on = false);
  // Text that is whole with this token; may be empty.
  std::string push(int32_t token);
  // What is still held back. Nothing comes after it.
  std::string finish();
  // A stop string has come.
  bool stopped() const noexcept { return stops_.stopped(); }

 private:
  bool is_silent(int32_t token) const;
  tokens::Tokenizer tokenizer_;
  std::vector<int32_t> stop_tokens_;
  tokens::StreamingDecoder decoder_;
  tokens::StopStrings stops_;
};

}  // namespace tumbler::chat
