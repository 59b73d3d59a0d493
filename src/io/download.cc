#include "io/download.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include <curl/curl.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "base/error.h"
#include "io/file.h"

namespace fs = std::filesystem;

namespace tumbler::io {
namespace {

constexpr int64_t kMegabyte = 1'000'000;

struct FreeCurl {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// One request. What comes is handed to `sink` as it comes.
class Request {
 public:
  struct Sink {
    virtual ~Sink() = default;
    virtual void begin(long status, const std::string& etag) = 0;  // before the first byte of a body
    virtual bool write(std::string_view bytes) = 0;                // false ends the transfer
  };

  Request(const std::string& url, const std::string& token, Sink& sink) : sink_(sink) {
    static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
    curl_.reset(global == CURLE_OK ? curl_easy_init() : nullptr);
    if (curl_ == nullptr) throw Error("download", "libcurl cannot be started");
    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 1L);
    set(CURLOPT_MAXREDIRS, 10L);
    set(CURLOPT_FAILONERROR, 1L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CONNECTTIMEOUT, 30L);
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);  // nothing for a minute is a connection that is gone
    set(CURLOPT_LOW_SPEED_TIME, 60L);
    set(CURLOPT_ERRORBUFFER, message_.data());
    set(CURLOPT_WRITEFUNCTION, &Request::on_body);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_HEADERFUNCTION, &Request::on_header);
    set(CURLOPT_HEADERDATA, this);
    // libcurl sends it to the first host only, not where that redirects to.
    if (!token.empty()) add_header("Authorization: Bearer " + token);
  }

  void add_header(const std::string& line) {
    headers_.reset(curl_slist_append(headers_.release(), line.c_str()));
    set(CURLOPT_HTTPHEADER, headers_.get());
  }
  CURLcode perform() {
    const CURLcode code = curl_easy_perform(curl_.get());
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status_);
    if (code == CURLE_OK && !begun_) begin();  // a body of no bytes
    return code;
  }
  long status() const noexcept { return status_; }
  std::string error(CURLcode code) const {
    return message_[0] != '\0' ? message_.data() : curl_easy_strerror(code);
  }

 private:
  template <class T>
  void set(CURLoption option, T value) {
    if (curl_easy_setopt(curl_.get(), option, value) != CURLE_OK)
      throw Error("download", "libcurl refuses option {}", static_cast<int>(option));
  }
  void begin() {
    begun_ = true;
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status_);
    sink_.begin(status_, etag_);
  }
  static size_t on_body(char* data, size_t, size_t size, void* self) {
    auto& request = *static_cast<Request*>(self);
    if (!request.begun_) request.begin();
    return request.sink_.write({data, size}) ? size : 0;
  }
  static size_t on_header(char* data, size_t, size_t size, void* self) {
    auto& request = *static_cast<Request*>(self);
    std::string_view line(data, size);
    if (line.starts_with("HTTP/")) request.etag_.clear();  // of the answer after a redirect
    constexpr std::string_view kName = "etag:";
    const bool etag = line.size() > kName.size() &&
                      std::equal(kName.begin(), kName.end(), line.begin(), [](char a, char b) {
                        return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
                      });
    if (etag) {
      line.remove_prefix(kName.size());
      while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
      while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
      request.etag_ = line;
    }
    return size;
  }

  Sink& sink_;
  std::unique_ptr<CURL, FreeCurl> curl_;
  std::unique_ptr<curl_slist, FreeCurl> headers_;
  std::array<char, CURL_ERROR_SIZE> message_{};
  std::string etag_;
  long status_ = 0;
  bool begun_ = false;
};

// `path.part` and `path.part.etag`, which says of what version of the file the part is.
class Part final : public Request::Sink {
 public:
  Part(const fs::path& path, int64_t expected, Progress* progress)
      : path_(path.string() + ".part"),
        etag_path_(path_.string() + ".etag"),
        expected_(expected),
        progress_(progress) {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) throw Error("download", "{}: cannot be written{}", path_.string(), errno_text());
    size_ = ::lseek(fd_, 0, SEEK_END);
    if (expected_ >= 0 && size_ > expected_) restart();
  }
  ~Part() override {
    ::close(fd_);
    if (size_ == 0) discard();
  }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;

  int64_t size() const noexcept { return size_; }
  const fs::path& path() const noexcept { return path_; }
  const std::string& trouble() const noexcept { return trouble_; }
  std::string etag() const {
    std::error_code none;
    return fs::exists(etag_path_, none) ? read_file(etag_path_) : "";
  }
  void restart() {
    if (::ftruncate(fd_, 0) != 0 || ::lseek(fd_, 0, SEEK_SET) != 0)
      throw Error("download", "{}: cannot be emptied{}", path_.string(), errno_text());
    size_ = 0;
  }
  void begin(long status, const std::string& etag) override {
    if (status != 206 && size_ > 0) restart();  // the whole file, from its first byte
    // A weak one ("W/…") does not promise the same bytes.
    if (size_ == 0 && etag.starts_with('"')) write_file(etag_path_, etag);
  }
  bool write(std::string_view bytes) override {
    if (expected_ >= 0 && size_ + static_cast<int64_t>(bytes.size()) > expected_) {
      trouble_ = fmt::format("got more than the {} bytes that were expected", expected_);
      return false;
    }
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        trouble_ = "cannot be written" + errno_text();
        return false;
      }
      bytes.remove_prefix(static_cast<size_t>(n));
      size_ += n;
    }
    if (progress_ != nullptr) progress_->update(size_ / kMegabyte);
    return true;
  }
  void discard() {
    std::error_code none;
    fs::remove(path_, none);
    fs::remove(etag_path_, none);
  }
  void commit(const fs::path& to) {
    if (::fsync(fd_) != 0) throw Error("download", "{}: cannot be written{}", path_.string(), errno_text());
    std::error_code failed;
    fs::rename(path_, to, failed);
    if (failed) throw Error("download", "{}: cannot be renamed ({})", path_.string(), failed.message());
    fs::remove(etag_path_, failed);
    size_ = -1;  // gone
    sync_directory(to.has_parent_path() ? to.parent_path() : ".");
  }

 private:
  fs::path path_, etag_path_;
  int64_t expected_, size_ = 0;
  Progress* progress_;
  int fd_ = -1;
  std::string trouble_;
};

class Text final : public Request::Sink {
 public:
  explicit Text(int64_t most) : most_(most) {}
  void begin(long, const std::string&) override { text.clear(); }
  bool write(std::string_view bytes) override {
    text += bytes;
    return static_cast<int64_t>(text.size()) <= most_;
  }
  std::string text;

 private:
  int64_t most_;
};

// What the server says will not change by asking again.
void check_refusal(const std::string& url, long status) {
  if (status == 401 || status == 403)
    throw Error("download",
                "{}: the server wants to know who asks (HTTP {}); set HF_TOKEN to a token that may read it",
                url, status);
  if (status == 404 || status == 410)
    throw Error("download", "{}: there is no such file (HTTP {})", url, status);
  if (status >= 400 && status < 500 && status != 408 && status != 416 && status != 429)
    throw Error("download", "{}: the server refuses (HTTP {})", url, status);
}

// Tries until `try_once` returns true; false is worth another try. `advance` counts bytes.
template <class TryOnce, class Advance>
void retry(const DownloadOptions& options, const TryOnce& try_once, const Advance& advance) {
  int64_t pause = options.pause_ms, reached = advance();
  for (int failures = 0; !try_once(failures + 1 >= options.attempts);) {
    if (advance() > reached) {
      reached = advance();
      failures = 0;
      pause = options.pause_ms;
      continue;
    }
    ++failures;
    std::this_thread::sleep_for(std::chrono::milliseconds(pause));
    pause *= 2;
  }
}

void check_whole(Part& part, const std::string& url, const DownloadOptions& options) {
  if (options.size_bytes >= 0 && part.size() != options.size_bytes) {
    const int64_t got = part.size();
    part.discard();
    throw Error("download", "{}: got {} bytes, expected {}", url, got, options.size_bytes);
  }
  if (options.sha256.empty()) return;
  if (const std::string got = sha256_of_file(part.path()); got != options.sha256) {
    part.discard();
    throw Error("download", "{}: got bytes with SHA-256 {}, expected {}; they are thrown away, try again",
                url, got, options.sha256);
  }
}

}  // namespace

bool download(const std::string& url, const fs::path& path, const DownloadOptions& options,
              Progress* progress) {
  if (fs::exists(path)) return false;
  if (path.has_parent_path()) make_directories(path.parent_path());
  if (progress != nullptr)
    progress->start(path.filename().string(), std::max<int64_t>(0, options.size_bytes / kMegabyte), "MB");
  Part part(path, options.size_bytes, progress);
  const int64_t missing = options.size_bytes - part.size(),
                room = free_bytes(path.has_parent_path() ? path.parent_path() : ".");
  if (options.size_bytes >= 0 && missing > room)
    throw Error("download", "{}: {} bytes are missing and {} are free on the disk; make room", path.string(),
                missing, room);
  const auto try_once = [&](bool last) {
    if (options.size_bytes >= 0 && part.size() == options.size_bytes) return true;
    Request request(url, options.token, part);
    if (part.size() > 0) {
      request.add_header(fmt::format("Range: bytes={}-", part.size()));
      if (const std::string etag = part.etag(); !etag.empty()) request.add_header("If-Range: " + etag);
    }
    const CURLcode code = request.perform();
    if (code == CURLE_OK) return true;
    if (!part.trouble().empty()) throw Error("download", "{}: {}", path.string(), part.trouble());
    check_refusal(url, request.status());
    if (request.status() == 416) part.restart();  // nothing after what is here: of another version
    if (last) throw Error("download", "{}: {}; run it again to go on", url, request.error(code));
    return false;
  };
  retry(options, try_once, [&] { return part.size(); });
  check_whole(part, url, options);
  part.commit(path);
  if (progress != nullptr) progress->finish();
  return true;
}

std::string fetch(const std::string& url, int64_t most_bytes, const DownloadOptions& options) {
  Text text(most_bytes);
  const auto try_once = [&](bool last) {
    Request request(url, options.token, text);
    const CURLcode code = request.perform();
    if (code == CURLE_OK) return true;
    if (static_cast<int64_t>(text.text.size()) > most_bytes)
      throw Error("download", "{}: got more than {} bytes", url, most_bytes);
    check_refusal(url, request.status());
    if (last) throw Error("download", "{}: {}", url, request.error(code));
    return false;
  };
  retry(options, try_once, [] { return 0; });
  return std::move(text.text);
}

std::string sha256_of_file(const fs::path& path) {
  const MappedFile file(path);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  const auto bytes = file.bytes();
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1)
    throw Error("download", "{}: its SHA-256 cannot be computed", path.string());
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace tumbler::io
