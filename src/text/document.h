// Document: a kept page's text with FineWeb's field names, one JSON line each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tumbler::text {

struct Document {
  std::string text, id, dump, url, date, file_path, language;
  double language_score = 0;
  int64_t token_count = 0;  // 0 until tokens are counted
};

std::string to_json_line(const Document& document);
Result<Document> from_json_line(std::string_view line);

}  // namespace tumbler::text
