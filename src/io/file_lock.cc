#include "io/file_lock.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace tumbler::io {

FileLock::FileLock(std::filesystem::path path, std::string_view where, std::string_view busy)
    : path_(std::move(path)) {
  for (struct stat file{}; fd_ < 0;) {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) throw Error(where, "{}: cannot be written{}", path_.string(), errno_text());
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(fd_);
      throw Error(where, "{}: {}", path_.parent_path().string(), busy);
    }
    // The one before may have removed the file between the two calls: then others would lock another one.
    if (::fstat(fd_, &file) == 0 && file.st_nlink > 0) return;
    ::close(std::exchange(fd_, -1));
  }
}

FileLock::~FileLock() {
  ::unlink(path_.c_str());
  ::close(fd_);
}

}  // namespace tumbler::io
