// Any bytes as a page: what comes out is UTF-8 or a reason.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <simdjson.h>

#include "crawl/warc.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static constexpr const char* kTypes[] = {"text/html", "text/html; charset=shift_jis",
                                           "text/html; charset=utf-16", "text/html; charset=x"};
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto page = tumbler::crawl::decode_html(bytes, kTypes[data[0] % 4]);
  if (page && !simdjson::validate_utf8(page->data(), page->size())) __builtin_trap();
  return 0;
}
