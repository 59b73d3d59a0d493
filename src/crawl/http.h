// Looks at an HTTP message without decoding it (parse_http_response is in warc.h).
#pragma once

#include <optional>
#include <string_view>

namespace tumbler::crawl {

// The status of "HTTP/1.1 200 OK", "HTTP/1.1 200" and "ICY 200 OK"; nothing for other lines.
std::optional<int> parse_status_line(std::string_view line);

// Whether the bytes are HTML by their beginning (MIME Sniffing Standard, 7.1: the tags that HTML pages start
// with, after blanks).
bool sniff_html(std::string_view body);

}  // namespace tumbler::crawl
