#include "formats/hugging_face.h"

#include <algorithm>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "formats/gguf.h"
#include "io/file.h"

namespace tumbler::formats {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// A tensor in model.safetensors and the rows of one of ours that it holds.
struct FileTensor {
  std::string name;
  const nn::Tensor* tensor;
  int64_t first_row, rows;
  bool transposed;   // stored (cols, rows): GPT-2's Conv1D
  float offset = 0;  // added to what is stored: Gemma's norms keep their weight less 1
  std::vector<int64_t> shape() const {
    if (tensor->kind == nn::TensorKind::norm || tensor->kind == nn::TensorKind::bias) return {rows};
    return transposed ? std::vector<int64_t>{tensor->cols, rows} : std::vector<int64_t>{rows, tensor->cols};
  }
  size_t begin() const { return static_cast<size_t>(first_row * tensor->cols); }
  size_t count() const { return static_cast<size_t>(rows * tensor->cols); }
};

// "layers.3.qkv_bias" → "transformer.h.3.attn.c_attn.bias"
std::string gpt2_name(const std::string& name) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"attn_norm", "ln_1.weight"},     {"attn_norm_bias", "ln_1.bias"}, {"qkv", "attn.c_attn.weight"},
      {"qkv_bias", "attn.c_attn.bias"}, {"out", "attn.c_proj.weight"},   {"out_bias", "attn.c_proj.bias"},
      {"mlp_norm", "ln_2.weight"},      {"mlp_norm_bias", "ln_2.bias"},  {"up", "mlp.c_fc.weight"},
      {"up_bias", "mlp.c_fc.bias"},     {"down", "mlp.c_proj.weight"},   {"down_bias", "mlp.c_proj.bias"}};
  if (name == "embedding") return "transformer.wte.weight";
  if (name == "positions") return "transformer.wpe.weight";
  if (name == "final_norm") return "transformer.ln_f.weight";
  if (name == "final_norm_bias") return "transformer.ln_f.bias";
  if (name == "head") return "lm_head.weight";
  const size_t dot = name.rfind('.');
  const std::string_view part = std::string_view(name).substr(dot + 1);
  const auto* found =
      std::find_if(std::begin(kNames), std::end(kNames), [&](const auto& n) { return n.first == part; });
  CHECK(found != std::end(kNames), "{}", name);
  return "transformer.h" +
         name.substr(std::string_view("layers").size(), dot - std::string_view("layers").size() + 1) +
         std::string(found->second);
}

std::vector<FileTensor> file_tensors(const nn::Parameters& parameters) {
  const bool gpt2 = parameters.config().family == "gpt2", gemma = parameters.config().family == "gemma3";
  std::vector<FileTensor> all;
  for (const nn::Tensor& t : parameters.tensors()) {
    if (gpt2) {
      all.push_back({gpt2_name(t.name), &t, 0, t.rows, t.kind == nn::TensorKind::matrix});
    } else {
      const float offset = gemma && t.kind == nn::TensorKind::norm ? 1 : 0;
      for (const nn::RowSlice& s : t.slices) all.push_back({s.name, &t, s.first_row, s.rows, false, offset});
    }
  }
  return all;
}

// out (cols, rows) = inp (rows, cols) transposed, in blocks of 32 x 32 floats: both sides stay within the
// first-level cache.
void transpose(std::span<float> out, std::span<const float> inp, int64_t rows, int64_t cols) {
  constexpr int64_t kBlock = 32;
  for (int64_t i0 = 0; i0 < rows; i0 += kBlock)
    for (int64_t j0 = 0; j0 < cols; j0 += kBlock)
      for (int64_t i = i0; i < std::min(rows, i0 + kBlock); ++i)
        for (int64_t j = j0; j < std::min(cols, j0 + kBlock); ++j)
          out[static_cast<size_t>(j * rows + i)] = inp[static_cast<size_t>(i * cols + j)];
}

// Bytes of one tensor at a time pass through here: the largest transposed matrix, never the model.
void add_changed(SafetensorsWriter& writer, const FileTensor& f, std::span<const float> values,
                 kernels::DType type) {
  const TensorType stored = type == kernels::DType::bf16 ? TensorType::BF16 : TensorType::F32;
  writer.add(f.name, stored, f.shape(), [values, f, type](const SafetensorsWriter::Sink& sink) {
    std::vector<float> turned(values.begin(), values.end());
    if (f.transposed) transpose(turned, values, f.rows, f.tensor->cols);
    for (float& x : turned) x -= f.offset;
    if (type == kernels::DType::f32) return sink(std::as_bytes(std::span(turned)));
    std::vector<kernels::bf16> rounded(turned.size());
    std::transform(turned.begin(), turned.end(), rounded.begin(),
                   [](float x) { return kernels::to_bf16(x); });
    sink(std::as_bytes(std::span(rounded)));
  });
}

// The tensors of model.safetensors, or of the files that model.safetensors.index.json names.
class Tensors {
 public:
  explicit Tensors(const fs::path& directory) : directory_(directory) {
    const fs::path index = directory / "model.safetensors.index.json";
    if (!fs::exists(directory / "model.safetensors") && fs::exists(index)) {
      read_index(index);
    } else {
      if (!fs::exists(directory / "model.safetensors"))
        throw Error("model", "{}: no model.safetensors in it", directory.string());
      files_.emplace_back(directory / "model.safetensors");
    }
    for (const SafetensorsFile& file : files_)
      for (const TensorInfo& info : file.tensors())
        if (!by_name_.emplace(info.name, &file).second)
          throw Error("model", "{}: tensor '{}': got it in two files, expected one", directory.string(),
                      info.name);
  }

  const std::string* find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found != by_name_.end() ? &found->first : nullptr;
  }
  // Checks the shape. Throws Error where there is none of this name.
  void read(const std::string& name, const std::vector<int64_t>& shape, std::span<float> out) const {
    const auto found = by_name_.find(name);
    if (found == by_name_.end())
      throw Error("model", "{}: no tensor '{}'; does config.json belong to it?", directory_.string(), name);
    found->second->read(found->second->get(name, shape), out);
  }
  const std::map<std::string, const SafetensorsFile*>& all() const noexcept { return by_name_; }

 private:
  void read_index(const fs::path& path) {
    const nlohmann::json j = nlohmann::json::parse(io::read_file(path), nullptr, false);
    const auto map = j.is_object() ? j.find("weight_map") : j.end();
    if (!j.is_object() || map == j.end() || !map->is_object())
      throw Error(path.string(), "weight_map: missing, expected an object of tensors' files");
    std::set<std::string> names;
    for (const auto& [tensor, file] : map->items()) {
      // A file beside the index: names from outside must not lead elsewhere.
      if (!file.is_string() || fs::path(file.get<std::string>()).filename() != file.get<std::string>() ||
          !file.get<std::string>().ends_with(".safetensors"))
        throw Error(path.string(), "weight_map: got {} for '{}', expected the name of a .safetensors file",
                    printable(file.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)),
                    printable(tensor));
      names.insert(file.get<std::string>());
    }
    for (const std::string& name : names) files_.emplace_back(directory_ / name);
  }

  fs::path directory_;
  std::deque<SafetensorsFile> files_;
  std::map<std::string, const SafetensorsFile*> by_name_;
};

// The name in the file: as it should be; without the prefix of the head's class, as the first releases of
// GPT-2 have it; or within a model of text and images.
const std::string* find_tensor(const Tensors& tensors, const std::string& name) {
  if (const std::string* found = tensors.find(name)) return found;
  if (const std::string* found = tensors.find("language_model." + name)) return found;
  constexpr std::string_view kPrefixes[] = {"transformer.", "model."};
  for (const std::string_view prefix : kPrefixes) {
    if (!name.starts_with(prefix)) continue;
    const std::string rest = name.substr(prefix.size());
    if (const std::string* found = tensors.find(rest)) return found;
    if (const std::string* found = tensors.find("model.language_model." + rest)) return found;
  }
  return nullptr;
}

// Buffers that old files carry and that follow from the configuration, and the head of a tied model.
bool superfluous(std::string_view name, const nn::ModelConfig& config) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
         name.ends_with("rotary_emb.inv_freq") ||
         (config.tied && (name == "lm_head.weight" || name == "language_model.lm_head.weight"));
}

// Of the part that sees images.
bool visual(std::string_view name) {
  if (name.starts_with("model.")) name.remove_prefix(std::string_view("model.").size());
  return name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.");
}

void load_tensors(const Tensors& tensors, const fs::path& directory, nn::Parameters& parameters) {
  std::set<std::string_view> used;
  std::vector<float> stored;
  for (const FileTensor& f : file_tensors(parameters)) {
    const std::string* found = find_tensor(tensors, f.name);
    const std::string& name = found != nullptr ? *found : f.name;
    const std::span<float> values = parameters.master(*f.tensor).subspan(f.begin(), f.count());
    if (f.transposed) {
      stored.resize(values.size());
      tensors.read(name, f.shape(), stored);
      transpose(values, stored, f.tensor->cols, f.rows);
    } else {
      tensors.read(name, f.shape(), values);
    }
    if (f.offset != 0)  // adding 0 would make 0 of -0
      for (float& x : values) x += f.offset;
    if (found != nullptr) used.insert(*found);
  }
  int64_t ignored = 0;
  for (const auto& [name, file] : tensors.all()) {
    if (used.contains(name) || superfluous(name, parameters.config())) continue;
    if (parameters.config().family == "gemma3" && visual(name)) {
      ++ignored;
      continue;
    }
    throw Error(
        "model",
        "{}: got tensor '{}', which this architecture has no place for; does config.json belong to it?",
        file->path().string(), printable(name));
  }
  if (ignored > 0) log::info("{}: {} tensors for images are left out", directory.string(), ignored);
}

int64_t stored_bytes(const FileTensor& f, kernels::DType type) {
  return static_cast<int64_t>(f.count()) * (type == kernels::DType::bf16 ? 2 : 4);
}

// Tensors in order, in groups of at most shard_bytes (a larger tensor has one of its own).
std::vector<std::vector<FileTensor>> shards_of(const nn::Parameters& parameters, kernels::DType type,
                                               int64_t shard_bytes) {
  CHECK(shard_bytes > 0);
  std::vector<std::vector<FileTensor>> shards(1);
  int64_t filled = 0;
  for (const FileTensor& f : file_tensors(parameters)) {
    const int64_t bytes = stored_bytes(f, type);
    if (filled > 0 && filled + bytes > shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(f);
    filled += bytes;
  }
  return shards;
}

// What an earlier model of another number of files left: a reader would take it for a part of this one.
void remove_other_weights(const fs::path& directory, const std::set<std::string>& written) {
  if (written.size() == 1) fs::remove(directory / "model.safetensors.index.json");
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model") && name.ends_with(".safetensors") && !written.contains(name) &&
        (name == "model.safetensors" || name.starts_with("model-0")))
      fs::remove(entry.path());
  }
}

}  // namespace

void save_model(const fs::path& directory, const nn::Parameters& parameters, const ModelFiles& files,
                int64_t shard_bytes) {
  io::make_directories(directory);
  const std::vector<std::vector<FileTensor>> shards = shards_of(parameters, files.dtype, shard_bytes);
  ordered_json index{{"metadata", {{"total_size", 0}}}, {"weight_map", ordered_json::object()}};
  int64_t total = 0;
  std::set<std::string> written;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shards.size() == 1
                                 ? "model.safetensors"
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    SafetensorsWriter writer;
    for (const FileTensor& f : shards[i]) {
      const std::span<const float> values = parameters.master(*f.tensor).subspan(f.begin(), f.count());
      if (f.transposed || f.offset != 0)
        add_changed(writer, f, values, files.dtype);
      else
        writer.add(f.name, f.shape(), values, files.dtype);
      index["weight_map"][f.name] = name;
      total += stored_bytes(f, files.dtype);
    }
    writer.write(directory / name);
    written.insert(name);
  }
  remove_other_weights(directory, written);
  if (shards.size() > 1) {
    index["metadata"]["total_size"] = total;
    io::write_file(directory / "model.safetensors.index.json", index.dump(2) + "\n");
  }
  io::write_file(directory / "generation_config.json", generation_config_to_json(files));
  io::write_file(directory / "config.json", config_to_json(parameters.config(), files));
}

nn::ModelConfig load_config(const fs::path& directory, ModelFiles* files) {
  const fs::path path = directory / "config.json";
  if (!fs::exists(path))
    throw Error("model", "{}: no config.json in it; give a Hugging Face model directory", directory.string());
  nn::ModelConfig config = config_from_json(io::read_file(path), path.string(), files);
  const fs::path generation = directory / "generation_config.json";
  if (files != nullptr && fs::exists(generation)) {
    // What ends a generation may be listed there only.
    const nlohmann::json j = nlohmann::json::parse(io::read_file(generation), nullptr, false);
    if (!j.is_object()) throw Error(generation.string(), "got something that is not a JSON object");
    if (const auto eos = j.find("eos_token_id"); eos != j.end() && !eos->is_null()) {
      files->eos_token_ids.clear();
      for (const nlohmann::json& id : eos->is_array() ? *eos : nlohmann::json::array({*eos})) {
        if (!id.is_number_integer())
          throw Error(generation.string(), "eos_token_id: got {}, expected whole numbers", id.dump());
        files->eos_token_ids.push_back(id.get<int64_t>());
      }
    }
  }
  return config;
}

LoadedModel load_model(const fs::path& directory, const nn::ParametersOptions& options) {
  LoadedModel model;
  model.config = load_config(directory, &model.files);
  const Tensors tensors(directory);
  model.parameters = std::make_unique<nn::Parameters>(model.config, options);
  load_tensors(tensors, directory, *model.parameters);
  model.parameters->refresh_copy();
  return model;
}

}  // namespace tumbler::formats
