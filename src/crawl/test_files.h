// What the tests of this folder make their inputs from.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/error.h"

namespace tumbler::crawl::test {

class TempDirectory {
 public:
  TempDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "tumbler_crawl_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw Error("test", "no temporary directory");
    path_ = name;
  }
  ~TempDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  std::filesystem::path write(std::string_view name, std::string_view bytes) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;  // no fsync: tests write thousands of files
    return file;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string warc_record(std::string_view type, std::string_view uri, std::string_view content_type,
                               std::string_view block, int64_t length = -1) {
  return fmt::format(
      "WARC/1.0\r\nWARC-Type: {}\r\nWARC-Target-URI: {}\r\nWARC-Date: "
      "2024-05-18T01:58:10Z\r\nWARC-Record-ID: "
      "<urn:uuid:{}>\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n{}\r\n\r\n",
      type, uri, uri, content_type, length < 0 ? static_cast<int64_t>(block.size()) : length, block);
}

inline std::string http_message(std::string_view body,
                                std::string_view headers = "Content-Type: text/html\r\n", int status = 200) {
  return fmt::format("HTTP/1.1 {} OK\r\n{}\r\n{}", status, headers, body);
}

inline std::string response(std::string_view uri, std::string_view body,
                            std::string_view headers = "Content-Type: text/html\r\n") {
  return warc_record("response", uri, "application/http; msgtype=response", http_message(body, headers));
}

// window_bits as zlib's: 31 gzip, 15 zlib, -15 raw.
inline std::string deflated(std::string_view bytes, int window_bits = 31) {
  z_stream z{};
  deflateInit2(&z, bytes.size() > (1 << 20) ? 1 : 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, bytes.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

inline std::string zstd_frame(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

// The folder of real data, or nothing: tests that need it skip without it.
inline std::filesystem::path test_data(std::string_view name) {
  const char* root = std::getenv("TUMBLER_TEST_DATA");
  const std::filesystem::path base =
      root != nullptr ? std::filesystem::path(root)
                      : std::filesystem::path(TUMBLER_SOURCE_DIR) / ".." / "shared" / "data";
  return std::filesystem::exists(base / name) ? base / name : std::filesystem::path();
}

}  // namespace tumbler::crawl::test
