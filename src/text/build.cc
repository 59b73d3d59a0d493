#include "text/build.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <utility>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "io/file.h"
#include "io/file_lock.h"

namespace fs = std::filesystem;

namespace tumbler::text {
namespace {

constexpr int kManifestVersion = 1;

std::vector<InputFile> list_inputs(const std::vector<std::string>& patterns) {
  std::set<fs::path> paths;
  for (const std::string& pattern : patterns) {
    const std::vector<fs::path> found = io::glob(pattern);
    if (found.empty())
      throw Error("data build", "--input: nothing matches '{}'; give a file or a pattern in quotes", pattern);
    paths.insert(found.begin(), found.end());
  }
  std::vector<InputFile> inputs;
  for (const fs::path& path : paths) {
    std::error_code error;
    if (!fs::is_regular_file(path))
      throw Error("data build", "--input: {} is not a file; give files, or a pattern such as '{}/*.warc.gz'",
                  path.string(), path.string());
    const auto size = fs::file_size(path, error);
    if (error) throw Error("data build", "--input: {}: {}", path.string(), error.message());
    inputs.push_back({path.string(), static_cast<int64_t>(size)});
  }
  return inputs;
}

std::vector<Manifest::Part> plan_parts(const std::vector<InputFile>& inputs, int64_t part_bytes) {
  std::vector<Manifest::Part> parts;
  int64_t bytes = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool fits = !parts.empty() && bytes + inputs[i].size_bytes <= part_bytes;
    if (!fits) {
      parts.push_back({static_cast<int64_t>(i), 0});
      bytes = 0;
    }
    ++parts.back().count;
    bytes += inputs[i].size_bytes;
  }
  return parts;
}

nlohmann::ordered_json to_json(const Manifest& m) {
  nlohmann::ordered_json inputs = nlohmann::ordered_json::array(), parts = nlohmann::ordered_json::array();
  for (const InputFile& input : m.inputs)
    inputs.push_back({{"path", input.path}, {"size_bytes", input.size_bytes}});
  for (const Manifest::Part& part : m.parts) parts.push_back({{"first", part.first}, {"count", part.count}});
  return {{"version", kManifestVersion},
          {"recipe", m.recipe},
          {"options", config::to_json(m.options)},
          {"inputs", inputs},
          {"parts", parts}};
}

// The first difference, in words.
std::string difference(const nlohmann::json& before, const nlohmann::json& now) {
  for (const auto& change : nlohmann::json::diff(before, now)) {
    const std::string path = change.at("path");
    const nlohmann::json::json_pointer pointer(path);
    if (path.starts_with("/inputs") || path.starts_with("/parts"))
      return fmt::format("its {} input files have changed (now {}, first change {})",
                         before.at("inputs").size(), now.at("inputs").size(), path);
    return fmt::format("{} was {} and is {}", path.substr(1),
                       before.contains(pointer) ? before.at(pointer).dump() : "absent",
                       now.contains(pointer) ? now.at(pointer).dump() : "absent");
  }
  return "nothing that has a name";
}

// Writes the manifest, or checks that the one which is there says the same.
void freeze_manifest(const Manifest& manifest, const fs::path& output) {
  const fs::path path = output / "manifest.json";
  const std::string text = to_json(manifest).dump(1) + "\n";
  if (!fs::exists(path)) {
    if (fs::exists(output / "funnel.json"))
      throw Error("data build", "{}: has a funnel.json and no manifest; choose another --output",
                  output.string());
    io::write_file(path, text);
    return;
  }
  const std::string before = io::read_file(path);
  if (before == text) return;
  const auto parsed = nlohmann::json::parse(before, nullptr, false);
  if (parsed.is_discarded() || !parsed.contains("inputs"))
    throw Error("data build", "{}: damaged; choose another --output or remove it", path.string());
  throw Error("data build", "{} holds another build: {}; choose another --output, or remove it to build anew",
              output.string(), difference(parsed, nlohmann::json::parse(text)));
}

void expect_documents(const Funnel& funnel, const fs::path& output) {
  if (funnel.documents > 0) return;
  const int64_t pages = funnel.at(Filter::kRead).pages_in;
  if (pages == 0)
    throw Error("data build",
                "{}: the input has no pages ({} records of other kinds); give WARC, WET, HTML or JSONL files "
                "with pages",
                output.string(), funnel.skipped_records);
  throw Error("data build",
              "{}: none of {} pages was kept; dropped by {}; look at a page with `tumbler data explain`",
              output.string(), pages, funnel.top_reasons(5));
}

}  // namespace

fs::path detail::part_path(const fs::path& folder, int64_t part, std::string_view ending) {
  return folder / fmt::format("{:05}{}", part, ending);
}

Manifest read_manifest(const fs::path& output) {
  const fs::path path = output / "manifest.json";
  try {
    const auto json = nlohmann::json::parse(io::read_file(path));
    Manifest m;
    m.recipe = json.at("recipe");
    config::from_json(m.options, json.at("options"), path.string());
    for (const auto& input : json.at("inputs"))
      m.inputs.push_back({input.at("path"), input.at("size_bytes")});
    for (const auto& part : json.at("parts")) m.parts.push_back({part.at("first"), part.at("count")});
    return m;
  } catch (const nlohmann::json::exception& error) {
    throw Error("data", "{}: not the manifest of a build ({})", path.string(), error.what());
  }
}

Funnel read_funnel(const fs::path& output) {
  const fs::path path = output / "funnel.json";
  if (!fs::exists(path))
    throw Error("data", "{}: there is no finished build (no funnel.json); run `tumbler data build` first",
                output.string());
  try {
    return funnel_from_json(nlohmann::json::parse(io::read_file(path)));
  } catch (const nlohmann::json::exception& error) {
    throw Error("data", "{}: damaged ({})", path.string(), error.what());
  }
}

BuildResult build(const BuildConfig& config, Progress& progress) {
  if (config.world < 1 || config.rank < 0 || config.rank >= config.world)
    throw Error("data build", "--rank {} of --world {}: expected 0 <= rank < world", config.rank,
                config.world);
  check_options(config.options);
  const int threads = config.threads > 0
                          ? config.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  Manifest manifest{config.recipe, config.options, list_inputs(config.inputs), {}};
  manifest.parts = plan_parts(manifest.inputs, config.part_bytes);
  io::make_directories(config.output / "parts");
  // One process a rank and output.
  const io::FileLock lock(
      config.output / (config.merge_only ? ".lock.merge" : fmt::format(".lock.rank{}", config.rank)),
      "data build", "another process is building this; wait for it, or give ranks of their own");
  freeze_manifest(manifest, config.output);

  BuildResult result;
  result.parts = static_cast<int64_t>(manifest.parts.size());
  const bool merges = config.world == 1 || config.merge_only;
  if (fs::exists(config.output / "funnel.json")) {
    result.funnel = read_funnel(config.output);
    result.was_done = result.whole = true;
    fs::remove_all(config.output / "parts");
    expect_documents(result.funnel, config.output);
    return result;
  }
  std::vector<int64_t> missing;
  for (int64_t part = 0; part < result.parts; ++part) {
    const bool mine = config.merge_only || part % config.world == config.rank;
    if (!mine) continue;
    if (const std::optional<Funnel> done = detail::finished_part(config.output, part))
      result.funnel.merge(*done);
    else
      missing.push_back(part);
  }
  if (config.merge_only && !missing.empty())
    throw Error("data build", "{} of {} parts are not made yet (first: {}); run all ranks before --merge",
                missing.size(), result.parts, missing[0]);
  for (const int64_t part : missing)
    io::remove_temporaries(config.output / "parts", fmt::format("{:05}.", part));
  if (!missing.empty()) {
    detail::make_parts(manifest, config.output, missing, threads, config.memory_mb, progress);
    for (const int64_t part : missing)
      if (const std::optional<Funnel> done = detail::finished_part(config.output, part))
        result.funnel.merge(*done);
  }
  result.parts_made = static_cast<int64_t>(missing.size());
  result.was_done = missing.empty() && !merges;
  if (!merges) return result;
  for (const char* folder : {"", "documents", "removed"}) io::remove_temporaries(config.output / folder);
  result.funnel = detail::merge_parts(manifest, config.output, threads, config.memory_mb, progress);
  result.whole = true;
  fs::remove_all(config.output / "parts");
  expect_documents(result.funnel, config.output);
  return result;
}

}  // namespace tumbler::text
