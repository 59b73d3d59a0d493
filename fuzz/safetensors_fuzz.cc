// parse_safetensors on any bytes: no crash, and whatever it accepts lies within the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto header = tumbler::formats::parse_safetensors(file);
  if (!header) return 0;
  for (const auto& t : header->tensors) {
    if (t.offset < 8 || t.size_bytes < 0 || t.size_bytes > static_cast<int64_t>(size) - t.offset)
      std::abort();
    int64_t count = 1;
    for (const int64_t n : t.shape) count *= n;
    if (count != t.count()) std::abort();
  }
  return 0;
}
