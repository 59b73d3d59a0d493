#include "formats/hugging_face.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/check.h"
#include "base/error.h"
#include "io/file.h"

namespace tumbler::formats {
namespace {

namespace fs = std::filesystem;

// A tensor in model.safetensors and the rows of one of ours that it holds.
struct FileTensor {
  std::string name;
  const nn::Tensor* tensor;
  int64_t first_row, rows;
  bool transposed;  // stored (cols, rows): GPT-2's Conv1D
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
  const bool gpt2 = parameters.config().family == "gpt2";
  std::vector<FileTensor> all;
  for (const nn::Tensor& t : parameters.tensors()) {
    if (gpt2) {
      all.push_back({gpt2_name(t.name), &t, 0, t.rows, t.kind == nn::TensorKind::matrix});
    } else {
      for (const nn::RowSlice& s : t.slices) all.push_back({s.name, &t, s.first_row, s.rows, false});
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
void add_transposed(SafetensorsWriter& writer, const FileTensor& f, std::span<const float> values,
                    kernels::DType type) {
  const TensorType stored = type == kernels::DType::bf16 ? TensorType::BF16 : TensorType::F32;
  writer.add(f.name, stored, f.shape(),
             [values, rows = f.rows, cols = f.tensor->cols, type](const SafetensorsWriter::Sink& sink) {
               std::vector<float> turned(values.size());
               transpose(turned, values, rows, cols);
               if (type == kernels::DType::f32) return sink(std::as_bytes(std::span(turned)));
               std::vector<kernels::bf16> rounded(turned.size());
               std::transform(turned.begin(), turned.end(), rounded.begin(),
                              [](float x) { return kernels::to_bf16(x); });
               sink(std::as_bytes(std::span(rounded)));
             });
}

// Under its name, or without the prefix of the head's class, as the first releases of GPT-2 have it.
const TensorInfo* find_tensor(const SafetensorsFile& file, const std::string& name) {
  if (const TensorInfo* info = file.find(name)) return info;
  constexpr std::string_view kPrefixes[] = {"transformer.", "model."};
  for (const std::string_view prefix : kPrefixes) {
    if (name.starts_with(prefix)) return file.find(std::string_view(name).substr(prefix.size()));
  }
  return nullptr;
}

// Buffers that old files carry and that follow from the configuration, and the head of a tied model.
bool superfluous(std::string_view name, const nn::ModelConfig& config) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
         name.ends_with("rotary_emb.inv_freq") || (config.tied && name == "lm_head.weight");
}

void load_tensors(const SafetensorsFile& file, nn::Parameters& parameters) {
  std::set<std::string_view> used;
  std::vector<float> stored;
  for (const FileTensor& f : file_tensors(parameters)) {
    const TensorInfo* found = find_tensor(file, f.name);
    const TensorInfo& info = file.get(found != nullptr ? found->name : f.name, f.shape());
    const std::span<float> values = parameters.master(*f.tensor).subspan(f.begin(), f.count());
    if (f.transposed) {
      stored.resize(values.size());
      file.read(info, stored);
      transpose(values, stored, f.tensor->cols, f.rows);
    } else {
      file.read(info, values);
    }
    used.insert(info.name);
  }
  for (const TensorInfo& info : file.tensors()) {
    if (!used.contains(info.name) && !superfluous(info.name, parameters.config())) {
      throw Error(
          "model",
          "{}: got tensor '{}', which this architecture has no place for; does config.json belong to it?",
          file.path().string(), info.name);
    }
  }
}

}  // namespace

void save_model(const fs::path& directory, const nn::Parameters& parameters, const ModelFiles& files) {
  io::make_directories(directory);
  SafetensorsWriter writer;
  for (const FileTensor& f : file_tensors(parameters)) {
    const std::span<const float> values = parameters.master(*f.tensor).subspan(f.begin(), f.count());
    if (f.transposed)
      add_transposed(writer, f, values, files.dtype);
    else
      writer.add(f.name, f.shape(), values, files.dtype);
  }
  writer.write(directory / "model.safetensors");
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
  const fs::path path = directory / "model.safetensors";
  if (!fs::exists(path)) throw Error("model", "{}: no model.safetensors in it", directory.string());
  const SafetensorsFile file(path);
  model.parameters = std::make_unique<nn::Parameters>(model.config, options);
  load_tensors(file, *model.parameters);
  model.parameters->refresh_copy();
  return model;
}

}  // namespace tumbler::formats
