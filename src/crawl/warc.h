// WARC 1.0/1.1 records (ISO 28500) from a file: gzip per record (Common Crawl, wget), gzip as a whole, zstd,
// or plain; WET too.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace tumbler::crawl {

struct WarcRecord {
  std::string type;                            // "response", "conversion", "warcinfo"…
  std::string id;                              // WARC-Record-ID with its angle brackets removed
  std::string target_uri, date, payload_type;  // payload_type: WARC-Identified-Payload-Type, may be empty
  std::string content_type;
  std::string_view block;  // valid until the next call of next()
  int64_t offset = 0;      // of the record (its gzip member) in the file
};

// Reads record after record in bounded memory. A damaged record is a Reason ("truncated_gzip", "bad_gzip",
// "bad_header", "bad_length", "too_large"…) and reading goes on at the next record that can be found; nullopt
// is the end of the file.
class WarcReader {
 public:
  explicit WarcReader(const std::filesystem::path& path);
  ~WarcReader();
  WarcReader(WarcReader&&) noexcept;
  std::optional<Result<WarcRecord>> next();
  // Bytes of the file consumed so far (for progress).
  int64_t position() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The HTTP message in a `response` block: status, headers (names in lower case), and the body after
// de-chunking and Content-Encoding (gzip, deflate, as far as it was not done by the crawler). A broken
// encoding is a Reason.
struct HttpResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string_view header(std::string_view lower_name) const;
};
Result<HttpResponse> parse_http_response(std::string_view block, int64_t max_body_bytes);

// Page bytes as UTF-8. Bytes that are valid UTF-8 (without NUL and ESC) are UTF-8, whatever any label says;
// all others go through byte-order mark, HTTP charset, <meta charset> and detection, in the order of the
// WHATWG encoding sniffing algorithm, and are repaired where they are UTF-8 but for a few bytes. Reason
// "undecodable" where nothing fits.
Result<std::string> decode_html(std::string_view bytes, std::string_view http_content_type);

}  // namespace tumbler::crawl
