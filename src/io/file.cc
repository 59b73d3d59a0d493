#include "io/file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace fs = std::filesystem;

namespace tumbler::io {
namespace {

constexpr size_t kWriteBuffer = 1 << 20;  // few system calls, small beside any model

void write_all(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      throw Error("write", "{}: could not write {} bytes{}; free some space or choose another output",
                  path.string(), bytes.size(), errno_text());
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace

std::string read_file(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw Error("read", "{}: cannot open{}", path.string(), errno_text());
  std::string out;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) out.reserve(static_cast<size_t>(info.st_size) + 1);
  for (;;) {
    const size_t old = out.size();
    out.resize(std::max(old + 65536, out.capacity()));
    const ssize_t n = ::read(fd, out.data() + old, out.size() - old);
    out.resize(old + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const std::string why = errno_text();
      ::close(fd);
      throw Error("read", "{}: cannot read{}", path.string(), why);
    }
    if (n == 0) break;
  }
  ::close(fd);
  return out;
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  temporary_ = path_;
  temporary_ += fmt::format(".tmp.{}", ::getpid());
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) throw Error("write", "{}: cannot create{}", temporary_.string(), errno_text());
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
  size_ += static_cast<int64_t>(bytes.size());
  if (buffer_.size() + bytes.size() > kWriteBuffer) flush();
  if (bytes.size() >= kWriteBuffer)
    write_all(fd_, bytes, path_);
  else
    buffer_.append(bytes);
}

void AtomicFile::flush() {
  write_all(fd_, buffer_, path_);
  buffer_.clear();
}

void AtomicFile::commit() {
  flush();
  const auto fail = [&](const char* what) {
    const std::string why = errno_text();
    ::unlink(temporary_.c_str());
    throw Error("write", "{}: {} failed{}", path_.string(), what, why);
  };
  if (::fsync(fd_) != 0) fail("fsync");
  if (::close(std::exchange(fd_, -1)) != 0) fail("close");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename");
  sync_directory(path_.has_parent_path() ? path_.parent_path() : fs::path("."));
}

void remove_temporaries(const fs::path& folder, std::string_view part) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.find(part) != std::string::npos && name.find(".tmp.") != std::string::npos)
      fs::remove(entry.path(), error);
  }
}

void write_file(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void make_directories(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw Error("write", "{}: cannot make the directory ({})", path.string(), error.message());
}

void sync_directory(const fs::path& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // not every file system lets a directory be opened; the rename itself has succeeded
  ::fsync(fd);
  ::close(fd);
}

void release_pages(std::span<const std::byte> bytes) noexcept {
  constexpr uintptr_t kPage = 4096;
  const auto begin = (reinterpret_cast<uintptr_t>(bytes.data()) + kPage - 1) / kPage * kPage;
  const auto end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / kPage * kPage;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

MappedFile::MappedFile(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw Error("read", "{}: cannot open{}", path.string(), errno_text());
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    throw Error("read", "{}: got something that is not a regular file, expected one", path.string());
  }
  size_ = static_cast<size_t>(info.st_size);
  if (size_ > 0) data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (data_ == MAP_FAILED) {
    data_ = nullptr;
    throw Error("read", "{}: cannot map {} bytes{}", path.string(), std::exchange(size_, 0), errno_text());
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::vector<fs::path> glob(std::string_view pattern) {
  const size_t special = pattern.find_first_of("*?[");
  if (special == std::string_view::npos) {
    if (fs::exists(pattern)) return {fs::path(pattern)};
    return {};
  }
  const size_t slash = pattern.substr(0, special).rfind('/');
  const fs::path root =
      slash == std::string_view::npos ? fs::path(".") : fs::path(pattern.substr(0, slash + 1));
  const std::string rest(slash == std::string_view::npos ? pattern : pattern.substr(slash + 1));
  // `**/` may also stand for no folder at all; fnmatch without FNM_PATHNAME lets its `*` cross slashes.
  const bool deep = rest.find("**") != std::string::npos;
  std::string without = rest;
  for (size_t at; (at = without.find("**/")) != std::string::npos;) without.erase(at, 3);
  std::vector<fs::path> found;
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied, error);
       it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (error) break;
    const std::string relative = it->path().lexically_relative(root).string();
    const int flags = FNM_PERIOD | (deep ? 0 : FNM_PATHNAME);
    const bool match = fnmatch(rest.c_str(), relative.c_str(), flags) == 0 ||
                       (deep && fnmatch(without.c_str(), relative.c_str(), flags) == 0);
    if (match && it->is_regular_file())
      found.push_back(slash == std::string_view::npos ? fs::path(relative) : it->path());
    if (!deep && it->is_directory() &&
        std::count(relative.begin(), relative.end(), '/') >= std::count(rest.begin(), rest.end(), '/'))
      it.disable_recursion_pending();
  }
  std::sort(found.begin(), found.end());
  return found;
}

int64_t free_bytes(const fs::path& path) {
  std::error_code error;
  const fs::space_info space = fs::space(path, error);
  if (error) throw Error("disk", "{}: cannot tell the free space ({})", path.string(), error.message());
  return static_cast<int64_t>(space.available);
}

}  // namespace tumbler::io
