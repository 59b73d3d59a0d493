// Downloads over HTTP that survive cut connections, kills and servers that lie.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/progress.h"

namespace tumbler::io {

struct DownloadOptions {
  int64_t size_bytes = -1;  // what the file must have; -1: not known
  std::string sha256 = {};  // in lower-case hexadecimal digits; empty: not known
  std::string token = {};   // sent as `Authorization: Bearer`, to the first host only; empty: none
  int attempts = 5;         // in a row that bring no byte, before it gives up
  int64_t pause_ms = 500;   // after the first such attempt; doubled each time
};

// Brings the file at an http(s) URL to `path`, which appears only when size and hash are right. Until then
// its bytes are in `path.part`: a later call goes on where this one ended (HTTP ranges; from the start where
// the server has none or says that the file has changed). False: `path` was there already, and nothing was
// done. Throws Error: the server says no, no connection, another size or hash than expected, a full disk.
bool download(const std::string& url, const std::filesystem::path& path, const DownloadOptions& options,
              Progress* progress = nullptr);

// A small document: at most `most_bytes`. Throws Error as above.
std::string fetch(const std::string& url, int64_t most_bytes, const DownloadOptions& options = {});

// SHA-256 of a file in hexadecimal digits.
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace tumbler::io
