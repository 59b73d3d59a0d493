// Character encodings of web pages: WHATWG labels, the prescan for <meta charset>, conversion to UTF-8. For
// decode_html and its tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tumbler::crawl {

// The WHATWG name of the encoding that a label means ("latin1" → "windows-1252"); empty where no browser
// knows it.
std::string_view find_encoding(std::string_view label);

// The charset of a Content-Type value ("text/html; charset=utf-8" → "utf-8"), as written; empty where there
// is none.
std::string_view charset_parameter(std::string_view content_type);

// "Prescan a byte stream to determine its encoding" (HTML Standard, 13.2.3.2): the encoding's name, or empty.
// Looks at the first kPrescanBytes; the standard's 1024 are too few for pages that put scripts first. A
// UTF-16 label is read as UTF-8, as there.
constexpr size_t kPrescanBytes = 4096;
std::string_view prescan_meta(std::string_view bytes);

struct Decoded {
  std::string text;    // UTF-8, U+FFFD for what could not be decoded
  int64_t errors = 0;  // how many of these
};
// `encoding` is a name that find_encoding gives; nothing where it is not supported ("replacement",
// "x-user-defined").
std::optional<Decoded> convert_to_utf8(std::string_view bytes, std::string_view encoding);

// UTF-8 with each maximal ill-formed part replaced by U+FFFD (Unicode 15, 3.9, table 3-8; what browsers do).
struct Repaired {
  std::string text;
  int64_t errors = 0, multibyte = 0;  // ill-formed parts; well-formed sequences of two bytes and more
};
Repaired repair_utf8(std::string_view bytes);

}  // namespace tumbler::crawl
