#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/log.h"
#include "io/file.h"

namespace fs = std::filesystem;

namespace tumbler::train {
namespace {

constexpr const char* kChecksums = "checksums.json";

std::string hash_of(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with("step_")) return std::nullopt;
  int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size() || step < 0) return std::nullopt;
  return step;
}

void sync_file(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw Error("checkpoint", "{}: cannot open{}", path.string(), errno_text());
  const bool synced = ::fsync(fd) == 0;
  const std::string why = errno_text();
  ::close(fd);
  if (!synced) throw Error("checkpoint", "{}: fsync failed{}", path.string(), why);
}

void rename_directory(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error)
    throw Error("checkpoint", "{}: cannot rename to {} ({})", from.string(), to.string(), error.message());
}

void write_checksums(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  nlohmann::ordered_json sums = nlohmann::ordered_json::object();
  for (const fs::path& file : files) {
    sync_file(file);
    const io::MappedFile mapped(file);
    sums[file.filename().string()] = {{"size", mapped.bytes().size()}, {"xxh3_128", hash_of(mapped.text())}};
  }
  const std::string text = sums.dump();
  io::write_file(directory / kChecksums,
                 nlohmann::ordered_json{{"files", sums}, {"xxh3_128", hash_of(text)}}.dump(1) + "\n");
}

std::optional<std::string> find_file_damage(const fs::path& file, const nlohmann::ordered_json& entry) {
  const std::string name = file.filename().string();
  if (!entry.is_object() || !entry.contains("size") || !entry.contains("xxh3_128"))
    return fmt::format("{} has no entry for {}", kChecksums, name);
  if (!fs::is_regular_file(file)) return fmt::format("{} is missing", name);
  const io::MappedFile mapped(file);
  if (mapped.bytes().size() != entry["size"])
    return fmt::format("{} has {} bytes, expected {}", name, mapped.bytes().size(), entry["size"].dump());
  if (hash_of(mapped.text()) != entry["xxh3_128"])
    return fmt::format("{} is not what was written (its hash differs)", name);
  return std::nullopt;
}

}  // namespace

std::vector<Checkpoint> list_checkpoints(const fs::path& run) {
  std::vector<Checkpoint> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run, error))
    if (const auto step = step_of(entry.path().filename().string()); step && entry.is_directory())
      found.push_back({*step, entry.path()});
  std::sort(found.begin(), found.end(),
            [](const Checkpoint& a, const Checkpoint& b) { return a.step > b.step; });
  return found;
}

std::optional<std::string> find_damage(const fs::path& checkpoint) try {
  const fs::path path = checkpoint / kChecksums;
  if (!fs::is_regular_file(path)) return fmt::format("{} is missing", kChecksums);
  const auto json = nlohmann::ordered_json::parse(io::read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("files") || !json["files"].is_object() ||
      !json.contains("xxh3_128"))
    return fmt::format("{} is not what was written", kChecksums);
  if (json["xxh3_128"] != hash_of(json["files"].dump()))
    return fmt::format("{} is not what was written", kChecksums);
  for (const auto& [name, entry] : json["files"].items())
    if (auto damage = find_file_damage(checkpoint / name, entry)) return damage;
  return std::nullopt;
} catch (const std::exception& error) {
  return error.what();
}

std::optional<Checkpoint> find_latest(const fs::path& run) {
  const std::vector<Checkpoint> all = list_checkpoints(run);
  for (const Checkpoint& checkpoint : all) {
    const auto damage = find_damage(checkpoint.directory);
    if (!damage) return checkpoint;
    fs::path aside = checkpoint.directory;
    aside += ".damaged";
    std::error_code ignored;
    fs::remove_all(aside, ignored);
    rename_directory(checkpoint.directory, aside);
    log::warn("[checkpoint] {}: damaged: {}; moved to {}, trying the one before it",
              checkpoint.directory.string(), *damage, aside.filename().string());
  }
  if (!all.empty())
    throw Error(
        "checkpoint",
        "{}: got {} checkpoints, all damaged; expected one that is whole; copy one back from a backup or "
        "start in another directory",
        run.string(), all.size());
  return std::nullopt;
}

fs::path write_checkpoint(const fs::path& run, int64_t step,
                          const std::function<void(const fs::path&)>& write_files) {
  const fs::path final_path = run / fmt::format("step_{:06}", step);
  fs::path temporary = final_path;
  temporary += ".tmp";
  std::error_code ignored;
  fs::remove_all(temporary, ignored);
  io::make_directories(temporary);
  try {
    write_files(temporary);
    write_checksums(temporary);
    io::sync_directory(temporary);
    rename_directory(temporary, final_path);
  } catch (...) {
    fs::remove_all(temporary, ignored);
    throw;
  }
  io::sync_directory(run);
  return final_path;
}

void remove_old_checkpoints(const fs::path& run, int64_t keep) {
  const std::vector<Checkpoint> all = list_checkpoints(run);
  for (size_t i = static_cast<size_t>(std::max<int64_t>(keep, 1)); i < all.size(); ++i) {
    // Renamed first: half a checkpoint never has a checkpoint's name.
    fs::path doomed = all[i].directory;
    doomed += ".tmp";
    std::error_code error;
    fs::remove_all(doomed, error);
    rename_directory(all[i].directory, doomed);
    fs::remove_all(doomed, error);
    if (error) log::warn("[checkpoint] {}: cannot remove ({})", doomed.string(), error.message());
  }
}

void remove_leftovers(const fs::path& run) {
  std::vector<fs::path> leftovers;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run, error)) {
    const fs::path& path = entry.path();
    if (path.extension() == ".tmp" && step_of(path.stem().string())) leftovers.push_back(path);
  }
  for (const fs::path& path : leftovers) fs::remove_all(path, error);
}

fs::path get_model_directory(const fs::path& path) {
  if (fs::exists(path / "config.json")) return path;
  for (const Checkpoint& checkpoint : list_checkpoints(path)) {
    const auto damage = find_damage(checkpoint.directory);
    if (!damage) return checkpoint.directory;
    log::warn("[model] {}: damaged: {}; trying the checkpoint before it", checkpoint.directory.string(),
              *damage);
  }
  throw Error("model",
              "{}: got neither config.json nor a whole step_N directory, expected a Hugging Face directory "
              "or a run of "
              "tumbler pretrain",
              path.string());
}

}  // namespace tumbler::train
