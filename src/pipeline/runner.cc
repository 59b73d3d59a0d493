#include "pipeline/runner.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/log.h"
#include "io/file.h"
#include "io/file_lock.h"

namespace fs = std::filesystem;

namespace tumbler::pipeline {
namespace {

fs::path record_path(const fs::path& run, const Stage& stage) {
  return run / "pipeline" / (stage.name + ".json");
}
fs::path attempts_path(const fs::path& run, const Stage& stage) {
  return run / "pipeline" / (stage.name + ".attempts");
}

std::string fingerprint(const Stage& stage, const std::string& before) {
  const std::string text = before + stage.name + stage.settings.dump();
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

StageRecord from_json(const nlohmann::json& j) {
  StageRecord r;
  r.name = j.at("name");
  r.title = j.at("title");
  r.fingerprint = j.at("fingerprint");
  r.command = j.at("command").get<std::vector<std::string>>();
  r.seconds = j.at("seconds");
  r.cpu_seconds = j.at("cpu_seconds");
  r.peak_rss_bytes = j.at("peak_rss_bytes");
  r.threads = j.at("threads");
  return r;
}

std::string to_json_text(const StageRecord& r, size_t order) {
  const nlohmann::ordered_json j = {{"name", r.name},
                                    {"title", r.title},
                                    {"fingerprint", r.fingerprint},
                                    {"command", r.command},
                                    {"seconds", r.seconds},
                                    {"cpu_seconds", r.cpu_seconds},
                                    {"peak_rss_bytes", r.peak_rss_bytes},
                                    {"threads", r.threads},
                                    {"order", order}};
  return j.dump(2) + "\n";
}

nlohmann::json read_json(const fs::path& path) {
  nlohmann::json j = nlohmann::json::parse(io::read_file(path), nullptr, /*allow_exceptions=*/false);
  if (j.is_discarded())
    throw Error("pipeline", "{}: not JSON; delete it to run the stage again", path.string());
  return j;
}

StageRecord read_record(const fs::path& path) {
  try {
    return from_json(read_json(path));
  } catch (const nlohmann::json::exception& error) {
    throw Error("pipeline", "{}: not a stage record ({}); delete it to run the stage again", path.string(),
                error.what());
  }
}

// The child: dies with its parent, and speaks on its own stderr as if it had been called by hand.
[[noreturn]] void become(const std::string& program, char* const* argv, int stdout_fd, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it died before it could be said
  if (stdout_fd >= 0) ::dup2(stdout_fd, STDOUT_FILENO);
  ::execv(program.c_str(), argv);
  ::_exit(127);
}

int open_stdout(const fs::path& path) {
  if (path.empty()) return -1;
  io::make_directories(path.parent_path());
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) throw Error("pipeline", "{}: cannot create{}", path.string(), errno_text());
  return fd;
}

// Runs the stage's command to its end and adds what it took to `record`.
void run_process(const Stage& stage, const std::string& program, StageRecord& record) {
  fs::path partial = stage.stdout_file;
  if (!partial.empty()) partial += ".partial";
  const int stdout_fd = open_stdout(partial);
  std::vector<char*> argv = {const_cast<char*>("tumbler")};
  for (const std::string& argument : stage.command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const auto start = std::chrono::steady_clock::now();
  const pid_t parent = ::getpid(), child = ::fork();
  if (child == 0) become(program, argv.data(), stdout_fd, parent);
  if (stdout_fd >= 0) ::close(stdout_fd);
  if (child < 0) throw Error("pipeline", "cannot start a process{}", errno_text());
  int status = 0;
  rusage usage{};
  while (::wait4(child, &status, 0, &usage) < 0)
    if (errno != EINTR) throw Error("pipeline", "waiting for stage {} failed{}", stage.name, errno_text());
  record.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  record.cpu_seconds += seconds(usage.ru_utime) + seconds(usage.ru_stime);
  record.peak_rss_bytes = std::max<int64_t>(record.peak_rss_bytes, int64_t{usage.ru_maxrss} * 1024);
  const std::string by_hand = "by hand: " + shell_line(stage.command);
  if (WIFSIGNALED(status))
    throw Error("pipeline", "stage {} was ended by signal {}; run the pipeline again to go on ({})",
                stage.name, WTERMSIG(status), by_hand);
  if (WEXITSTATUS(status) != 0)
    throw Error("pipeline", "stage {} failed with exit code {}, see above ({})", stage.name,
                WEXITSTATUS(status), by_hand);
  if (!partial.empty()) fs::rename(partial, stage.stdout_file);
}

void forget_from(const std::vector<Stage>& stages, const fs::path& run, const std::string& from) {
  const auto first =
      std::find_if(stages.begin(), stages.end(), [&](const Stage& s) { return s.name == from; });
  if (first == stages.end()) {
    std::vector<std::string> names;
    for (const Stage& stage : stages) names.push_back(stage.name);
    throw Error("pipeline", "--from {}: no such stage, expected one of {}", from, fmt::join(names, ", "));
  }
  for (auto stage = first; stage != stages.end(); ++stage) {
    fs::remove(record_path(run, *stage));
    fs::remove(attempts_path(run, *stage));
    fs::remove_all(stage->output);
  }
}

// The stage's record, with the time of attempts that failed where there were any.
StageRecord begin_record(const Stage& stage, const std::string& print, const fs::path& attempts) {
  StageRecord record{stage.name, stage.title, print, stage.command,
                     0,          0,           0,     std::thread::hardware_concurrency()};
  if (!fs::exists(attempts)) return record;
  const StageRecord earlier = read_record(attempts);
  if (earlier.fingerprint != print) return record;
  record.seconds = earlier.seconds;
  record.cpu_seconds = earlier.cpu_seconds;
  return record;
}

StageRecord run_stage(const Stage& stage, size_t index, const std::string& print, const fs::path& run,
                      const std::string& program) {
  const fs::path attempts = attempts_path(run, stage);
  StageRecord record = begin_record(stage, print, attempts);
  try {
    run_process(stage, program, record);
  } catch (const Error&) {
    try {
      io::write_file(attempts, to_json_text(record, index));
    } catch (const Error& error) {  // a full disk, say: what the stage failed of is what matters
      log::warn("{}", error.what());
    }
    throw;
  }
  io::write_file(record_path(run, stage), to_json_text(record, index));
  fs::remove(attempts);
  return record;
}

}  // namespace

std::string shell_line(const std::vector<std::string>& arguments) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,+@%";
  std::string line = "tumbler";
  for (const std::string& argument : arguments) {
    if (!argument.empty() && argument.find_first_not_of(kPlain) == std::string::npos) {
      line += " " + argument;
      continue;
    }
    std::string quoted;
    for (const char c : argument) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += " '" + quoted + "'";
  }
  return line;
}

std::vector<StageRecord> run_stages(const std::vector<Stage>& stages, const fs::path& run,
                                    const std::string& program, const std::string& from,
                                    const Events& events) {
  io::make_directories(run / "pipeline");
  const io::FileLock lock(run / "pipeline" / "lock", "pipeline",
                          "another run is at work here; wait for it or choose another --output");
  if (!from.empty()) forget_from(stages, run, from);
  std::vector<StageRecord> records;
  std::string print;
  for (size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = stages[i];
    print = fingerprint(stage, print);
    if (fs::exists(record_path(run, stage))) {
      records.push_back(read_record(record_path(run, stage)));
      if (records.back().fingerprint != print)
        throw Error("pipeline",
                    "stage {} in {} was made with other settings; choose another --output, or make it and "
                    "what follows "
                    "again with --from {}",
                    stage.name, run.string(), stage.name);
      events.skipped(stage, records.back());
    } else {
      events.started(stage, i, stages.size());
      records.push_back(run_stage(stage, i, print, run, program));
      events.finished(stage, records.back());
    }
  }
  return records;
}

std::vector<StageRecord> read_records(const fs::path& run) {
  std::vector<std::pair<int64_t, StageRecord>> found;
  for (const fs::path& path : io::glob((run / "pipeline" / "*.json").string()))
    found.emplace_back(read_json(path).value("order", int64_t{0}), read_record(path));
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<StageRecord> records;
  for (auto& [order, record] : found) records.push_back(std::move(record));
  return records;
}

}  // namespace tumbler::pipeline
