#include "crawl/encoding.h"

#include <algorithm>
#include <array>
#include <memory>

#include <unicode/ucnv.h>
#include <unicode/ucnv_err.h>
#include <unicode/ustring.h>

#include "crawl/ascii.h"

namespace tumbler::crawl {
namespace {

constexpr size_t kNpos = std::string_view::npos;

struct Encoding {
  std::string_view name;    // WHATWG
  const char* icu;          // ICU's converter, nullptr: not decoded
  std::string_view labels;  // Encoding Standard, 4.2, in lower case, between spaces
};

// The order is by how often the web has them, as the search is linear.
constexpr Encoding kEncodings[] = {
    {"UTF-8", "UTF-8", " utf-8 utf8 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8 "},
    {"windows-1252", "windows-1252",
     " windows-1252 iso-8859-1 latin1 ascii us-ascii cp1252 x-cp1252 iso8859-1 iso88591 iso_8859-1 "
     "iso_8859-1:1987 iso-ir-100 l1 cp819 "
     "ibm819 ansi_x3.4-1968 csisolatin1 "},
    {"windows-1251", "windows-1251", " windows-1251 cp1251 x-cp1251 "},
    {"Shift_JIS", "windows-31j", " shift_jis shift-jis sjis x-sjis windows-31j ms_kanji ms932 csshiftjis "},
    {"GBK", "GB18030", " gbk gb2312 x-gbk gb_2312 gb_2312-80 chinese csgb2312 csiso58gb231280 iso-ir-58 "},
    {"gb18030", "GB18030", " gb18030 "},
    {"EUC-JP", "EUC-JP", " euc-jp x-euc-jp cseucpkdfmtjapanese "},
    {"EUC-KR", "windows-949",
     " euc-kr ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 korean windows-949 cseuckr csksc56011987 "
     "iso-ir-149 "},
    {"ISO-8859-2", "ISO-8859-2",
     " iso-8859-2 latin2 l2 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 iso-ir-101 csisolatin2 "},
    {"windows-1250", "windows-1250", " windows-1250 cp1250 x-cp1250 "},
    {"ISO-8859-15", "ISO-8859-15", " iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9 csisolatin9 "},
    {"windows-1254", "windows-1254",
     " windows-1254 iso-8859-9 latin5 l5 cp1254 x-cp1254 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 "
     "iso-ir-148 csisolatin5 "},
    {"windows-1256", "windows-1256", " windows-1256 cp1256 x-cp1256 "},
    {"Big5", "Big5-HKSCS", " big5 big5-hkscs cn-big5 x-x-big5 csbig5 "},
    {"windows-874", "windows-874", " windows-874 tis-620 iso-8859-11 dos-874 iso8859-11 iso885911 "},
    {"KOI8-R", "KOI8-R", " koi8-r koi8 koi koi8_r cskoi8r "},
    {"KOI8-U", "KOI8-U", " koi8-u koi8-ru "},
    {"windows-1253", "windows-1253", " windows-1253 cp1253 x-cp1253 "},
    {"windows-1255", "windows-1255", " windows-1255 cp1255 x-cp1255 "},
    {"windows-1257", "windows-1257", " windows-1257 cp1257 x-cp1257 "},
    {"windows-1258", "windows-1258", " windows-1258 cp1258 x-cp1258 "},
    {"ISO-8859-7", "ISO-8859-7",
     " iso-8859-7 greek greek8 ecma-118 elot_928 iso8859-7 iso88597 iso_8859-7 iso_8859-7:1987 iso-ir-126 "
     "sun_eu_greek csisolatingreek "},
    {"ISO-8859-5", "ISO-8859-5",
     " iso-8859-5 cyrillic iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988 iso-ir-144 csisolatincyrillic "},
    {"ISO-8859-8", "ISO-8859-8",
     " iso-8859-8 hebrew visual iso8859-8 iso88598 iso_8859-8 iso_8859-8:1988 iso-8859-8-e iso-ir-138 "
     "csiso88598e csisolatinhebrew "},
    {"ISO-8859-8-I", "ISO-8859-8", " iso-8859-8-i logical csiso88598i "},
    {"ISO-8859-6", "ISO-8859-6",
     " iso-8859-6 arabic ecma-114 asmo-708 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987 iso-8859-6-e "
     "iso-8859-6-i iso-ir-127 csiso88596e "
     "csiso88596i csisolatinarabic "},
    {"ISO-8859-3", "ISO-8859-3",
     " iso-8859-3 latin3 l3 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 iso-ir-109 csisolatin3 "},
    {"ISO-8859-4", "ISO-8859-4",
     " iso-8859-4 latin4 l4 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 iso-ir-110 csisolatin4 "},
    {"ISO-8859-10", "iso-8859_10-1998",
     " iso-8859-10 latin6 l6 iso8859-10 iso885910 iso-ir-157 csisolatin6 "},
    {"ISO-8859-13", "ISO-8859-13", " iso-8859-13 iso8859-13 iso885913 "},
    {"ISO-8859-14", "iso-8859_14-1998", " iso-8859-14 iso8859-14 iso885914 "},
    {"ISO-2022-JP", "ISO-2022-JP", " iso-2022-jp csiso2022jp "},
    {"IBM866", "IBM866", " ibm866 866 cp866 csibm866 "},
    {"macintosh", "macintosh", " macintosh mac x-mac-roman csmacintosh "},
    {"x-mac-cyrillic", "x-mac-cyrillic", " x-mac-cyrillic x-mac-ukrainian "},
    {"UTF-16LE", "UTF-16LE", " utf-16le utf-16 unicode ucs-2 iso-10646-ucs-2 csunicode unicodefeff "},
    {"UTF-16BE", "UTF-16BE", " utf-16be unicodefffe "},
    {"replacement", nullptr, " replacement iso-2022-kr csiso2022kr hz-gb-2312 iso-2022-cn iso-2022-cn-ext "},
    {"x-user-defined", nullptr, " x-user-defined "},
};

struct ConverterClose {
  void operator()(UConverter* c) const { ucnv_close(c); }
};

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

// "Algorithm for extracting a character encoding from a meta element" (HTML Standard, 2.6.5).
std::string_view charset_in(std::string_view text) {
  const std::string lower = to_lower(text);
  for (size_t at = lower.find("charset"); at != kNpos; at = lower.find("charset", at)) {
    at += 7;
    size_t i = at;
    while (i < text.size() && is_blank(text[i])) ++i;
    if (i == text.size() || text[i] != '=') continue;
    ++i;
    while (i < text.size() && is_blank(text[i])) ++i;
    if (i == text.size()) return {};
    if (text[i] == '"' || text[i] == '\'') {
      const size_t end = text.find(text[i], i + 1);
      return end == kNpos ? std::string_view() : text.substr(i + 1, end - i - 1);
    }
    size_t end = i;
    while (end < text.size() && !is_blank(text[end]) && text[end] != ';') ++end;
    return text.substr(i, end - i);
  }
  return {};
}

// The prescan, step by step as the standard has it.
class Prescan {
 public:
  explicit Prescan(std::string_view bytes) : text_(bytes.substr(0, kPrescanBytes)) {}

  std::string_view run() {
    if (const std::string_view xml = xml_declaration(); !xml.empty()) return xml;
    while (at_ < text_.size()) {
      const std::string_view rest = text_.substr(at_);
      if (rest.starts_with("<!--")) {
        // "-->" may begin with the two dashes of "<!--".
        const size_t end = text_.find("-->", at_ + 2);
        if (end == kNpos) return {};
        at_ = end + 3;
      } else if (starts_with_ignore_case(rest, "<meta") && rest.size() > 5 &&
                 (is_blank(rest[5]) || rest[5] == '/')) {
        at_ += 6;
        const std::string_view found = meta();
        if (!found.empty()) return found;
      } else if (rest.size() > 1 && rest[0] == '<' &&
                 is_letter(rest[rest[1] == '/' ? std::min<size_t>(2, rest.size() - 1) : 1])) {
        while (at_ < text_.size() && !is_blank(text_[at_]) && text_[at_] != '>') ++at_;
        while (next_attribute()) {
        }
      } else if (rest.size() > 1 && rest[0] == '<' && (rest[1] == '!' || rest[1] == '/' || rest[1] == '?')) {
        const size_t end = text_.find('>', at_);
        if (end == kNpos) return {};
        at_ = end + 1;
      } else {
        const size_t next = text_.find('<', at_ + 1);
        if (next == kNpos) return {};
        at_ = next;
      }
    }
    return {};
  }

 private:
  static bool is_letter(char c) { return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z'; }

  // <?xml version="1.0" encoding="…"?> of XHTML.
  std::string_view xml_declaration() {
    if (!text_.starts_with("<?xml")) return {};
    const std::string_view declaration = text_.substr(0, text_.find('>'));
    size_t i = declaration.find("encoding");
    if (i == kNpos) return {};
    i += 8;
    while (i < declaration.size() && (is_blank(declaration[i]) || declaration[i] == '=')) ++i;
    if (i == declaration.size() || (declaration[i] != '"' && declaration[i] != '\'')) return {};
    const size_t end = declaration.find(declaration[i], i + 1);
    if (end == kNpos) return {};
    return usable(find_encoding(declaration.substr(i + 1, end - i - 1)));
  }

  static std::string_view usable(std::string_view encoding) {
    if (encoding.starts_with("UTF-16")) return "UTF-8";  // ASCII bytes were just read: it can't be UTF-16
    if (encoding == "x-user-defined") return "windows-1252";
    return encoding;
  }

  std::string_view meta() {
    bool got_pragma = false, seen_equiv = false, seen_content = false, seen_charset = false;
    std::optional<bool> need_pragma;
    std::string_view charset;
    while (next_attribute()) {
      const std::string name = to_lower(name_);
      if (name == "http-equiv" && !seen_equiv) {
        seen_equiv = true;
        got_pragma = equals_ignore_case(value_, "content-type");
      } else if (name == "content" && !seen_content) {
        seen_content = true;
        const std::string_view found = find_encoding(charset_in(value_));
        if (!found.empty() && !need_pragma) {
          charset = found;
          need_pragma = true;
        }
      } else if (name == "charset" && !seen_charset) {
        seen_charset = true;
        charset = find_encoding(value_);
        need_pragma = false;
      }
    }
    if (!need_pragma || (*need_pragma && !got_pragma)) return {};
    return usable(charset);
  }

  // "Get an attribute": false at the end of the tag.
  bool next_attribute() {
    while (at_ < text_.size() && (is_blank(text_[at_]) || text_[at_] == '/')) ++at_;
    if (at_ >= text_.size()) return false;
    if (text_[at_] == '>') {
      ++at_;
      return false;
    }
    const size_t name_start = at_;
    while (at_ < text_.size() && !is_blank(text_[at_]) && text_[at_] != '/' && text_[at_] != '>' &&
           (text_[at_] != '=' || at_ == name_start))
      ++at_;
    name_ = text_.substr(name_start, at_ - name_start);
    value_ = {};
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
    if (at_ >= text_.size()) return false;
    if (text_[at_] != '=') return true;
    ++at_;
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
    return at_ < text_.size() && read_value();
  }

  bool read_value() {
    const char quote = text_[at_];
    if (quote == '"' || quote == '\'') {
      const size_t end = text_.find(quote, at_ + 1);
      if (end == kNpos) {
        at_ = text_.size();
        return false;
      }
      value_ = text_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
      return true;
    }
    const size_t start = at_;
    while (at_ < text_.size() && !is_blank(text_[at_]) && text_[at_] != '>') ++at_;
    value_ = text_.substr(start, at_ - start);
    return true;
  }

  std::string_view text_, name_, value_;
  size_t at_ = 0;
};

// Length of the well-formed sequence at the front, or minus the length of the ill-formed maximal part.
int utf8_step(const unsigned char* p, size_t left) {
  const unsigned char c = p[0];
  int length = 0;
  unsigned char low = 0x80, high = 0xbf;
  if (c >= 0xc2 && c <= 0xdf)
    length = 2;
  else if (c >= 0xe0 && c <= 0xef)
    length = 3;
  else if (c >= 0xf0 && c <= 0xf4)
    length = 4;
  else
    return -1;
  if (c == 0xe0) low = 0xa0;
  if (c == 0xed) high = 0x9f;
  if (c == 0xf0) low = 0x90;
  if (c == 0xf4) high = 0x8f;
  for (int i = 1; i < length; ++i) {
    if (static_cast<size_t>(i) >= left || p[i] < low || p[i] > high) return -i;
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

}  // namespace

std::string_view find_encoding(std::string_view label) {
  label = trim(label);
  if (label.empty() || label.size() > 40 || label.find(' ') != kNpos) return {};
  const std::string key = " " + to_lower(label) + " ";
  for (const Encoding& encoding : kEncodings)
    if (encoding.labels.find(key) != kNpos) return encoding.name;
  return {};
}

std::string_view charset_parameter(std::string_view content_type) {
  return charset_in(content_type);
}

std::string_view prescan_meta(std::string_view bytes) {
  return Prescan(bytes).run();
}

std::optional<Decoded> convert_to_utf8(std::string_view bytes, std::string_view encoding) {
  const Encoding* found = std::find_if(std::begin(kEncodings), std::end(kEncodings),
                                       [&](const Encoding& e) { return e.name == encoding; });
  if (found == std::end(kEncodings) || found->icu == nullptr) return std::nullopt;
  UErrorCode error = U_ZERO_ERROR;
  const std::unique_ptr<UConverter, ConverterClose> converter(ucnv_open(found->icu, &error));
  if (U_FAILURE(error)) return std::nullopt;
  Decoded out;
  out.text.reserve(bytes.size() + bytes.size() / 2);
  std::array<UChar, 16384> wide;
  std::array<char, wide.size() * 3> narrow;  // a UTF-16 unit is at most three bytes
  const char* source = bytes.data();
  const char* const source_end = source + bytes.size();
  size_t held = 0;  // a high surrogate whose other half comes with the next piece
  for (bool more = true; more;) {
    UChar* target = wide.data() + held;
    error = U_ZERO_ERROR;
    ucnv_toUnicode(converter.get(), &target, wide.data() + wide.size(), &source, source_end, nullptr, true,
                   &error);
    if (U_FAILURE(error) && error != U_BUFFER_OVERFLOW_ERROR) return std::nullopt;
    more = error == U_BUFFER_OVERFLOW_ERROR;
    size_t size = static_cast<size_t>(target - wide.data());
    held = more && size > 1 && U16_IS_LEAD(wide[size - 1]) ? 1 : 0;
    size -= held;
    out.errors += std::count(wide.begin(), wide.begin() + static_cast<std::ptrdiff_t>(size), UChar{0xfffd});
    int32_t written = 0;
    error = U_ZERO_ERROR;
    u_strToUTF8WithSub(narrow.data(), static_cast<int32_t>(narrow.size()), &written, wide.data(),
                       static_cast<int32_t>(size), 0xfffd, nullptr, &error);
    if (U_FAILURE(error)) return std::nullopt;
    out.text.append(narrow.data(), static_cast<size_t>(written));
    if (held > 0) wide[0] = wide[size];
  }
  return out;
}

Repaired repair_utf8(std::string_view bytes) {
  Repaired out;
  out.text.reserve(bytes.size() + 16);
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t done = 0;
  for (size_t i = 0; i < bytes.size();) {
    if (p[i] < 0x80) {
      ++i;
      continue;
    }
    const int step = utf8_step(p + i, bytes.size() - i);
    if (step > 0) {
      ++out.multibyte;
      i += static_cast<size_t>(step);
      continue;
    }
    out.text.append(bytes.substr(done, i - done)).append("\xef\xbf\xbd");
    ++out.errors;
    i += static_cast<size_t>(-step);
    done = i;
  }
  out.text.append(bytes.substr(done));
  return out;
}

}  // namespace tumbler::crawl
