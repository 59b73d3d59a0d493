#include "chat/server/runs.h"

#include <algorithm>
#include <chrono>
#include <fstream>

#include <fmt/format.h>

namespace tumbler::chat {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 4;
constexpr int64_t kStride = 256;
constexpr std::streamoff kTail = 1 << 16;

// FNV-1a, of the path: an id that names no file.
std::string id_of(const fs::path& path) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : path.string()) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{:016x}", hash);
}

Json parse_line(const std::string& line) {
  return Json::parse(line, nullptr, /*allow_exceptions=*/false);
}

int64_t integer(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<int64_t>() : 0;
}

Json first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return parse_line(line);
}

// The step of the last whole line.
int64_t last_step(const fs::path& file) {
  std::ifstream in(file, std::ios::ate);
  const std::streamoff size = in.tellg();
  in.seekg(std::max<std::streamoff>(0, size - kTail));
  int64_t step = 0;
  for (std::string line; std::getline(in, line) && !in.eof();)
    if (const Json json = parse_line(line); json.is_object()) step = std::max(step, integer(json, "step"));
  return step;
}

int64_t milliseconds(fs::file_time_type time) {
  const auto system = std::chrono::file_clock::to_sys(time).time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(system).count();
}

std::vector<fs::path> find_all(const std::vector<std::string>& folders) {
  std::vector<fs::path> out;
  std::error_code error;
  for (const std::string& folder : folders) {
    auto it = fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied, error);
    for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
      if (it.depth() >= kMaxDepth) it.disable_recursion_pending();
      if (it->path().filename() == "metrics.jsonl") out.push_back(it->path().parent_path());
    }
    error.clear();
  }
  return out;
}

}  // namespace

std::vector<RunSummary> Runs::list() const {
  std::vector<RunSummary> out;
  for (const fs::path& path : find_all(folders_)) {
    const fs::path file = path / "metrics.jsonl";
    const Json start = first_line(file);
    std::error_code error;
    const auto time = fs::last_write_time(file, error);
    if (error) continue;
    RunSummary run{.id = id_of(path), .path = path, .kind = "pretrain", .updated = milliseconds(time)};
    if (start.is_object()) {
      run.steps = integer(start, "steps");
      if (start.contains("kind") && start["kind"].is_string()) run.kind = start["kind"];
    }
    run.step = last_step(file);
    out.push_back(std::move(run));
  }
  std::sort(out.begin(), out.end(),
            [](const RunSummary& a, const RunSummary& b) { return a.updated > b.updated; });
  return out;
}

std::optional<fs::path> Runs::find(const std::string& id) const {
  for (const fs::path& path : find_all(folders_))
    if (id_of(path) == id) return path;
  return std::nullopt;
}

std::optional<Runs::Lines> Runs::read(const std::string& id, int64_t from) {
  const auto path = find(id);
  if (!path) return std::nullopt;
  const std::lock_guard lock(mutex_);
  Index& index = indices_[id];
  std::ifstream in(*path / "metrics.jsonl", std::ios::ate);
  const auto size = static_cast<int64_t>(in.tellg());
  if (size < index.size) index = {};  // begun anew
  index.size = size;
  Lines out;
  // From the last line whose place is known.
  const int64_t known = std::min<int64_t>(from / kStride, static_cast<int64_t>(index.offsets.size()) - 1);
  int64_t line_number = known * kStride;
  in.seekg(index.offsets[static_cast<size_t>(known)]);
  for (std::string line;
       static_cast<int64_t>(out.metrics.size()) < kMaxLines && std::getline(in, line) && !in.eof();) {
    if (line_number >= from)
      if (Json json = parse_line(line); json.is_object()) out.metrics.push_back(std::move(json));
    ++line_number;
    if (line_number == static_cast<int64_t>(index.offsets.size()) * kStride)
      index.offsets.push_back(in.tellg());
  }
  out.lines = line_number;
  const Json start = first_line(*path / "metrics.jsonl");
  if (start.is_object() && start.contains("config")) out.config = start["config"];
  return out;
}

std::optional<Json> Runs::funnel(const std::string& id) const {
  const auto path = find(id);
  if (!path) return std::nullopt;
  for (const fs::path& file : {*path / "data/funnel.json", path->parent_path() / "data/funnel.json"}) {
    std::ifstream in(file);
    if (!in) continue;
    Json json = Json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (json.is_object()) return json;
  }
  return std::nullopt;
}

}  // namespace tumbler::chat
