#include <algorithm>

#include <simdjson.h>

#include "base/error.h"
#include "crawl/ascii.h"
#include "crawl/byte_stream.h"
#include "crawl/doc_server.h"
#include "crawl/http.h"
#include "crawl/page.h"
#include "crawl/warc.h"
#include "io/lines.h"

namespace fs = std::filesystem;

namespace tumbler::crawl {
namespace {

bool is_html_type(std::string_view type) {
  type = trim(type.substr(0, type.find(';')));
  return equals_ignore_case(type, "text/html") || equals_ignore_case(type, "application/xhtml+xml");
}

class WarcPages final : public PageReader {
 public:
  explicit WarcPages(const fs::path& path) : reader_(path), path_(path.string()) {}

  std::optional<Result<Page>> next() override {
    while (std::optional<Result<WarcRecord>> record = reader_.next()) {
      if (!*record) return Result<Page>(record->reason());
      std::optional<Result<Page>> page = read_page(**record);
      if (page) return page;
      ++skipped_;
    }
    return std::nullopt;
  }
  int64_t position() const override { return reader_.position(); }
  int64_t skipped() const override { return skipped_; }

 private:
  // Nothing where the record is no page.
  std::optional<Result<Page>> read_page(const WarcRecord& record) {
    if (record.type == "response") return read_response(record);
    if (record.type == "conversion") {
      const std::string_view type = record.content_type;
      if (!type.empty() && !starts_with_ignore_case(type, "text/plain"))
        return std::nullopt;  // WAT is application/json
      return make_page(record, decode_html(record.block, "text/plain; charset=utf-8"), true);
    }
    if (record.type == "resource" &&
        is_html_type(record.payload_type.empty() ? record.content_type : record.payload_type))
      return make_page(record, decode_html(record.block, record.content_type), false);
    return std::nullopt;
  }

  std::optional<Result<Page>> read_response(const WarcRecord& record) {
    if (!record.payload_type.empty() && !is_html_type(record.payload_type)) return std::nullopt;
    if (!starts_with_ignore_case(record.content_type, "application/http") &&
        !record.block.starts_with("HTTP/"))
      return std::nullopt;
    std::string_view rest = record.block;
    const std::optional<int> status = parse_status_line(take_line(rest));
    if (status && *status != 200) return std::nullopt;
    Result<HttpResponse> response = parse_http_response(record.block, kMaxPageBytes);
    if (!response) return Result<Page>(response.reason());
    const std::string_view type = response->header("content-type");
    if (record.payload_type.empty() && !(type.empty() ? sniff_html(response->body) : is_html_type(type)))
      return std::nullopt;
    if (response->body.empty() || !response->header(kSeedHeader).empty()) return std::nullopt;
    return make_page(record, decode_html(response->body, type), false);
  }

  Result<Page> make_page(const WarcRecord& record, Result<std::string> content, bool is_text) {
    if (!content) return content.reason();
    Page page;
    page.id = record.id;
    page.url = record.target_uri;
    page.date = record.date;
    page.file_path = path_;
    page.position = pages_++;
    page.content = std::move(*content);
    page.is_text = is_text;
    return page;
  }

  WarcReader reader_;
  std::string path_;
  int64_t pages_ = 0, skipped_ = 0;
};

// One file that is one page, compressed or not.
class HtmlPages final : public PageReader {
 public:
  explicit HtmlPages(fs::path path) : path_(std::move(path)), stream_(path_) {}

  std::optional<Result<Page>> next() override {
    if (done_) return std::nullopt;
    done_ = true;
    std::string bytes;
    for (;;) {
      bytes.append(stream_.window());
      stream_.consume(stream_.window().size());
      if (bytes.size() > static_cast<size_t>(kMaxPageBytes))
        return Result<Page>(
            Reason{"too_large", fmt::format("{}: over {} bytes", path_.string(), kMaxPageBytes)});
      const ByteStream::Fill fill = stream_.fill();
      if (fill == ByteStream::Fill::kDamaged) return Result<Page>(stream_.damage());
      if (fill == ByteStream::Fill::kEnd) break;
    }
    Result<std::string> content = decode_html(bytes, "");
    if (!content) return Result<Page>(content.reason());
    Page page;
    page.file_path = path_.string();
    page.id = page.file_path;
    page.url = "file://" + fs::absolute(path_).lexically_normal().string();
    page.content = std::move(*content);
    return Result<Page>(std::move(page));
  }
  int64_t position() const override { return stream_.position(); }
  int64_t skipped() const override { return 0; }

 private:
  fs::path path_;
  ByteStream stream_;
  bool done_ = false;
};

// JSON lines with `text` (or `html`) and, where they are there, `url`, `id`, `date`; `metadata` may hold the
// last three.
class JsonlPages final : public PageReader {
 public:
  explicit JsonlPages(const fs::path& path) : path_(path.string()), lines_(path) {}

  std::optional<Result<Page>> next() override {
    if (done_) return std::nullopt;
    try {
      for (;;) {
        const std::optional<std::string_view> line = lines_.next();
        if (!line) break;
        ++line_;
        bytes_ += static_cast<int64_t>(line->size()) + 1;
        if (!trim(*line).empty()) return parse(*line);
      }
    } catch (const Error& error) {  // the rest of this file can't be had; the run goes on with the next
      done_ = true;
      return Result<Page>(Reason{"damaged_file", error.what()});
    }
    done_ = true;
    return std::nullopt;
  }
  int64_t position() const override { return bytes_; }
  int64_t skipped() const override { return 0; }

 private:
  static std::string text_field(const simdjson::dom::element& object, std::string_view key) {
    std::string_view value;
    if (object[key].get(value) == simdjson::SUCCESS) return std::string(value);
    if (object["metadata"][key].get(value) == simdjson::SUCCESS) return std::string(value);
    return {};
  }

  Result<Page> parse(std::string_view line) {
    if (line.size() > 6 * static_cast<size_t>(kMaxPageBytes))
      return Reason{"too_large", fmt::format("{}:{}: a line of {} bytes", path_, line_, line.size())};
    simdjson::dom::element object;
    if (const auto error = parser_.parse(line.data(), line.size()).get(object); error != simdjson::SUCCESS)
      return Reason{"bad_json", fmt::format("{}:{}: {}", path_, line_, simdjson::error_message(error))};
    Page page;
    std::string_view content;
    if (object["text"].get(content) == simdjson::SUCCESS)
      page.is_text = true;
    else if (object["html"].get(content) != simdjson::SUCCESS)
      return Reason{"bad_json",
                    fmt::format("{}:{}: no \"text\" and no \"html\" that is a string", path_, line_)};
    if (content.size() > static_cast<size_t>(kMaxPageBytes))
      return Reason{"too_large", fmt::format("{}:{}: a text of {} bytes", path_, line_, content.size())};
    page.content = content;
    page.url = text_field(object, "url");
    page.id = text_field(object, "id");
    page.date = text_field(object, "date");
    if (page.id.empty()) page.id = fmt::format("{}/{}", path_, line_ - 1);
    page.file_path = path_;
    page.position = pages_++;
    return page;
  }

  std::string path_;
  io::LineReader lines_;
  simdjson::dom::parser parser_;
  int64_t pages_ = 0, line_ = 0, bytes_ = 0;
  bool done_ = false;
};

enum class Format { kWarc, kHtml, kJsonl };

std::optional<Format> format_of_name(const fs::path& path) {
  std::string name = to_lower(path.filename().string());
  for (const std::string_view suffix : {".gz", ".zst"})
    if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  for (const std::string_view suffix : {".warc", ".wet", ".wat", ".arc"})
    if (name.ends_with(suffix)) return Format::kWarc;
  for (const std::string_view suffix : {".html", ".htm", ".xhtml"})
    if (name.ends_with(suffix)) return Format::kHtml;
  for (const std::string_view suffix : {".jsonl", ".ndjson"})
    if (name.ends_with(suffix)) return Format::kJsonl;
  return std::nullopt;
}

Format format_of_bytes(const fs::path& path) {
  ByteStream stream(path);
  if (stream.window().empty()) stream.fill();
  const std::string_view head = trim(stream.window().substr(0, 1024));
  if (starts_with_ignore_case(head, "warc/") || head.starts_with("filedesc:")) return Format::kWarc;
  if (head.starts_with('{')) return Format::kJsonl;
  if (sniff_html(head)) return Format::kHtml;
  throw Error("crawl.pages",
              "{}: got a file that starts with \"{}\", expected WARC, WET, HTML or JSON lines; name it "
              ".warc.gz, .html or .jsonl",
              path.string(), printable(head.substr(0, 16)));
}

std::unique_ptr<PageReader> open_file(const fs::path& path) {
  const std::optional<Format> named = format_of_name(path);
  switch (named ? *named : format_of_bytes(path)) {
    case Format::kWarc:
      return std::make_unique<WarcPages>(path);
    case Format::kHtml:
      return std::make_unique<HtmlPages>(path);
    case Format::kJsonl:
      return std::make_unique<JsonlPages>(path);
  }
  return nullptr;
}

// All pages of the files below a directory whose names say what they are, in the order of the names.
class DirectoryPages final : public PageReader {
 public:
  explicit DirectoryPages(const fs::path& root) {
    std::error_code error;
    for (auto it =
             fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied, error);
         !error && it != fs::recursive_directory_iterator(); it.increment(error))
      if (it->is_regular_file() && format_of_name(it->path())) files_.push_back(it->path());
    if (error)
      throw Error("crawl.pages", "{}: cannot list the directory ({})", root.string(), error.message());
    std::sort(files_.begin(), files_.end());
  }

  std::optional<Result<Page>> next() override {
    for (;;) {
      if (!current_) {
        if (at_ == files_.size()) return std::nullopt;
        current_ = open_file(files_[at_++]);
      }
      std::optional<Result<Page>> page = current_->next();
      if (page) {
        if (*page) (*page)->position = pages_++;
        return page;
      }
      position_ += current_->position();
      skipped_ += current_->skipped();
      current_.reset();
    }
  }
  int64_t position() const override { return position_ + (current_ ? current_->position() : 0); }
  int64_t skipped() const override { return skipped_ + (current_ ? current_->skipped() : 0); }

 private:
  std::vector<fs::path> files_;
  size_t at_ = 0;
  std::unique_ptr<PageReader> current_;
  int64_t position_ = 0, skipped_ = 0, pages_ = 0;
};

}  // namespace

std::unique_ptr<PageReader> open_pages(const fs::path& path) {
  if (fs::is_directory(path)) return std::make_unique<DirectoryPages>(path);
  return open_file(path);
}

}  // namespace tumbler::crawl
