// A crawl for tests: pages of generated English that pass the filters, among them a duplicate, a stub, a
// German page and a broken record.
#pragma once

#include <string>

namespace tumbler::tests {

// An uncompressed WARC with `pages` good pages. The same arguments give the same bytes.
std::string tiny_crawl(int pages, unsigned seed);

}  // namespace tumbler::tests
