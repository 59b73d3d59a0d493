// Runs: what the pipeline makes in directories, a training or its data, and what was logged of it so far.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace tumbler::chat {

struct RunSummary {
  std::string id;              // no path: of eight bytes of its hash
  std::filesystem::path path;  // a training: with metrics.jsonl in it
  std::string kind;  // "pretrain", or what a log says of itself; "data": documents and no training yet
  int64_t step = 0, steps = 0, updated = 0;  // updated: milliseconds since 1970
};

class Runs {
 public:
  explicit Runs(std::vector<std::string> folders) : folders_(std::move(folders)) {}

  std::vector<RunSummary> list() const;  // newest first
  struct Lines {
    nlohmann::ordered_json metrics = nlohmann::ordered_json::array();  // lines from `from` on
    // The number of the next one. Less than `from`: the log was begun anew or cut, as a training does that
    // goes on from a checkpoint; begin from 0.
    int64_t lines = 0;
    nlohmann::ordered_json config = nullptr;  // of the run
  };
  // At most kMaxLines and about kMaxBytes at a time; a line that is being written is left for the next time.
  // Reads on from where it was before, however large the file. Nothing where there is no such run.
  std::optional<Lines> read(const std::string& id, int64_t from);
  // The data funnel of the run, or of the pipeline that the training belongs to.
  std::optional<nlohmann::ordered_json> funnel(const std::string& id) const;

  static constexpr int64_t kMaxLines = 20'000, kMaxBytes = int64_t{8} << 20;

 private:
  std::optional<std::filesystem::path> find(const std::string& id) const;
  // Where lines begin, as far as a log was read.
  struct Index {
    std::vector<int64_t> offsets = {0};  // of every 256th
    int64_t lines = 0, end = 0;          // whole lines that were counted, and where they end
    std::string tail;                    // the last bytes before `end`: others, and the file is another one
  };
  std::vector<std::string> folders_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::filesystem::path> paths_;  // by id: of runs that were seen
  std::map<std::string, Index> indices_;
};

}  // namespace tumbler::chat
