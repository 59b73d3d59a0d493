// Pages: what the text stage takes in, from whatever file it came (WARC, WET, HTML, JSONL).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"

namespace tumbler::crawl {

struct Page {
  std::string id, url, date, file_path;
  int64_t position = 0;  // ordinal of the page in its file
  std::string content;   // UTF-8: HTML, or plain text where is_text
  bool is_text = false;  // WET, JSONL with a "text" field
};

// Pages of one file, told apart by its name and first bytes: .warc[.gz|.zst], .wet[.gz], .html,
// .jsonl[.gz|.zst]. Records that are no pages (requests, warcinfo, images) are passed over and counted in
// skipped(); a bad record is a Reason.
class PageReader {
 public:
  virtual ~PageReader() = default;
  virtual std::optional<Result<Page>> next() = 0;
  virtual int64_t position() const = 0;  // bytes of the file consumed
  virtual int64_t skipped() const = 0;
};
std::unique_ptr<PageReader> open_pages(const std::filesystem::path& path);

constexpr int64_t kMaxPageBytes = int64_t{32} << 20;  // larger pages are dropped as "too_large"

}  // namespace tumbler::crawl
