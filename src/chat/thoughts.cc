#include "chat/thoughts.h"

#include <algorithm>

namespace tumbler::chat {
namespace {

// Bytes at the end of `text` that may be the start of `tag`.
size_t held_bytes(std::string_view text, std::string_view tag) {
  size_t n = std::min(text.size(), tag.size() - 1);
  while (n > 0 && !tag.starts_with(text.substr(text.size() - n))) --n;
  return n;
}

}  // namespace

void Thoughts::push(std::string_view text, const Use& use) {
  held_ += text;
  std::string_view left = held_;
  while (!left.empty()) {
    const std::string_view tag = thinking_ ? "</think>" : "<think>";
    const size_t at = left.find(tag);
    const size_t n = at != std::string_view::npos ? at : left.size() - held_bytes(left, tag);
    if (n > 0) use(left.substr(0, n), thinking_);
    left.remove_prefix(n);
    if (at == std::string_view::npos) break;
    left.remove_prefix(tag.size());
    thinking_ = !thinking_;
  }
  held_ = std::string(left);
}

void Thoughts::flush(const Use& use) {
  if (!held_.empty()) use(held_, thinking_);
  held_.clear();
}

}  // namespace tumbler::chat
