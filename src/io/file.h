// Files: whole reads, writes that appear by rename when whole, read-only maps, globs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tumbler::io {

// The whole file. Throws Error where it cannot be read.
std::string read_file(const std::filesystem::path& path);

// A file that appears under its name only when commit() has returned: bytes go to `path.tmp.<pid>`, then
// fsync, then rename. Not committed (an exception, a kill), it leaves nothing under its name. Throws Error on
// any failed write (full disk).
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  void write(const void* data, size_t size) { write({static_cast<const char*>(data), size}); }
  int64_t size_bytes() const noexcept { return size_; }
  void commit();

 private:
  void flush();
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
  int64_t size_ = 0;
  std::string buffer_;
};

// Removes what AtomicFiles of a killed process have left in `folder`, of names with `part` in them. Nobody
// else may be writing these.
void remove_temporaries(const std::filesystem::path& folder, std::string_view part = "");

// AtomicFile in one call.
void write_file(const std::filesystem::path& path, std::string_view bytes);

// Makes `path` and its parents; throws Error where it cannot.
void make_directories(const std::filesystem::path& path);

// fsyncs a directory, so that renames in it survive a power cut.
void sync_directory(const std::filesystem::path& directory);

// A file mapped read-only. An empty file maps to an empty span.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const noexcept { return {static_cast<const std::byte*>(data_), size_}; }
  std::string_view text() const noexcept { return {static_cast<const char*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// The mapped pages that lie whole in `bytes` no longer count as memory of this process; read again, they come
// back from the file.
void release_pages(std::span<const std::byte> bytes) noexcept;

// Files that match a shell pattern (`*`, `?`, `[…]`, and `**/` for any depth), sorted. A plain path matches
// itself.
std::vector<std::filesystem::path> glob(std::string_view pattern);

// Bytes free on the file system of `path`.
int64_t free_bytes(const std::filesystem::path& path);

}  // namespace tumbler::io
