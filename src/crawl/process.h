// Child programs: apt-get, dpkg-deb, wget.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace tumbler::crawl {

// A running program with its output in a file. It is killed when this object goes, and when our own process
// dies.
class ChildProcess {
 public:
  // `arguments[0]` is looked up in PATH. Locale C; no proxy settings of the caller. Throws Error where the
  // program is not there.
  ChildProcess(const std::vector<std::string>& arguments, const std::filesystem::path& directory,
               const std::filesystem::path& log);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  // The exit code once it has ended; 128 + n for signal n.
  std::optional<int> poll();
  int wait();

 private:
  pid_t pid_ = -1;
  std::optional<int> code_;
};

// Runs to the end; the exit code.
int run_program(const std::vector<std::string>& arguments, const std::filesystem::path& directory,
                const std::filesystem::path& log);

// Whether PATH has it.
bool find_program(const std::string& name);

// The last lines of a log, for a message.
std::string last_lines(const std::filesystem::path& log, size_t max_bytes = 600);

}  // namespace tumbler::crawl
