// tumbler models: what is here, and what of it this machine can run.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/commands.h"
#include "formats/chat_template_files.h"
#include "formats/gguf.h"
#include "formats/gguf_model.h"
#include "formats/hugging_face.h"
#include "formats/safetensors.h"

namespace tumbler::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 6;                           // models/owner/name/file.gguf, with some room
constexpr int64_t kReserveBytes = int64_t{256} << 20;  // activations, the tokenizer, the program
constexpr int64_t kContext = 8192;  // tokens, as tumbler chat has them unless told otherwise

struct Flags {
  std::vector<std::string> folders;
  bool json = false;
};

struct FoundModel {
  fs::path path;
  std::string error;  // empty: it can be read
  std::string family, weights;
  int64_t parameters = 0, size_bytes = 0, context = 0, cache_bytes = 0;
  bool chats = false;
  int64_t needed_bytes() const { return size_bytes + cache_bytes + kReserveBytes; }
};

// Memory that programs can have without others being put out of it.
int64_t available_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  for (int64_t kilobytes = 0; file >> name >> kilobytes; std::getline(file, unit))
    if (name == "MemAvailable:") return kilobytes * 1024;
  throw Error("models", "/proc/meminfo: no MemAvailable in it, expected Linux 3.14 or newer");
}

// "bf16", or "q4_1 (187), f32 (61)" by number of matrices.
std::string join_types(std::vector<std::pair<std::string, int64_t>> counts) {
  std::stable_sort(counts.begin(), counts.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (counts.size() == 1) return counts[0].first;
  std::string out;
  for (const auto& [type, count] : counts)
    out += fmt::format("{}{} ({})", out.empty() ? "" : ", ", type, count);
  return out;
}

void count_type(std::vector<std::pair<std::string, int64_t>>& counts, std::string type) {
  for (auto& [name, count] : counts)
    if (name == type) {
      ++count;
      return;
    }
  counts.emplace_back(std::move(type), 1);
}

// Keys and values in bf16.
void set_config(FoundModel& model, const nn::ModelConfig& config) {
  model.family = config.family;
  model.context = std::min(config.max_positions, kContext);
  model.cache_bytes = config.n_layer * 2 * config.n_kv_head * config.head_dim * 2 * model.context;
}

void read_gguf(FoundModel& model) {
  const formats::GgufFile file(model.path);
  set_config(model, formats::read_gguf_config(file));
  model.chats = file.find_text("tokenizer.chat_template").has_value();
  std::vector<std::pair<std::string, int64_t>> types;
  for (int64_t i = 0; i < file.contents().tensor_count(); ++i) {
    const formats::GgufTensor tensor = file.contents().tensor(i);
    model.parameters += tensor.count();
    if (tensor.shape.size() > 1) count_type(types, kernels::weight_type_name(tensor.type));
  }
  model.weights = join_types(std::move(types));
  model.size_bytes = static_cast<int64_t>(fs::file_size(model.path));
}

void read_directory(FoundModel& model) {
  set_config(model, formats::load_config(model.path));
  model.chats = !formats::read_chat_template(model.path).empty();
  std::vector<std::pair<std::string, int64_t>> types;
  for (const fs::directory_entry& entry : fs::directory_iterator(model.path)) {
    if (entry.path().extension() != ".safetensors") continue;
    const formats::SafetensorsFile file(entry.path());
    model.size_bytes += static_cast<int64_t>(entry.file_size());
    for (const formats::TensorInfo& tensor : file.tensors()) {
      model.parameters += tensor.count();
      if (tensor.shape.size() > 1) count_type(types, formats::tensor_type_name(tensor.type));
    }
  }
  if (types.empty()) throw Error("models", "{}: no .safetensors in it", model.path.string());
  model.weights = join_types(std::move(types));
}

FoundModel look_at(const fs::path& path) {
  FoundModel model;
  model.path = path;
  try {
    if (fs::is_directory(path))
      read_directory(model);
    else
      read_gguf(model);
  } catch (const std::exception& error) {
    model.error = error.what();
  }
  return model;
}

bool is_model(const fs::directory_entry& entry) {
  if (entry.is_directory()) return fs::exists(entry.path() / "config.json");
  return entry.is_regular_file() && entry.path().extension() == ".gguf";
}

void collect(const fs::path& folder, std::vector<fs::path>& paths) {
  const fs::directory_entry self(folder);
  if (is_model(self)) {
    paths.push_back(folder);
    if (!self.is_directory()) return;
  }
  if (!self.is_directory()) throw Error("models", "{}: got no folder and no model", folder.string());
  for (auto it = fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied);
       it != fs::recursive_directory_iterator(); ++it) {
    if (is_model(*it)) paths.push_back(it->path());
    if (it.depth() >= kMaxDepth) it.disable_recursion_pending();
  }
}

std::vector<FoundModel> find_models(const std::vector<std::string>& folders) {
  std::vector<fs::path> paths;
  for (const std::string& folder : folders) {
    if (!fs::exists(folder)) throw Error("models", "{}: no such folder", folder);
    collect(folder, paths);
  }
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  std::vector<FoundModel> models;
  for (const fs::path& path : paths) models.push_back(look_at(path));
  return models;
}

// Of those that fit: one that can chat, then the one with most parameters, then the smallest file.
const FoundModel* recommend(const std::vector<FoundModel>& models, int64_t available) {
  const FoundModel* best = nullptr;
  const auto rank = [](const FoundModel& m) { return std::tuple(m.chats, m.parameters, -m.size_bytes); };
  for (const FoundModel& model : models)
    if (model.error.empty() && model.needed_bytes() <= available &&
        (best == nullptr || rank(model) > rank(*best)))
      best = &model;
  return best;
}

std::string size_text(int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  return value >= 1e9 ? fmt::format("{:.1f} GB", value / 1e9) : fmt::format("{:.0f} MB", value / 1e6);
}

std::string count_text(int64_t n) {
  const auto value = static_cast<double>(n);
  if (value >= 1e9) return fmt::format("{:.1f}B", value / 1e9);
  return value >= 1e6 ? fmt::format("{:.0f}M", value / 1e6) : fmt::format("{:.0f}K", value / 1e3);
}

Json to_json(const FoundModel& model, int64_t available, const FoundModel* recommended) {
  if (!model.error.empty()) return {{"path", model.path.string()}, {"error", model.error}};
  return {{"path", model.path.string()},
          {"family", model.family},
          {"parameters", model.parameters},
          {"size_bytes", model.size_bytes},
          {"weights", model.weights},
          {"context", model.context},
          {"memory_bytes", model.needed_bytes()},
          {"fits", model.needed_bytes() <= available},
          {"chat", model.chats},
          {"recommended", &model == recommended}};
}

void print_table(const std::vector<FoundModel>& models, int64_t available) {
  size_t width = 5;
  for (const FoundModel& model : models)
    if (model.error.empty()) width = std::max(width, model.path.string().size());
  std::string out = fmt::format("{:{}}  {:7} {:>10} {:>8}  {:>8}  {:5} {:4}  weights\n", "model", width,
                                "family", "parameters", "on disk", "memory", "fits", "chat");
  for (const FoundModel& m : models)
    if (m.error.empty())
      out += fmt::format("{:{}}  {:7} {:>10} {:>8}  {:>8}  {:5} {:4}  {}\n", m.path.string(), width, m.family,
                         count_text(m.parameters), size_text(m.size_bytes), size_text(m.needed_bytes()),
                         m.needed_bytes() <= available ? "yes" : "no", m.chats ? "yes" : "no", m.weights);
  for (const FoundModel& m : models)
    if (!m.error.empty()) out += fmt::format("{}: cannot be opened: {}\n", m.path.string(), m.error);
  std::fputs(out.c_str(), stdout);
}

void print_advice(const std::vector<FoundModel>& models, const FoundModel* best, int64_t available) {
  std::string line;
  if (models.empty())
    line = "No models here. tumbler pull hf:owner/name brings one to models/.";
  else if (best == nullptr)
    line = fmt::format(
        "None of these fits the {} of memory that are free. A smaller one, or one quantised further "
        "(tumbler convert), may.",
        size_text(available));
  else
    line = fmt::format(
        "{} is what to take: the largest here that fits the {} of memory that are free{}. Try: "
        "tumbler {} --model {}{}",
        best->path.string(), size_text(available),
        best->chats ? " and was made to chat" : "; it continues texts, none here chats",
        best->chats ? "chat" : "generate", best->path.string(),
        best->chats ? "" : " --prompt \"Once upon a time\"");
  std::puts(line.c_str());
}

void run(const Flags& flags) {
  std::vector<std::string> folders = flags.folders;
  if (folders.empty() && fs::is_directory("models")) folders.emplace_back("models");
  const std::vector<FoundModel> models = find_models(folders);
  const int64_t available = available_bytes();
  const FoundModel* best = recommend(models, available);
  if (flags.json) {
    Json list = Json::array();
    for (const FoundModel& model : models) list.push_back(to_json(model, available, best));
    const Json all = {{"memory_available_bytes", available}, {"models", std::move(list)}};
    std::puts(all.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
    return;
  }
  if (!models.empty()) print_table(models, available);
  print_advice(models, best, available);
}

}  // namespace

void add_models(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "models", "What models are here, how large, and which of them this machine can run.");
  command->add_option("FOLDER", flags->folders, "folders to look through, or models; default: models");
  command->add_flag("--json", flags->json, "print JSON");
  command->footer(
      fmt::format("Memory is that of weights, of keys and values for {} tokens, and some more.", kContext));
  command->callback([flags] { run(*flags); });
}

}  // namespace tumbler::cli
