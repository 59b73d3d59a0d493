#include <algorithm>

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>

#include "base/error.h"
#include "tokens/model.h"
#include "tokens/unicode_tables.h"

namespace tumbler::tokens {

std::string normalize_nfc(std::string_view text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; }))
    return std::string(text);
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  if (U_FAILURE(status))
    throw Error("tokenizer", "ICU has no NFC data: got {}; install libicu", u_errorName(status));
  std::string out;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin, length = 0;
    while (end < text.size()) {
      const CodePoint c = decode_utf8(text.data(), text.size(), end);
      if (c.value == CodePoint::kInvalid) {
        length = 1;
        break;
      }
      end += c.length;
    }
    std::string part;
    icu::StringByteSink<std::string> sink(&part);
    const std::string_view valid = text.substr(begin, end - begin);
    nfc->normalizeUTF8(0, {valid.data(), static_cast<int32_t>(valid.size())}, sink, nullptr, status);
    if (U_FAILURE(status))
      throw Error("tokenizer", "NFC of {} bytes: got {}; use shorter texts", valid.size(),
                  u_errorName(status));
    out += part;
    out.append(text, end, length);
    begin = end + length;
  }
  return out;
}

}  // namespace tumbler::tokens
