// Main-text extraction: HTML in, the article's words out, without menus, footers, adverts and comments.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace tumbler::text {

struct ExtractOptions {
  bool favour_precision = true;  // as FineWeb; false keeps more
  bool include_comments = false;
  bool include_tables = true;
  int64_t max_nodes = 2'000'000;  // a page with more is dropped as "too_many_nodes"
};

// `html` is UTF-8. The text has one paragraph a line, lists as "- item", tables as rows of cells joined by "
// | ", code kept as it is. Deterministic: depends on this page alone. Reasons: "empty", "too_deep",
// "too_many_nodes", "not_html". Safe to call from many threads.
Result<std::string> extract_main_text(std::string_view html, const ExtractOptions& options);

}  // namespace tumbler::text
