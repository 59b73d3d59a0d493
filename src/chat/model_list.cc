#include "chat/model_list.h"

#include <algorithm>
#include <fstream>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "formats/chat_template_files.h"
#include "formats/gguf.h"
#include "formats/gguf_model.h"
#include "formats/hugging_face.h"
#include "formats/safetensors.h"

namespace tumbler::chat {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxDepth = 6;                           // models/owner/name/file.gguf, with some room
constexpr int64_t kReserveBytes = int64_t{256} << 20;  // activations, the tokenizer, the program

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
  model.context = std::min(config.max_positions, kListedContext);
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

}  // namespace

int64_t FoundModel::needed_bytes() const {
  return size_bytes + cache_bytes + kReserveBytes;
}

int64_t available_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  for (int64_t kilobytes = 0; file >> name >> kilobytes; std::getline(file, unit))
    if (name == "MemAvailable:") return kilobytes * 1024;
  throw Error("models", "/proc/meminfo: no MemAvailable in it, expected Linux 3.14 or newer");
}

FoundModel look_at_model(const fs::path& path) {
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

std::vector<FoundModel> find_models(const std::vector<std::string>& folders) {
  std::vector<fs::path> paths;
  for (const std::string& folder : folders) {
    if (!fs::exists(folder)) throw Error("models", "{}: no such folder", folder);
    collect(folder, paths);
  }
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  std::vector<FoundModel> models;
  for (const fs::path& path : paths) models.push_back(look_at_model(path));
  return models;
}

const FoundModel* recommend(const std::vector<FoundModel>& models, int64_t available) {
  const FoundModel* best = nullptr;
  const auto rank = [](const FoundModel& m) { return std::tuple(m.chats, m.parameters, -m.size_bytes); };
  for (const FoundModel& model : models)
    if (model.error.empty() && model.needed_bytes() <= available &&
        (best == nullptr || rank(model) > rank(*best)))
      best = &model;
  return best;
}

}  // namespace tumbler::chat
