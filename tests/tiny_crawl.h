// A crawl for tests: pages of generated English that pass the filters, among them a duplicate, a stub, a
// German page and a broken record.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tumbler::tests {

// An uncompressed WARC with `pages` good pages. The same arguments give the same bytes.
std::string tiny_crawl(int pages, unsigned seed);

// Its parts. Paragraphs of English, 3 to 6 sentences each, with `before` in front of the article; and the
// WARC record of a page, with `length` instead of its true Content-Length where that is not negative.
std::string page(uint64_t seed, int paragraphs, std::string_view before = "");
std::string record(std::string_view url, std::string_view html,
                   std::string_view content_type = "text/html; charset=utf-8", int64_t length = -1);

}  // namespace tumbler::tests
