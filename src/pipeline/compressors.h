// What ordinary compressors need for the same held-out text: the yardstick beside a model's bits per byte.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tumbler::pipeline {

// zstd's longest window is 128 MiB: of a longer training text it can use no more.
constexpr size_t kLongestWindow = size_t{1} << 27;

struct Compressed {
  std::string name;  // "gzip -9", "xz -9", "zstd -19", "zstd -19 after reading the training text"
  double bits_per_byte = 0;
};

// Each compressor on `text` alone; with `training_text` (may be empty) also zstd with that text as its
// prefix, which is the fair comparison with a model that has read it. All in one thread. Empty text gives no
// results.
std::vector<Compressed> compress_baselines(std::string_view text, std::string_view training_text);

}  // namespace tumbler::pipeline
