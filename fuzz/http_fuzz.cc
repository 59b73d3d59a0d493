// Any bytes as an HTTP response, and its body as HTML in whatever encoding its headers claim.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "crawl/warc.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t kMost = 1 << 20;
  const auto response =
      tumbler::crawl::parse_http_response({reinterpret_cast<const char*>(data), size}, kMost);
  if (!response) return 0;
  if (static_cast<int64_t>(response->body.size()) > kMost) __builtin_trap();
  static_cast<void>(tumbler::crawl::decode_html(response->body, response->header("content-type")));
  return 0;
}
