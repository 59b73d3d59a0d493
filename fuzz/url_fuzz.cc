// Any bytes as a URL for the filter.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "crawl/url_filter.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const tumbler::crawl::UrlFilter filter({});
  static_cast<void>(filter.check({reinterpret_cast<const char*>(data), size}));
  return 0;
}
