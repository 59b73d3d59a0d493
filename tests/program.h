// The real program, run as a user runs it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace tumbler::tests {

// A temporary directory in which `tumbler` is run.
class Program {
 public:
  explicit Program(const std::string& name);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Runs `tumbler ARGUMENTS` (read by a shell, in the directory) and returns its exit code; 128 + n where
  // signal n ended it, `SIGKILL` after `kill_after_ms` among them (-1: never).
  int run(const std::string& arguments, int kill_after_ms = -1);
  // Any other command, for making inputs.
  int shell(const std::string& command);

  const std::filesystem::path& directory() const { return directory_; }
  std::string output() const;  // of the last run
  std::string errors() const;
  int64_t peak_bytes() const { return peak_bytes_; }  // resident, of the last run

 private:
  std::filesystem::path directory_;
  int64_t peak_bytes_ = 0;
};

// A file system of `kilobytes` at `path` for as long as the object lives; mounted() is false where that is
// not allowed (not root).
class SmallDisk {
 public:
  SmallDisk(std::filesystem::path path, int kilobytes);
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

 private:
  std::filesystem::path path_;
  bool mounted_ = false;
};

}  // namespace tumbler::tests
