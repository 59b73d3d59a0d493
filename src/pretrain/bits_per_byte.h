// Bits per byte: how many bits the model needs for a byte of text it has not seen, the same unit whatever the
// tokenizer, and that of gzip and xz (8 / compression ratio).  Gao et al. 2020 (The Pile),
// arXiv:2101.00027, 3.1.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "dist/group.h"
#include "nn/transformer.h"

namespace tumbler::pretrain {

struct BitsPerByte {
  double value = 0;
  double low = 0, high = 0;  // 95 % interval over windows (of a ratio of sums), 0 to 8+
  double loss = 0;           // nats a token
  int64_t windows = 0, tokens = 0, bytes = 0;
};

struct HeldOutOptions {
  int64_t B = 8, T = 512;      // windows at a time, tokens a window
  int64_t max_tokens = 0;      // evaluate this many from the start; 0: all
  bool mask_documents = true;  // as in training
};

// Every token of the shards but each shard's first is predicted once, from at most T tokens before it in its
// window of T. The bits of all tokens count, those of document ends too; bytes are those of the tokens' text,
// `byte_lengths` (vocabulary; special tokens have 0). Ranks share the windows and all get the result. Throws
// Error where there is nothing to predict.
BitsPerByte evaluate_bits_per_byte(nn::Transformer& transformer,
                                   std::span<const std::filesystem::path> shards,
                                   std::span<const int32_t> byte_lengths, const HeldOutOptions& options,
                                   dist::Group& group);

}  // namespace tumbler::pretrain
