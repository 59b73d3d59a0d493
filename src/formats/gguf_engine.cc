#include "formats/gguf_engine.h"

#include <vector>

#include "formats/gguf_model.h"

namespace tumbler::formats {

engine::Model load_packed_gguf(const GgufFile& file) {
  const nn::ModelConfig config = read_gguf_config(file);
  check_gguf_tensors(file, config);  // all shapes before any memory
  std::vector<engine::WeightSource> sources;
  for (const GgufSlot& slot : gguf_slots(config)) {
    const GgufTensor tensor = file.get_tensor(slot.name, slot.shape());
    sources.push_back({slot.parameter, slot.first_row, {tensor.type, slot.rows, slot.cols, tensor.bytes}});
    for (int64_t row = 0; slot.interleaved && row < slot.rows; ++row)
      sources.back().order.push_back(static_cast<int32_t>(gguf_row(row, config.head_dim)));
  }
  return engine::Model(config, sources);
}

}  // namespace tumbler::formats
