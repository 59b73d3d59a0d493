#include "chat/server/runs.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <set>

#include <fmt/format.h>

namespace tumbler::chat {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 4;
constexpr int64_t kMaxEntries = 200'000;  // of all folders together: a disk is not a folder of runs
constexpr int64_t kStride = 256;
constexpr int64_t kTail = 64;                    // bytes that tell whether a file is the one that was read
constexpr int64_t kChunk = 1 << 20;              // bytes
constexpr int64_t kMaxJson = int64_t{16} << 20;  // bytes of a line, and of a funnel

// FNV-1a, of the path: an id that names no file.
std::string id_of(const fs::path& path) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : path.string()) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{:016x}", hash);
}

Json parse(std::string_view text) {
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

int64_t integer(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

// Up to `size` bytes from `offset` on.
std::string read_part(const fs::path& file, int64_t offset, int64_t size) {
  std::string out(static_cast<size_t>(size), '\0');
  std::ifstream in(file, std::ios::binary);
  in.seekg(offset);
  in.read(out.data(), size);
  out.resize(static_cast<size_t>(std::max<std::streamsize>(in.gcount(), 0)));
  return out;
}

// Whole lines from `at` on, and where each ends, until `use` says false. A line that has no end within
// kMaxJson is none of ours, nor is what follows it.
template <class Use>
void for_lines(const fs::path& file, int64_t at, const Use& use) {
  for (std::string buffer;;) {
    const size_t searched = buffer.size();
    const std::string more = read_part(file, at + static_cast<int64_t>(searched), kChunk);
    buffer += more;
    size_t begin = 0;
    for (size_t end = buffer.find('\n', searched); end != std::string::npos; end = buffer.find('\n', begin)) {
      if (!use(std::string_view(buffer).substr(begin, end - begin), at + static_cast<int64_t>(end) + 1))
        return;
      begin = end + 1;
    }
    at += static_cast<int64_t>(begin);
    buffer.erase(0, begin);
    if (more.empty() || static_cast<int64_t>(buffer.size()) > kMaxJson) return;
  }
}

int64_t size_of(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  return error ? 0 : static_cast<int64_t>(size);
}

// What the first line says; an empty object where it is not there yet.
Json read_start(const fs::path& file) {
  const std::string part = read_part(file, 0, kChunk);
  const size_t end = part.find('\n');
  Json json = end == std::string::npos ? Json() : parse(std::string_view(part).substr(0, end));
  return json.is_object() ? json : Json::object();
}

// The step of the last whole line that has one.
int64_t last_step(const fs::path& file) {
  const int64_t size = size_of(file), begin = std::max<int64_t>(0, size - kChunk);
  const std::string part = read_part(file, begin, size - begin);
  for (size_t end = part.rfind('\n'); end != std::string::npos && end > 0;) {
    const size_t before = part.rfind('\n', end - 1);
    const size_t from = before == std::string::npos ? 0 : before + 1;
    if (const Json json = parse(std::string_view(part).substr(from, end - from));
        json.is_object() && json.contains("step"))
      return integer(json, "step");
    end = before;
  }
  return 0;
}

int64_t changed_at(const fs::path& file) {
  std::error_code error;
  const auto time = fs::last_write_time(file, error);
  if (error) return 0;
  const auto system = std::chrono::file_clock::to_sys(time).time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(system).count();
}

fs::path metrics_of(const fs::path& run) {
  return run / "metrics.jsonl";
}

// Directories of trainings, and of data that none was begun with.
std::set<fs::path> find_runs(const std::vector<std::string>& folders) {
  std::set<fs::path> runs;
  int64_t entries = 0;
  for (const std::string& folder : folders) {
    std::error_code error;
    auto it = fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied, error);
    for (; !error && it != fs::recursive_directory_iterator() && ++entries < kMaxEntries;
         it.increment(error)) {
      const fs::path& path = it->path();
      const std::string name = path.filename().string();
      // Checkpoints are many, and hold no runs.
      if (it.depth() >= kMaxDepth || name.starts_with("step_") || name.starts_with('.'))
        it.disable_recursion_pending();
      if (name == "metrics.jsonl") {
        runs.insert(path.parent_path());
      } else if (name == "funnel.json") {
        const fs::path data = path.parent_path(), run = data.filename() == "data" ? data.parent_path() : data;
        if (!fs::exists(metrics_of(run / "base"), error)) runs.insert(run);
        error.clear();
      }
    }
  }
  return runs;
}

fs::path find_funnel(const fs::path& run) {
  for (const fs::path& file :
       {run / "funnel.json", run / "data/funnel.json", run.parent_path() / "data/funnel.json"}) {
    std::error_code error;
    if (fs::is_regular_file(file, error)) return file;
  }
  return {};
}

RunSummary summarise(const fs::path& path) {
  const fs::path log = metrics_of(path);
  std::error_code error;
  if (!fs::exists(log, error))
    return {.id = id_of(path), .path = path, .kind = "data", .updated = changed_at(find_funnel(path))};
  const Json start = read_start(log);
  const auto kind = start.find("kind");
  return {.id = id_of(path),
          .path = path,
          .kind = kind != start.end() && kind->is_string() ? kind->get<std::string>() : "pretrain",
          .step = last_step(log),
          .steps = integer(start, "steps"),
          .updated = changed_at(log)};
}

}  // namespace

std::vector<RunSummary> Runs::list() const {
  std::vector<RunSummary> out;
  for (const fs::path& path : find_runs(folders_)) out.push_back(summarise(path));
  std::stable_sort(out.begin(), out.end(),
                   [](const RunSummary& a, const RunSummary& b) { return a.updated > b.updated; });
  const std::lock_guard lock(mutex_);
  for (const RunSummary& run : out) paths_[run.id] = run.path;
  return out;
}

std::optional<fs::path> Runs::find(const std::string& id) const {
  for (const bool look : {false, true}) {
    if (look) list();  // it may be new
    const std::lock_guard lock(mutex_);
    if (const auto found = paths_.find(id); found != paths_.end()) return found->second;
  }
  return std::nullopt;
}

std::optional<Runs::Lines> Runs::read(const std::string& id, int64_t from) {
  const auto path = find(id);
  if (!path) return std::nullopt;
  const fs::path log = metrics_of(*path);
  const std::lock_guard lock(mutex_);
  Index& index = indices_[id];
  Lines out;
  const auto tail_size = static_cast<int64_t>(index.tail.size());
  if (read_part(log, index.end - tail_size, tail_size) != index.tail) {
    index = {};
    if (from > 0) return out;
  }
  const Json start = read_start(log);
  if (const auto config = start.find("config"); config != start.end()) out.config = *config;

  // From the last line before `from` whose place is known.
  const bool known = from < index.lines;
  out.lines = known ? from / kStride * kStride : index.lines;
  const int64_t begin = known ? index.offsets[static_cast<size_t>(from / kStride)] : index.end;
  int64_t taken = 0;
  for_lines(log, begin, [&](std::string_view line, int64_t end) {
    if (out.lines++ >= from) {
      taken += static_cast<int64_t>(line.size());
      if (Json json = parse(line); json.is_object()) out.metrics.push_back(std::move(json));
    }
    if (out.lines > index.lines) {
      index.lines = out.lines;
      index.end = end;
      if (index.lines % kStride == 0) index.offsets.push_back(end);
    }
    return static_cast<int64_t>(out.metrics.size()) < kMaxLines && taken < kMaxBytes;
  });
  const int64_t size = std::min(index.end, kTail);
  index.tail = read_part(log, index.end - size, size);
  return out;
}

std::optional<Json> Runs::funnel(const std::string& id) const {
  const auto path = find(id);
  if (!path) return std::nullopt;
  const fs::path file = find_funnel(*path);
  if (file.empty() || size_of(file) > kMaxJson) return std::nullopt;
  Json json = parse(read_part(file, 0, kMaxJson));
  return json.is_object() ? std::optional(std::move(json)) : std::nullopt;
}

}  // namespace tumbler::chat
