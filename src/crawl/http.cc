// HTTP messages as crawlers stored them: RFC 9112, read with the tolerance that browsers have.
#include "crawl/http.h"

#include <algorithm>
#include <charconv>
#include <memory>

#include <libdeflate.h>

#include "base/check.h"
#include "crawl/ascii.h"
#include "crawl/warc.h"

namespace tumbler::crawl {
namespace {

constexpr size_t kMaxHeaderLines = 1000;
constexpr size_t kMaxHeaderBytes = size_t{1} << 20;
constexpr size_t kNpos = std::string_view::npos;

// Header fields up to the empty line, which is taken too; an obs-fold goes on with the value before it (RFC
// 9112, 5.2).
void parse_fields(std::string_view& rest, std::vector<std::pair<std::string, std::string>>& headers) {
  const char* const start = rest.data();
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    if (line.empty()) return;
    if ((line.front() == ' ' || line.front() == '\t') && !headers.empty()) {
      headers.back().second.append(" ").append(trim(line));
      continue;
    }
    const size_t colon = line.find(':');
    if (colon != kNpos && headers.size() < kMaxHeaderLines)
      headers.emplace_back(to_lower(trim(line.substr(0, colon))), std::string(trim(line.substr(colon + 1))));
    if (static_cast<size_t>(rest.data() - start) > kMaxHeaderBytes) return;
  }
}

// "1a3f;name=value" → its size; nothing where the line is no chunk header.
std::optional<size_t> parse_chunk_size(std::string_view line) {
  line = trim(line.substr(0, line.find(';')));
  size_t size = 0;
  if (line.empty() || line.size() > 15) return std::nullopt;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), size, 16);
  if (error != std::errc() || end != line.data() + line.size()) return std::nullopt;
  return size;
}

// The body without its chunk headers. Archives often store the body without them and keep the header line: a
// body that does not start with a chunk header, or whose first chunk does not end with a line end, is
// returned as it is. A later chunk that is cut off or broken ends the body with what there is of it.
std::string remove_chunks(std::string_view body) {
  std::string out;
  std::string_view rest = body;
  for (bool first = true;; first = false) {
    const size_t newline = rest.find('\n');
    const auto size = newline == kNpos ? std::nullopt : parse_chunk_size(rest.substr(0, newline));
    if (!size) return first ? std::string(body) : out.append(rest);
    rest.remove_prefix(newline + 1);
    if (*size == 0) return out;  // trailers are of no use to us
    if (*size >= rest.size()) return out.append(rest);
    const std::string_view chunk = rest.substr(0, *size);
    rest.remove_prefix(*size);
    if (first && rest.front() != '\r' && rest.front() != '\n') return std::string(body);
    out.append(chunk);
    if (rest.starts_with('\r')) rest.remove_prefix(1);
    if (rest.starts_with('\n')) rest.remove_prefix(1);
  }
}

struct LibdeflateFree {
  void operator()(libdeflate_decompressor* d) const { libdeflate_free_decompressor(d); }
};

enum class Wrapper { kGzip, kZlib, kRaw };

// Inflates with a buffer that grows up to `max_bytes`.
Result<std::string> inflate_body(std::string_view in, Wrapper wrapper, size_t max_bytes) {
  const std::unique_ptr<libdeflate_decompressor, LibdeflateFree> decompressor(
      libdeflate_alloc_decompressor());
  CHECK(decompressor != nullptr, "libdeflate has no memory");
  const auto decompress = wrapper == Wrapper::kGzip   ? libdeflate_gzip_decompress
                          : wrapper == Wrapper::kZlib ? libdeflate_zlib_decompress
                                                      : libdeflate_deflate_decompress;
  std::string out;
  for (size_t capacity = std::min(max_bytes, std::max<size_t>(in.size() * 6, 4096));;
       capacity = std::min(max_bytes, capacity * 4)) {
    out.resize(capacity);
    size_t produced = 0;
    const libdeflate_result code =
        decompress(decompressor.get(), in.data(), in.size(), out.data(), capacity, &produced);
    if (code == LIBDEFLATE_SUCCESS) {
      out.resize(produced);
      return out;
    }
    if (code != LIBDEFLATE_INSUFFICIENT_SPACE) return Reason{"bad_encoding", "the body does not inflate"};
    if (capacity == max_bytes)
      return Reason{"too_large", fmt::format("the body inflates to over {} bytes", max_bytes)};
  }
}

bool looks_like_markup(std::string_view body) {
  if (body.starts_with("\xef\xbb\xbf")) body.remove_prefix(3);
  const size_t at = body.find_first_not_of(" \t\r\n");
  return at != kNpos && body[at] == '<';
}

// One coding of Content-Encoding taken off. Archives often decode the body and keep the header line: a body
// without the coding's magic number, or plain markup, is passed through.
Result<std::string> remove_coding(std::string_view coding, std::string body, size_t max_bytes) {
  if (coding.empty() || coding == "identity" || coding == "none" || body.empty()) return body;
  if (coding == "gzip" || coding == "x-gzip") {
    if (!body.starts_with("\x1f\x8b")) return body;
    return inflate_body(body, Wrapper::kGzip, max_bytes);
  }
  if (looks_like_markup(body)) return body;
  if (coding == "deflate") {  // zlib by the standard, raw deflate by habit
    Result<std::string> zlib = inflate_body(body, Wrapper::kZlib, max_bytes);
    if (zlib.ok() || zlib.reason().code == "too_large") return zlib;
    return inflate_body(body, Wrapper::kRaw, max_bytes);
  }
  if (coding == "br" || coding == "zstd" || coding == "compress" || coding == "x-compress" ||
      coding == "dcb" || coding == "dcz")
    return Reason{"unsupported_encoding",
                  fmt::format("Content-Encoding {}, expected gzip or deflate", coding)};
  return body;  // "utf-8", "none" and other mistakes
}

Result<std::string> remove_codings(std::string_view list, std::string body, size_t max_bytes) {
  for (int i = 0; !list.empty() && i < 4; ++i) {  // the last coding was applied last
    const size_t comma = list.rfind(',');
    const std::string coding = to_lower(trim(comma == kNpos ? list : list.substr(comma + 1)));
    Result<std::string> out = remove_coding(coding, std::move(body), max_bytes);
    if (!out) return out;
    body = std::move(*out);
    list = comma == kNpos ? std::string_view() : list.substr(0, comma);
  }
  return body;
}

}  // namespace

std::optional<int> parse_status_line(std::string_view line) {
  if (!starts_with_ignore_case(line, "http/") && !starts_with_ignore_case(line, "icy ")) return std::nullopt;
  const size_t space = line.find_first_of(" \t");
  if (space == kNpos) return std::nullopt;
  const std::string_view code = trim(line.substr(space)).substr(0, 3);
  int status = 0;
  const auto [end, error] = std::from_chars(code.data(), code.data() + code.size(), status);
  if (error != std::errc() || end != code.data() + 3 || status < 100) return std::nullopt;
  return status;
}

bool sniff_html(std::string_view body) {
  if (body.starts_with("\xef\xbb\xbf")) body.remove_prefix(3);
  body.remove_prefix(std::min(body.size(), body.find_first_not_of(" \t\r\n\f")));
  constexpr std::string_view kTags[] = {
      "<!doctype html", "<html", "<head",  "<script", "<iframe", "<h1",   "<div", "<font",
      "<table",         "<a",    "<style", "<title",  "<b",      "<body", "<br",  "<p"};
  for (const std::string_view tag : kTags)
    if (starts_with_ignore_case(body, tag) && body.size() > tag.size() &&
        (is_space(body[tag.size()]) || body[tag.size()] == '>'))
      return true;
  if (body.starts_with("<!--")) return true;
  // XHTML: an XML declaration, then html.
  return body.starts_with("<?xml") && to_lower(body.substr(0, 1024)).find("<html") != kNpos;
}

std::string_view HttpResponse::header(std::string_view lower_name) const {
  for (const auto& [name, value] : headers)
    if (name == lower_name) return value;
  return {};
}

Result<HttpResponse> parse_http_response(std::string_view block, int64_t max_body_bytes) {
  HttpResponse response;
  std::string_view rest = block;
  const std::optional<int> status = parse_status_line(take_line(rest));
  if (!status)
    return Reason{"bad_http",
                  fmt::format("got \"{}\", expected a status line", printable(block.substr(0, 40)))};
  response.status = *status;
  parse_fields(rest, response.headers);
  const size_t max_bytes = static_cast<size_t>(std::max<int64_t>(max_body_bytes, 0));
  if (rest.size() > max_bytes)
    return Reason{"too_large", fmt::format("a body of {} bytes, the limit is {}", rest.size(), max_bytes)};
  const std::string_view transfer = response.header("transfer-encoding");
  const bool chunked = to_lower(transfer).find("chunked") != kNpos;
  std::string body = chunked ? remove_chunks(rest) : std::string(rest);
  Result<std::string> decoded =
      remove_codings(response.header("content-encoding"), std::move(body), max_bytes);
  if (!decoded) return decoded.reason();
  response.body = std::move(*decoded);
  return response;
}

}  // namespace tumbler::crawl
