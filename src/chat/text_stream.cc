#include "chat/text_stream.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace tumbler::chat {

TextStream::TextStream(tokens::Tokenizer tokenizer, std::vector<int32_t> stop_tokens,
                       std::vector<std::string> stops, bool goes_on)
    : tokenizer_(tokenizer),
      stop_tokens_(std::move(stop_tokens)),
      decoder_(std::move(tokenizer), /*skip_special=*/false, goes_on),
      stops_(std::move(stops)) {}

bool TextStream::is_silent(int32_t token) const {
  if (token < 0 || token >= tokenizer_.vocab_size() || !tokenizer_.has(token)) return true;
  if (std::find(stop_tokens_.begin(), stop_tokens_.end(), token) != stop_tokens_.end()) return true;
  const std::string_view text = tokenizer_.token_bytes(token);
  return tokenizer_.is_special(token) && text != "<think>" && text != "</think>";
}

std::string TextStream::push(int32_t token) {
  if (is_silent(token)) return {};
  return std::string(stops_.push(decoder_.push(token)));
}

std::string TextStream::finish() {
  if (stops_.stopped()) return {};
  std::string rest(stops_.push(decoder_.flush()));
  if (!stops_.stopped()) rest += stops_.flush();
  return rest;
}

}  // namespace tumbler::chat
