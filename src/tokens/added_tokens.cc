#include "tokens/added_tokens.h"

#include <algorithm>

#include "tokens/unicode_tables.h"

namespace tumbler::tokens {
namespace {

CharClass class_at(std::string_view text, size_t i) {
  const CodePoint c = decode_utf8(text.data(), text.size(), i);
  return c.value == CodePoint::kInvalid ? CharClass::kOther : char_class(c.value);
}

// Start of the character that ends at `end` > 0.
size_t previous(std::string_view text, size_t end) {
  for (size_t length = 1; length <= 4 && length <= end; ++length) {
    const CodePoint c = decode_utf8(text.data(), end, end - length);
    if (c.value != CodePoint::kInvalid && c.length == length) return end - length;
  }
  return end - 1;
}

bool is_space(CharClass c) {
  return c == CharClass::kSpace || c == CharClass::kNewline;
}

bool is_word(std::string_view text, size_t i) {
  const CharClass c = class_at(text, i);
  return text[i] == '_' || (c != CharClass::kOther && !is_space(c));
}

}  // namespace

void AddedTokenMatcher::add(const AddedToken& token) {
  size_t node = 0;
  for (const char c : token.text) {
    const auto byte = static_cast<unsigned char>(c);
    auto& children = nodes_[node].children;
    const auto at = std::lower_bound(children.begin(), children.end(), std::pair(byte, -1));
    if (at != children.end() && at->first == byte) {
      node = static_cast<size_t>(at->second);
      continue;
    }
    const int fresh = static_cast<int>(nodes_.size());
    children.insert(at, {byte, fresh});
    nodes_.emplace_back();
    node = static_cast<size_t>(fresh);
  }
  if (node == 0) return;
  nodes_[node].token = static_cast<int>(tokens_.size());
  tokens_.push_back(token);
  starts_[static_cast<unsigned char>(token.text[0])] = true;
}

std::pair<int, size_t> AddedTokenMatcher::longest_at(std::string_view text, size_t at) const noexcept {
  std::pair<int, size_t> best{-1, at};
  for (size_t node = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const auto& children = nodes_[node].children;
    const auto child = std::lower_bound(children.begin(), children.end(), std::pair(byte, -1));
    if (child == children.end() || child->first != byte) break;
    node = static_cast<size_t>(child->second);
    ++at;
    if (nodes_[node].token >= 0) best = {nodes_[node].token, at};
  }
  return best;
}

std::optional<AddedTokenMatcher::Match> AddedTokenMatcher::find(std::string_view text, size_t from,
                                                                size_t to) const noexcept {
  if (empty()) return std::nullopt;
  for (size_t at = from; at < to; ++at) {
    if (!starts_[static_cast<unsigned char>(text[at])]) continue;
    auto [index, end] = longest_at(text.substr(0, to), at);
    if (index < 0) continue;
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    if (token.single_word &&
        ((at > 0 && is_word(text, previous(text, at))) || (end < text.size() && is_word(text, end)))) {
      at = end - 1;
      continue;
    }
    size_t begin = at;
    if (token.lstrip)
      while (begin > from && is_space(class_at(text, previous(text, begin)))) begin = previous(text, begin);
    if (token.rstrip)
      while (end < text.size() && is_space(class_at(text, end)))
        end += decode_utf8(text.data(), text.size(), end).length;
    return Match{begin, end, token.id};
  }
  return std::nullopt;
}

std::optional<MixedMatcher::Match> MixedMatcher::find_trusted(size_t from) noexcept {
  while (!input_.empty() && input_.front().second <= from) input_ = input_.subspan(1);
  for (const auto& [begin, end] : input_) {
    if (begin > from)
      if (const auto match = trusted_.find(text_, from, begin)) return match;
    from = end;
  }
  return trusted_.find(text_, from);
}

std::optional<MixedMatcher::Match> MixedMatcher::find(size_t from) noexcept {
  if (!own_known_ || (own_ && own_->begin < from)) own_ = find_trusted(from);
  if (!plain_known_ || (plain_ && plain_->begin < from)) plain_ = always_.find(text_, from);
  own_known_ = plain_known_ = true;
  if (!own_ || !plain_) return own_ ? own_ : plain_;
  if (own_->begin != plain_->begin) return own_->begin < plain_->begin ? own_ : plain_;
  return own_->end >= plain_->end ? own_ : plain_;
}

}  // namespace tumbler::tokens
