// Main-text extraction of arbitrary bytes: never crashes, and gives the same twice.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "text/extract.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tumbler;
  if (size == 0) return 0;
  text::ExtractOptions options;
  options.favour_precision = data[0] & 1;
  options.include_comments = data[0] & 2;
  options.include_tables = data[0] & 4;
  const std::string_view html(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Result<std::string> first = text::extract_main_text(html, options),
                            second = text::extract_main_text(html, options);
  if (first.ok() != second.ok() || (first.ok() && *first != *second)) std::abort();
  return 0;
}
