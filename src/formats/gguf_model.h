// Models in GGUF files: metadata ↔ nn::ModelConfig, tensors ↔ nn::Parameters, for the architectures gpt2,
// llama, qwen2, qwen3 and gemma3 as llama.cpp names and lays them out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "formats/gguf.h"
#include "formats/hugging_face.h"
#include "tokens/tokenizer.h"

namespace tumbler::formats {

// Where a tensor of the file belongs.
struct GgufSlot {
  std::string name;       // in the file: "blk.3.attn_q.weight"
  std::string parameter;  // nn::Parameters' tensor that has its rows: "layers.3.qkv"
  int64_t first_row;      // in that tensor
  int64_t rows, cols;     // cols 1: a vector of `rows` elements
  bool interleaved;       // the rows of each head are in the order of interleaved rope: see gguf_row
  std::vector<int64_t> shape() const {
    return cols == 1 ? std::vector<int64_t>{rows} : std::vector<int64_t>{rows, cols};
  }
};
// Every tensor that a file of this configuration has, in the order in which they are written. Packed weights
// for an engine: file.get_tensor(slot.name, slot.shape()).
std::vector<GgufSlot> gguf_slots(const nn::ModelConfig& config);

// The row of the file's tensor that is row `row` of ours where slot.interleaved. Files of Llama models rotate
// neighbours (2i, 2i+1) of a head where others rotate (i, i + D/2): rows of q and k change places.
int64_t gguf_row(int64_t row, int64_t head_dim) noexcept;

// What llama.cpp multiplies a gemma3 model's scores by, which no key tells: 1/sqrt(head_dim), but in the 27B
// model (62 layers), whose heads are not n_embd/n_head wide, 1/sqrt(n_embd/n_head).
double gguf_gemma_score_scale(const nn::ModelConfig& config) noexcept;

// Throws Error on architectures, rope scalings and sizes that this program cannot run, and where the
// vocabulary and the embedding disagree. files.dtype is what
// loses nothing: bf16 where the file's matrices are bf16, else f32.
nn::ModelConfig read_gguf_config(const GgufFile& file, ModelFiles* files = nullptr);

// Throws Error: missing or superfluous tensors, wrong shapes.
void check_gguf_tensors(const GgufFile& file, const nn::ModelConfig& config);

// Weights unpacked to f32 (and the compute copy). Throws Error: missing or superfluous tensors, wrong shapes.
LoadedModel load_gguf(const GgufFile& file, const nn::ParametersOptions& options);

struct GgufOptions {
  kernels::WeightType type = kernels::WeightType::q8_0;  // of matrices
  std::string name;                                      // general.name
  std::string chat_template;
};
// How many tensors got which type, and why not the one asked for.
struct GgufSummary {
  int64_t size_bytes = 0;
  std::vector<std::pair<kernels::WeightType, int64_t>> tensors;  // by type, those that are there
  // "24 × q5_0: rows of 576 are not a multiple of 256"; and what llama.cpp reads otherwise.
  std::vector<std::string> fallbacks;
};
// Quantises on the way: one tensor at a time, never a second copy of the model. Norms, biases and learned
// positions stay f32. A type whose blocks do not fit a row falls back as llama.cpp's does: q4_k → q5_0,
// q5_k → q5_1, q6_k → q8_0, and what does not fit blocks of 32 to f16. With 4-bit types the head (or the
// embedding that serves as one) gets q6_k or q8_0. Throws Error on weights that are not finite and on what
// llama.cpp cannot run. Without a tokenizer (null) the file holds none.
GgufSummary save_gguf(const std::filesystem::path& path, const nn::Parameters& parameters,
                      const ModelFiles& files, const tokens::Tokenizer* tokenizer,
                      const GgufOptions& options);

}  // namespace tumbler::formats
