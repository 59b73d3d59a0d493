#include "train/run_log.h"

#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "io/file.h"

namespace tumbler::train {
namespace {

// Bytes of `text` whose lines are whole and belong to steps up to `step`. Lines are in order of steps.
size_t kept_bytes(std::string_view text, int64_t step) {
  size_t kept = 0;
  for (size_t end; (end = text.find('\n', kept)) != std::string_view::npos; kept = end + 1) {
    const auto line =
        nlohmann::json::parse(text.substr(kept, end - kept), nullptr, /*allow_exceptions=*/false);
    const bool whole = line.is_object() && line.contains("step") && line["step"].is_number_integer();
    if (!whole || line["step"].get<int64_t>() > step) break;
  }
  return kept;
}

}  // namespace

RunLog::RunLog(std::filesystem::path path, int64_t keep_through_step) : path_(std::move(path)) {
  size_t keep = 0;
  if (keep_through_step >= 0 && std::filesystem::exists(path_))
    keep = kept_bytes(io::read_file(path_), keep_through_step);
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) throw Error("run log", "{}: cannot open{}", path_.string(), errno_text());
  if (::ftruncate(fd_, static_cast<off_t>(keep)) != 0)
    throw Error("run log", "{}: cannot cut to {} bytes{}", path_.string(), keep, errno_text());
}

RunLog::~RunLog() {
  if (fd_ >= 0) ::close(fd_);
}

void RunLog::write(const nlohmann::ordered_json& event) {
  // JSON has no NaN: nlohmann writes null, which is what a reader of curves wants to see.
  std::string line = event.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  line += '\n';
  for (std::string_view rest = line; !rest.empty();) {
    const ssize_t n = ::write(fd_, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      throw Error("run log", "{}: could not write{}; free some space, then continue with --resume",
                  path_.string(), errno_text());
    rest.remove_prefix(static_cast<size_t>(n));
  }
}

void RunLog::sync() {
  if (::fsync(fd_) != 0) throw Error("run log", "{}: fsync failed{}", path_.string(), errno_text());
}

}  // namespace tumbler::train
