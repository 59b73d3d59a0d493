#include "crawl/process.h"

#include <cerrno>
#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "crawl/ascii.h"
#include "io/file.h"

extern char** environ;

namespace fs = std::filesystem;

namespace tumbler::crawl {
namespace {

int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The caller's environment without what would send a loopback request elsewhere or translate messages.
std::vector<std::string> child_environment() {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view name = std::string_view(*entry).substr(0, std::string_view(*entry).find('='));
    if (name == "http_proxy" || name == "no_proxy" || name == "NO_PROXY" || name == "WGETRC" ||
        name == "LANG" || name == "LANGUAGE" || name.starts_with("LC_"))
      continue;
    out.emplace_back(*entry);
  }
  out.emplace_back("LC_ALL=C");
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

fs::path path_of_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const std::string_view directory = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), directory.size() + 1));
    const fs::path candidate = fs::path(directory) / name;
    if (!directory.empty() && ::access(candidate.c_str(), X_OK) == 0 && !fs::is_directory(candidate))
      return candidate;
  }
  return {};
}

}  // namespace

bool find_program(const std::string& name) {
  return !path_of_program(name).empty();
}

ChildProcess::ChildProcess(const std::vector<std::string>& arguments, const fs::path& directory,
                           const fs::path& log) {
  const fs::path program = path_of_program(arguments.at(0));
  if (program.empty())
    throw Error("crawl", "{}: not found in PATH; install it (apt-get install {})", arguments[0],
                arguments[0]);
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) throw Error("crawl", "{}: cannot write the log{}", log.string(), errno_text());
  std::vector<std::string> environment = child_environment(), words = arguments;
  const std::vector<char*> argv = pointers(words), envp = pointers(environment);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {  // only async-signal-safe calls from here: other threads may have held locks
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(fd, 1);
    ::dup2(fd, 2);
    if (const int null = ::open("/dev/null", O_RDONLY); null >= 0) ::dup2(null, 0);
    if (::chdir(directory.c_str()) != 0) ::_exit(127);
    ::execve(program.c_str(), argv.data(), envp.data());
    ::_exit(127);
  }
  const std::string why = errno_text();
  ::close(fd);
  if (pid_ < 0) throw Error("crawl", "{}: cannot start{}", arguments[0], why);
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0 && !code_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

std::optional<int> ChildProcess::poll() {
  int status = 0;
  if (!code_ && ::waitpid(pid_, &status, WNOHANG) == pid_) code_ = exit_code(status);
  return code_;
}

int ChildProcess::wait() {
  int status = 0;
  while (!code_) {
    const pid_t got = ::waitpid(pid_, &status, 0);
    if (got == pid_)
      code_ = exit_code(status);
    else if (errno != EINTR)
      throw Error("crawl", "waiting for a program failed{}", errno_text());
  }
  return *code_;
}

int run_program(const std::vector<std::string>& arguments, const fs::path& directory, const fs::path& log) {
  return ChildProcess(arguments, directory, log).wait();
}

std::string last_lines(const fs::path& log, size_t max_bytes) {
  std::error_code error;
  if (!fs::exists(log, error)) return {};
  const std::string text = io::read_file(log);
  std::string_view tail = trim(text);
  if (tail.size() > max_bytes) tail = tail.substr(tail.size() - max_bytes);
  std::string out(tail);
  for (char& c : out)
    if (c == '\n') c = ' ';
  return out;
}

}  // namespace tumbler::crawl
