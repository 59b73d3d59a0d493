// GgufContents::parse on any bytes: no crash, and whatever it accepts lies within the file and can be read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "formats/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tumbler;
  const auto file = std::as_bytes(std::span(data, size));
  const auto contents = formats::GgufContents::parse(file);
  if (!contents) return 0;
  // 8 bytes a key and 16 a tensor, at most what these take in the file.
  if (static_cast<size_t>(8 * contents->key_count() + 16 * contents->tensor_count()) > size) std::abort();
  uint64_t sum = 0;
  for (int64_t i = 0; i < contents->key_count(); ++i) {
    const auto value = contents->find(contents->key(i));
    if (!value) std::abort();
    if (value->is_array_of_text())
      value->for_each_text([&](std::string_view text) {
        for (const char c : text) sum += static_cast<unsigned char>(c);
      });
    if (value->integer(value->count - 1)) ++sum;
    if (value->number(0)) ++sum;
  }
  for (int64_t i = 0; i < contents->tensor_count(); ++i) {
    const formats::GgufTensor tensor = contents->tensor(i);
    const auto found = contents->find_tensor(tensor.name);
    if (!found || found->bytes.data() != tensor.bytes.data()) std::abort();
    if (tensor.bytes.data() < file.data() || tensor.bytes.data() + tensor.bytes.size() > file.data() + size)
      std::abort();
    const kernels::PackedMatrix m = tensor.matrix();
    if (m.rows * kernels::row_bytes(m.type, m.cols) != static_cast<int64_t>(tensor.bytes.size()))
      std::abort();
    float block[kernels::kSuperBlock];
    kernels::dequantize(block, m.bytes.data(), m.type, kernels::block_elements(m.type));
  }
  return sum == ~uint64_t{0} ? 1 : 0;
}
