#include "program.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "io/file.h"

namespace fs = std::filesystem;

namespace tumbler::tests {
namespace {

int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Program::Program(const std::string& name)
    : directory_(fs::temp_directory_path() / fmt::format("tumbler_{}_{}", name, ::getpid())) {
  fs::remove_all(directory_);
  fs::create_directories(directory_);
}

Program::~Program() {
  std::error_code error;
  fs::remove_all(directory_, error);
}

int Program::run(const std::string& arguments, int kill_after_ms) {
  // `exec`: the child is the program, so that the signal and the memory are its own.
  const std::string line =
      fmt::format("cd '{}' && exec < /dev/null '{}' {} > '{}/out.txt' 2> '{}/err.txt'", directory_.string(),
                  TUMBLER_BINARY, arguments, directory_.string(), directory_.string());
  const pid_t child = ::fork();
  if (child < 0) throw Error("test", "fork failed");
  if (child == 0) {
    ::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  rusage usage{};
  if (kill_after_ms >= 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(kill_after_ms));
    ::kill(child, SIGKILL);
  }
  if (::wait4(child, &status, 0, &usage) != child) throw Error("test", "wait4 failed");
  peak_bytes_ = int64_t{usage.ru_maxrss} * 1024;
  return exit_code(status);
}

int Program::shell(const std::string& command) {
  return exit_code(std::system(fmt::format("cd '{}' && {}", directory_.string(), command).c_str()));
}

std::string Program::output() const {
  return io::read_file(directory_ / "out.txt");
}
std::string Program::errors() const {
  return io::read_file(directory_ / "err.txt");
}

SmallDisk::SmallDisk(fs::path path, int kilobytes) : path_(std::move(path)) {
  fs::create_directories(path_);
  mounted_ = ::mount("tmpfs", path_.c_str(), "tmpfs", 0, fmt::format("size={}k", kilobytes).c_str()) == 0;
}

SmallDisk::~SmallDisk() {
  if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
}

}  // namespace tumbler::tests
