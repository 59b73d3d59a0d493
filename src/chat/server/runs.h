// Runs: trainings in directories, and what they have logged so far.
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
  std::filesystem::path path;  // with metrics.jsonl in it
  std::string kind;
  int64_t step = 0, steps = 0, updated = 0;  // updated: milliseconds since 1970
};

class Runs {
 public:
  explicit Runs(std::vector<std::string> folders) : folders_(std::move(folders)) {}

  std::vector<RunSummary> list() const;  // newest first
  struct Lines {
    nlohmann::ordered_json metrics = nlohmann::ordered_json::array();  // lines from `from` on
    int64_t lines = 0;                                                 // the number of the next one
    nlohmann::ordered_json config = nullptr;                           // of the run
  };
  // At most kMaxLines at a time; a line that is being written is left for the next time. Nothing where there
  // is no such run.
  std::optional<Lines> read(const std::string& id, int64_t from);
  // The data funnel of the pipeline that the run belongs to.
  std::optional<nlohmann::ordered_json> funnel(const std::string& id) const;

  static constexpr int64_t kMaxLines = 20'000;

 private:
  std::optional<std::filesystem::path> find(const std::string& id) const;
  std::vector<std::string> folders_;
  // Where every 256th line begins, so that a long file is not read from its start each time.
  struct Index {
    std::vector<int64_t> offsets = {0};
    int64_t size = 0;
  };
  std::mutex mutex_;
  std::map<std::string, Index> indices_;
};

}  // namespace tumbler::chat
