#include <algorithm>
#include <cstring>
#include <memory>

#include <simdjson.h>
#include <uchardet/uchardet.h>

#include "crawl/ascii.h"
#include "crawl/encoding.h"
#include "crawl/warc.h"

namespace tumbler::crawl {
namespace {

constexpr size_t kDetectBytes = size_t{256}
                                << 10;  // uchardet reads some 30 MB/s; it is sure of itself long before this

struct DetectorFree {
  void operator()(uchardet* d) const { uchardet_delete(d); }
};

// Up to 1 in 100 of the characters beyond ASCII may be broken: pages quote other encodings, and crawlers cut
// pages off.
bool is_clean(const Decoded& decoded) {
  if (decoded.errors == 0) return true;
  const auto beyond =
      std::count_if(decoded.text.begin(), decoded.text.end(), [](char c) { return (c & 0xc0) == 0xc0; });
  return decoded.errors <= 1 + beyond / 100;
}

// Bytes that no text has in any encoding that is a superset of ASCII: images and archives that were served as
// HTML.
bool is_binary(std::string_view bytes) {
  const auto control = std::count_if(bytes.begin(), bytes.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u < 0x20 && !is_space(c) && u != 0x1b;
  });
  return control > 4 && static_cast<size_t>(control) > bytes.size() / 100;
}

// UTF-16 without a byte-order mark: every other byte of ASCII markup is 0.
std::string_view guess_utf16(std::string_view bytes) {
  const std::string_view head = bytes.substr(0, 512);
  size_t zeros[2] = {0, 0};
  for (size_t i = 0; i < head.size(); ++i) zeros[i % 2] += head[i] == '\0';
  if (zeros[1] * 4 > head.size() && zeros[0] * 16 < head.size()) return "UTF-16LE";
  if (zeros[0] * 4 > head.size() && zeros[1] * 16 < head.size()) return "UTF-16BE";
  return {};
}

std::string_view detect(std::string_view bytes) {
  const std::unique_ptr<uchardet, DetectorFree> detector(uchardet_new());
  // Markup up to the first byte beyond ASCII tells the detector nothing.
  const auto first = std::find_if(bytes.begin(), bytes.end(), [](char c) { return (c & 0x80) != 0; });
  const size_t from = static_cast<size_t>(first - bytes.begin());
  const std::string_view part = bytes.substr(from - std::min<size_t>(from, 64), kDetectBytes);
  if (uchardet_handle_data(detector.get(), part.data(), part.size()) != 0) return {};
  uchardet_data_end(detector.get());
  return find_encoding(uchardet_get_charset(detector.get()));
}

// NUL is no character of HTML, and C parsers stop at it.
std::string without_nul(std::string text) {
  std::erase(text, '\0');
  return text;
}

std::optional<std::string> decode_bom(std::string_view bytes) {
  if (bytes.starts_with("\xef\xbb\xbf")) return repair_utf8(bytes.substr(3)).text;
  std::optional<Decoded> decoded;
  if (bytes.starts_with("\xff\xfe"))
    decoded = convert_to_utf8(bytes.substr(2), "UTF-16LE");
  else if (bytes.starts_with("\xfe\xff"))
    decoded = convert_to_utf8(bytes.substr(2), "UTF-16BE");
  if (!decoded || !is_clean(*decoded)) return std::nullopt;
  return std::move(decoded->text);
}

}  // namespace

// The standard's order with one exception, which costs nothing and rescues wrong labels: bytes that are valid
// UTF-8 with characters beyond ASCII are UTF-8 whatever the label says (by chance, a legacy text of n such
// characters is valid with a probability below 2^-n). ISO-2022-JP and UTF-16 look like ASCII with ESC and
// NUL, so these two bytes switch the short cut off.
Result<std::string> decode_html(std::string_view bytes, std::string_view http_content_type) {
  const bool valid = simdjson::validate_utf8(bytes.data(), bytes.size());
  const bool has_nul = std::memchr(bytes.data(), '\0', bytes.size()) != nullptr;
  const bool has_esc = std::memchr(bytes.data(), '\x1b', bytes.size()) != nullptr;
  if (valid && !has_nul && !has_esc)
    return std::string(bytes.starts_with("\xef\xbb\xbf") ? bytes.substr(3) : bytes);
  if (std::optional<std::string> text = decode_bom(bytes)) return without_nul(std::move(*text));

  const std::string_view utf16 = has_nul ? guess_utf16(bytes) : std::string_view();
  if (utf16.empty() && is_binary(bytes)) return Reason{"undecodable", "more control bytes than text has"};
  std::string_view labels[] = {find_encoding(charset_parameter(http_content_type)), prescan_meta(bytes),
                               utf16};
  for (const std::string_view label : labels) {
    if (label.empty() || label == "UTF-8" || (valid && !has_nul && label != "ISO-2022-JP")) continue;
    if (label.starts_with("UTF-16") && label != utf16) continue;
    std::optional<Decoded> decoded = convert_to_utf8(bytes, label);
    if (decoded && is_clean(*decoded)) return without_nul(std::move(decoded->text));
  }
  if (valid) return without_nul(std::string(bytes));
  // One byte of another encoding, or the end cut off, in what is UTF-8 otherwise.
  if (Repaired repaired = repair_utf8(bytes); repaired.multibyte >= 10 * repaired.errors)
    return without_nul(std::move(repaired.text));
  for (const std::string_view guess : {detect(bytes), std::string_view("windows-1252")}) {
    if (guess.empty() || guess == "UTF-8" || guess.starts_with("UTF-16")) continue;
    std::optional<Decoded> decoded = convert_to_utf8(bytes, guess);
    if (decoded && is_clean(*decoded)) return without_nul(std::move(decoded->text));
  }
  return Reason{"undecodable", "no encoding fits"};
}

}  // namespace tumbler::crawl
