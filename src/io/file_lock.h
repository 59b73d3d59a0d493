// One process at a time at work in a directory.
#pragma once

#include <filesystem>
#include <string_view>

namespace tumbler::io {

// Holds an exclusive lock of the file at `path`, which is made, and removed again at the end. The kernel lets
// go of it when the process ends, however it ends; a file that is left locks nobody out. Throws Error(where,
// "DIRECTORY: busy") where another process has it, or the file cannot be made. On a file system without locks
// there is none.
class FileLock {
 public:
  FileLock(std::filesystem::path path, std::string_view where, std::string_view busy);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace tumbler::io
