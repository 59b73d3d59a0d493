#include "text/html_tokenizer.h"

#include <array>
#include <cstring>
#include <string>
#include <unordered_map>

#include "text/html_entities.h"

namespace tumbler::text {
namespace {

constexpr bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}
constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool equals_ignoring_case(std::string_view text, std::string_view lower_case) {
  if (text.size() != lower_case.size()) return false;
  for (size_t i = 0; i < text.size(); ++i)
    if (lower(text[i]) != lower_case[i]) return false;
  return true;
}

// Open addressing over FNV-1a of a short name: 150 names in 512 slots.
constexpr uint32_t name_hash(std::string_view name) {
  uint32_t hash = 2166136261u;
  for (char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return hash ^ (hash >> 15);
}

struct TagTable {
  struct Slot {
    std::string_view name;
    Tag tag = Tag::kUnknown;
  };
  std::array<Slot, 512> slots{};
  constexpr TagTable() {
#define X(name) add(#name, Tag::name##_);
    TUMBLER_HTML_TAGS(X)
#undef X
  }
  constexpr void add(std::string_view name, Tag tag) {
    uint32_t i = name_hash(name) % 512;
    while (!slots[i].name.empty()) i = (i + 1) % 512;
    slots[i] = {name, tag};
  }
  Tag find(std::string_view name) const {
    uint32_t i = name_hash(name) % 512;
    for (; !slots[i].name.empty(); i = (i + 1) % 512)
      if (slots[i].name == name) return slots[i].tag;
    return Tag::kUnknown;
  }
};
constexpr TagTable kTagTable;

Attribute attribute_from_name(std::string_view name) {
  switch (lower(name[0])) {
    case 'c':
      return equals_ignoring_case(name, "class") ? Attribute::class_ : Attribute::kNone;
    case 's':
      return equals_ignoring_case(name, "style") ? Attribute::style_ : Attribute::kNone;
    case 't':
      return equals_ignoring_case(name, "type") ? Attribute::type_ : Attribute::kNone;
    case 'e':
      return equals_ignoring_case(name, "encoding") ? Attribute::encoding_ : Attribute::kNone;
    case 'd':
      return equals_ignoring_case(name, "data-nosnippet") ? Attribute::data_nosnippet_ : Attribute::kNone;
    case 'i':
      if (equals_ignoring_case(name, "id")) return Attribute::id_;
      if (equals_ignoring_case(name, "itemprop")) return Attribute::itemprop_;
      return equals_ignoring_case(name, "itemtype") ? Attribute::itemtype_ : Attribute::kNone;
    case 'r':
      if (equals_ignoring_case(name, "role")) return Attribute::role_;
      return equals_ignoring_case(name, "rel") ? Attribute::rel_ : Attribute::kNone;
    case 'h':
      if (equals_ignoring_case(name, "href")) return Attribute::href_;
      return equals_ignoring_case(name, "hidden") ? Attribute::hidden_ : Attribute::kNone;
    case 'a':
      if (equals_ignoring_case(name, "aria-hidden")) return Attribute::aria_hidden_;
      return equals_ignoring_case(name, "alttext") ? Attribute::alttext_ : Attribute::kNone;
    default:
      return Attribute::kNone;
  }
}

void append_utf8(uint32_t code, std::string& out) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 63));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 63));
    out += static_cast<char>(0x80 | (code & 63));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 63));
    out += static_cast<char>(0x80 | ((code >> 6) & 63));
    out += static_cast<char>(0x80 | (code & 63));
  }
}

// "&#…": returns the bytes read after the '&', 0 if this is no reference.
size_t decode_numeric(std::string_view rest, std::string& out) {
  // 0x80 to 0x9F mean Windows-1252 (13.2.5.80).
  static constexpr uint16_t kWindows1252[32] = {
      0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
      0x2039, 0x0152, 0x8D,   0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
      0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
  size_t i = 1;
  const bool hex = i < rest.size() && (rest[i] | 32) == 'x';
  if (hex) ++i;
  const size_t first = i;
  uint32_t code = 0;
  for (; i < rest.size(); ++i) {
    const char c = lower(rest[i]);
    uint32_t digit;
    if (is_digit(c))
      digit = static_cast<uint32_t>(c - '0');
    else if (hex && c >= 'a' && c <= 'f')
      digit = static_cast<uint32_t>(c - 'a' + 10);
    else
      break;
    if (code <= 0x10FFFF) code = code * (hex ? 16 : 10) + digit;
  }
  if (i == first) return 0;
  if (i < rest.size() && rest[i] == ';') ++i;
  if (code >= 0x80 && code < 0xA0) code = kWindows1252[code - 0x80];
  if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) code = 0xFFFD;
  append_utf8(code, out);
  return i;
}

struct EntityTable {
  std::unordered_map<std::string_view, std::string> by_name;  // "amp;" and "amp"
  std::deque<std::string> names;
  EntityTable() {
    std::string_view rest = kHtmlEntities;
    while (!rest.empty()) {
      const size_t equals = rest.find('='), space = rest.find(' ');
      std::string value;
      for (const char* p = rest.data() + equals; *p != ' ';) {
        char* end = nullptr;
        append_utf8(static_cast<uint32_t>(std::strtoul(p + 1, &end, 16)), value);
        p = end;
      }
      by_name.emplace(names.emplace_back(std::string(rest.substr(0, equals)) + ';'), std::move(value));
      rest.remove_prefix(space + 1);
    }
    for (rest = kHtmlLegacyEntities; !rest.empty(); rest.remove_prefix(rest.find(' ') + 1)) {
      const std::string name(rest.substr(0, rest.find(' ')));
      by_name.emplace(names.emplace_back(name), by_name.at(name + ';'));
    }
  }
};

}  // namespace

Tag tag_from_name(std::string_view lower_case_name) noexcept {
  return kTagTable.find(lower_case_name);
}

const char* find_entity(std::string_view name) noexcept {
  static const EntityTable table;
  const auto found = table.by_name.find(name);
  return found == table.by_name.end() ? nullptr : found->second.c_str();
}

void decode_entities(std::string_view text, bool in_attribute, std::string& out) {
  constexpr size_t kLongest = 32;  // CounterClockwiseContourIntegral;
  size_t at = 0;
  while (at < text.size()) {
    const size_t amp = std::min(text.find('&', at), text.size());
    out.append(text, at, amp - at);
    at = amp;
    if (at == text.size()) break;
    const std::string_view rest = text.substr(at + 1, kLongest + 1);
    if (!rest.empty() && rest[0] == '#') {
      if (const size_t used = decode_numeric(text.substr(at + 1), out)) {
        at += 1 + used;
        continue;
      }
    }
    size_t n = 0;
    while (n < rest.size() && (is_letter(rest[n]) || is_digit(rest[n]))) ++n;
    const char* value = nullptr;
    if (n > 0 && n < rest.size() && rest[n] == ';') value = find_entity(rest.substr(0, ++n));
    if (!value) {
      const bool closed = n > 0 && rest[n - 1] == ';';
      if (closed) --n;
      const size_t full = n;
      for (n = std::min<size_t>(n, 6); n >= 2 && !(value = find_entity(rest.substr(0, n))); --n) {
      }
      const char next = at + 1 + n < text.size() ? text[at + 1 + n] : ' ';
      if (value && in_attribute && (n < full || next == '=')) value = nullptr;
    }
    if (value) {
      out += value;
      at += 1 + n;
    } else {
      out += '&';
      ++at;
    }
  }
}

std::string_view HtmlTokenizer::decoded(std::string_view text, bool in_attribute) {
  if (text.find('&') == text.npos) return text;
  std::string out;
  out.reserve(text.size());
  decode_entities(text, in_attribute, out);
  return tree_.keep(std::move(out));
}

bool HtmlTokenizer::next(HtmlToken& token) {
  if (raw_ != Tag::kUnknown) {
    const Tag tag = raw_;
    raw_ = Tag::kUnknown;
    const std::string_view text = raw_text(tag);
    if (raw_keep_ && !text.empty()) {
      token.kind = HtmlToken::Kind::kText;
      token.text = tag == Tag::title_ ? decoded(text, false) : text;
      return true;
    }
  }
  while (at_ < html_.size()) {
    size_t end = at_;
    for (;; ++end) {  // up to the next '<' that begins markup
      const void* found =
          end < html_.size() ? std::memchr(html_.data() + end, '<', html_.size() - end) : nullptr;
      end = found ? static_cast<size_t>(static_cast<const char*>(found) - html_.data()) : html_.size();
      if (!found) break;
      const char c = end + 1 < html_.size() ? html_[end + 1] : '\0';
      if (is_letter(c) || c == '!' || c == '?' || c == '/') break;
    }
    if (end > at_) {
      token.kind = HtmlToken::Kind::kText;
      token.text = decoded(html_.substr(at_, end - at_), false);
      at_ = end;
      return true;
    }
    const char c = html_[at_ + 1];
    const bool closing = c == '/';
    const char first = closing ? (at_ + 2 < html_.size() ? html_[at_ + 2] : '\0') : c;
    if (is_letter(first)) {
      if (next_tag(token)) return true;
    } else {
      skip_markup_declaration();
    }
  }
  return false;
}

void HtmlTokenizer::skip_markup_declaration() {
  if (html_.compare(at_, 4, "<!--") == 0) {
    const size_t from = at_ + 4;
    if (html_.compare(from, 1, ">") == 0) return void(at_ = from + 1);
    if (html_.compare(from, 2, "->") == 0) return void(at_ = from + 2);
    size_t end = html_.find("--", from);
    while (end != html_.npos) {
      if (html_.compare(end, 3, "-->") == 0) return void(at_ = end + 3);
      if (html_.compare(end, 4, "--!>") == 0) return void(at_ = end + 4);
      end = html_.find("--", end + 1);
    }
    at_ = html_.size();
    return;
  }
  if (html_.compare(at_, 9, "<![CDATA[") == 0 && xhtml_) {
    const size_t end = html_.find("]]>", at_);
    at_ = end == html_.npos ? html_.size() : end + 3;
    return;
  }
  if (html_.compare(at_, 5, "<?xml") == 0) xhtml_ = true;
  const size_t end = html_.find('>', at_);
  at_ = end == html_.npos ? html_.size() : end + 1;
}

bool HtmlTokenizer::next_tag(HtmlToken& token) {
  const bool closing = html_[at_ + 1] == '/';
  const size_t name_at = at_ + (closing ? 2 : 1);
  size_t end = name_at;
  char buffer[16];
  while (end < html_.size() && !is_space(html_[end]) && html_[end] != '/' && html_[end] != '>') {
    if (end - name_at < sizeof buffer) buffer[end - name_at] = lower(html_[end]);
    ++end;
  }
  token.kind = closing ? HtmlToken::Kind::kEnd : HtmlToken::Kind::kStart;
  token.name = html_.substr(name_at, end - name_at);
  token.tag =
      token.name.size() <= sizeof buffer ? kTagTable.find({buffer, token.name.size()}) : Tag::kUnknown;
  at_ = end;
  read_attributes(token);
  if (at_ > html_.size()) {  // the page ends inside the tag: the tag is dropped
    at_ = html_.size();
    return false;
  }
  if (closing) return true;
  using enum Tag;
  switch (token.tag) {
    case script_:
    case style_:
    case textarea_:
    case title_:
    case iframe_:
    case noembed_:
    case noframes_:
    case xmp_:
      if (token.self_closing && xhtml_) break;
      token.self_closing = false;
      raw_ = token.tag;
      raw_keep_ = token.tag == title_ || token.tag == xmp_;
      break;
    default:
      break;
  }
  return true;
}

// Leaves at_ after the '>', or beyond the page's end if there is none.
void HtmlTokenizer::read_attributes(HtmlToken& token) {
  token.first_attribute = static_cast<uint32_t>(tree_.attributes_.size());
  token.n_attributes = 0;
  token.self_closing = false;
  uint32_t seen = 0;
  const size_t n = html_.size();
  const char* const s = html_.data();
  size_t i = at_;
  while (i < n) {
    if (is_space(s[i])) {
      ++i;
      continue;
    }
    if (s[i] == '>') {
      at_ = i + 1;
      return;
    }
    if (s[i] == '/') {
      token.self_closing = i + 1 < n && s[i + 1] == '>';
      ++i;
      continue;
    }
    const size_t name_at = i++;  // a '=' here is part of the name
    while (i < n && !is_space(s[i]) && s[i] != '/' && s[i] != '>' && s[i] != '=') ++i;
    const std::string_view name = html_.substr(name_at, i - name_at);
    size_t j = i;
    while (j < n && is_space(s[j])) ++j;
    std::string_view value;
    if (j < n && s[j] == '=') {
      i = j + 1;
      while (i < n && is_space(s[i])) ++i;
      if (i < n && (s[i] == '"' || s[i] == '\'')) {
        const void* quote = std::memchr(s + i + 1, s[i], n - i - 1);
        if (!quote) break;
        const size_t close = static_cast<size_t>(static_cast<const char*>(quote) - s);
        value = html_.substr(i + 1, close - i - 1);
        i = close + 1;
      } else {
        const size_t value_at = i;
        while (i < n && !is_space(s[i]) && s[i] != '>') ++i;
        value = html_.substr(value_at, i - value_at);
      }
    }
    add_attribute(token, name, value, seen);
  }
  at_ = n + 1;
}

void HtmlTokenizer::add_attribute(HtmlToken& token, std::string_view name, std::string_view value,
                                  uint32_t& seen) {
  if (token.kind == HtmlToken::Kind::kEnd) return;
  if (token.tag == Tag::html_ && name.substr(0, 5) == "xmlns") xhtml_ = true;
  const Attribute attribute = attribute_from_name(name);
  const uint32_t bit = 1u << static_cast<uint32_t>(attribute);
  if (attribute == Attribute::kNone || (seen & bit)) return;  // of duplicates the first counts
  seen |= bit;
  tree_.attributes_.push_back({attribute, decoded(value, true)});
  ++token.n_attributes;
}

std::string_view HtmlTokenizer::raw_text(Tag tag) {
  const size_t from = at_;
  size_t at = from;
  while (true) {
    const void* found = at < html_.size() ? std::memchr(html_.data() + at, '<', html_.size() - at) : nullptr;
    if (!found) break;
    at = static_cast<size_t>(static_cast<const char*>(found) - html_.data());
    if (at + 2 < html_.size() && html_[at + 1] == '/') {
      char buffer[16];
      size_t n = 0;
      while (at + 2 + n < html_.size() && is_letter(html_[at + 2 + n]) && n < sizeof buffer) {
        buffer[n] = lower(html_[at + 2 + n]);
        ++n;
      }
      if (n > 0 && kTagTable.find({buffer, n}) == tag) {
        at_ = at;
        return html_.substr(from, at - from);
      }
    }
    ++at;
  }
  at_ = html_.size();
  return html_.substr(from);
}

}  // namespace tumbler::text
