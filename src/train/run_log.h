// metrics.jsonl: one JSON object a line, one line an event of a run: {"event":"step","step":12,"loss":3.2,…}.
// Every event has a step: how many were done when it was written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace tumbler::train {

class RunLog {
 public:
  // Appends to `path`. Lines of steps after `keep_through_step`, and a last line that a kill cut in half, are
  // cut off first: a run resumed from the checkpoint of a step writes them again, so that its log is that of
  // a run that was never stopped. A negative value empties the file.
  RunLog(std::filesystem::path path, int64_t keep_through_step);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  // One line, in the file when this returns. Throws Error where it cannot be written.
  void write(const nlohmann::ordered_json& event);
  // fsync: called before a checkpoint, whose step the log must not lag behind.
  void sync();

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace tumbler::train
