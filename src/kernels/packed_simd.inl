// packed.h on vectors: 16 rows of weights against some columns of inputs at a time. Nothing is summed over
// lanes.

constexpr int kRowVecs = static_cast<int>(kPackedRows / kLanes);
constexpr int kVecBytes = static_cast<int>(kLanes * 4);
// Inputs that share a pass over the weights: sums of 16 bits and a weight stay in registers.
constexpr int kInputTile = kLanes == 8 ? 4 : 8;
// From so many inputs on, a group's weights are unpacked once instead of in each pass.
constexpr int64_t kUnpackFrom = 3;

// Weights of step s of a block of 32 columns, from packed bits.
template <int kBits>
struct PackedSteps {
  static constexpr int64_t kBlockBytes = (kBits == 8 ? 8 : kBits == 4 ? 4 : kBits == 5 ? 5 : 6) * kStepBytes;
  template <int kStep>
  static TUMBLER_INLINE Bytes weights(const uint8_t* block) {
    const Bytes byte = load_bytes(block + kStep % 4 * kStepBytes);
    const Bytes low = (kStep < 4 ? byte : shift_right<4>(byte)) & 0x0f;
    if constexpr (kBits == 4) return low;
    if constexpr (kBits == 5)
      return low | (shift_right<kStep - 4>(load_bytes(block + 4 * kStepBytes)) & 0x10);
    if constexpr (kBits == 6)
      return low |
             (shift_right<2 * (kStep % 4) - 4>(load_bytes(block + (4 + kStep / 4) * kStepBytes)) & 0x30);
  }
};
template <>
struct PackedSteps<8> {
  static constexpr int64_t kBlockBytes = 8 * kStepBytes;
  template <int kStep>
  static TUMBLER_INLINE Bytes weights(const uint8_t* block) {
    return load_bytes(block + kStep * kStepBytes);
  }
  // Its low and high 4 bits.
  template <int kStep, int kHigh>
  static TUMBLER_INLINE Bytes half(const uint8_t* block) {
    return shift_right<4 * kHigh>(weights<kStep>(block)) & 0x0f;
  }
};
// The same, unpacked: one byte a weight.
template <int kBits>
struct PlainSteps {
  static constexpr int64_t kBlockBytes = 8 * kStepBytes;
  template <int kStep>
  static TUMBLER_INLINE Bytes weights(const uint8_t* block) {
    return load_bytes(block + kStep * kStepBytes);
  }
};

// Weights of 8 bits as 16, their 128 taken off: steps of 2 columns.
struct WideSteps {
  static constexpr int64_t kBlockBytes = 16 * kStepBytes;
};

template <int kCols>
struct Inputs {
  const int8_t* q[kCols];  // of a block
  const int16_t* q16[kCols];
};

template <int kCols>
struct Dots {
  Dot at[kRowVecs][kCols];
};
template <int kCols>
struct Totals {
  Ints at[kRowVecs][kCols];
};

template <int kCols>
TUMBLER_INLINE void clear(Dots<kCols>& dots) {
  TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) TUMBLER_UNROLL for (int c = 0; c < kCols; ++c)
      dots.at[v][c] = zero_dot();
}
// totals += dots, which begin anew; kShift: times 2^kShift.
template <int kCols, int kShift = 0>
TUMBLER_INLINE void flush(Totals<kCols>& totals, Dots<kCols>& dots) {
  TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) TUMBLER_UNROLL for (int c = 0; c < kCols; ++c)
      totals.at[v][c] = totals.at[v][c] + shift_left<kShift>(total(dots.at[v][c]));
  clear(dots);
}
// weights(v) of columns 4 kStep.. of the block, times inputs.
template <int kStep, int kCols, class Weights>
TUMBLER_INLINE void add_step(Dots<kCols>& dots, const Inputs<kCols>& inp, Weights weights) {
  Bytes w[kRowVecs];
  TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) w[v] = weights(v);
  TUMBLER_UNROLL for (int c = 0; c < kCols; ++c) {
    const Bytes x = broadcast4(inp.q[c] + 4 * kStep);
    TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) dots.at[v][c] = add_dot(dots.at[v][c], w[v], x);
  }
}
template <class Steps, int kStep, int kCols>
TUMBLER_INLINE void add_weights(Dots<kCols>& dots, const Inputs<kCols>& inp, const uint8_t* block) {
  add_step<kStep>(dots, inp, [&](int v) TUMBLER_INLINE_LAMBDA {
    return Steps::template weights<kStep>(block + v * kVecBytes);
  });
}
template <class Steps, int kStep, int kHigh, int kCols>
TUMBLER_INLINE void add_halves(Dots<kCols>& dots, const Inputs<kCols>& inp, const uint8_t* block) {
  add_step<kStep>(dots, inp, [&](int v) TUMBLER_INLINE_LAMBDA {
    return Steps::template half<kStep, kHigh>(block + v * kVecBytes);
  });
}
// All steps of 4 bits of weights of 8.
template <class Steps, int kHigh, int kCols>
TUMBLER_INLINE void add_all_halves(Totals<kCols>& totals, const Inputs<kCols>& inp, const uint8_t* block) {
  // Inputs are loaded again for the other half: kept, they would be spilled.
  __asm__ volatile("" ::: "memory");
  Dots<kCols> dots;
  clear(dots);
  add_halves<Steps, 0, kHigh>(dots, inp, block);
  add_halves<Steps, 1, kHigh>(dots, inp, block);
  add_halves<Steps, 2, kHigh>(dots, inp, block);
  add_halves<Steps, 3, kHigh>(dots, inp, block);
  add_halves<Steps, 4, kHigh>(dots, inp, block);
  add_halves<Steps, 5, kHigh>(dots, inp, block);
  add_halves<Steps, 6, kHigh>(dots, inp, block);
  add_halves<Steps, 7, kHigh>(dots, inp, block);
  flush<kCols, 4 * kHigh>(totals, dots);
}

// All steps of 2 columns of weights of 16 bits.
template <int kCols>
TUMBLER_INLINE void wide_dot(Totals<kCols>& totals, const Inputs<kCols>& inp, const uint8_t* block) {
  TUMBLER_UNROLL for (int step = 0; step < 16; ++step) {
    Bytes w[kRowVecs];
    TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) w[v] =
        load_bytes(block + step * kStepBytes + v * kVecBytes);
    TUMBLER_UNROLL for (int c = 0; c < kCols; ++c) {
      const Bytes x = broadcast_pair(inp.q16[c] + 2 * step);
      TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) {
        totals.at[v][c] = totals.at[v][c] + pair_products16(w[v], x);
        pin(&totals.at[v][c].v);
      }
    }
  }
}

// totals[half] += dot products of columns 16 half .. of a block; both into totals[0] unless kHalves.
template <int kBits, bool kHalves, class Steps, int kCols>
TUMBLER_INLINE void block_dot(Totals<kCols>* totals, const Inputs<kCols>& inp, const uint8_t* block) {
  if constexpr (std::is_same_v<Steps, WideSteps>) {
    wide_dot(totals[0], inp, block);
  } else if constexpr (kBits == 8 && !kDotWhole) {
    add_all_halves<Steps, 0>(totals[0], inp, block);
    add_all_halves<Steps, 1>(totals[0], inp, block);
  } else {
    // After how many steps 16 bits are full.
    constexpr int kFull = kDotWhole || kBits == 4 ? 8 : kBits == 5 ? 4 : 2;
    Dots<kCols> dots;
    clear(dots);
    add_weights<Steps, 0>(dots, inp, block);
    add_weights<Steps, 1>(dots, inp, block);
    if constexpr (kFull == 2) flush(totals[0], dots);
    add_weights<Steps, 2>(dots, inp, block);
    add_weights<Steps, 3>(dots, inp, block);
    if constexpr (kFull <= 4 || kHalves) flush(totals[0], dots);
    Totals<kCols>& second = totals[kHalves ? 1 : 0];
    add_weights<Steps, 4>(dots, inp, block);
    add_weights<Steps, 5>(dots, inp, block);
    if constexpr (kFull == 2) flush(second, dots);
    add_weights<Steps, 6>(dots, inp, block);
    add_weights<Steps, 7>(dots, inp, block);
    flush(second, dots);
  }
}

template <int kCols>
TUMBLER_INLINE void clear(Totals<kCols>& totals) {
  TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) TUMBLER_UNROLL for (int c = 0; c < kCols; ++c)
      totals.at[v][c] = zero_ints();
}
// The dot product with weights less `offset`: less that many times the sum of the inputs.
template <int kOffset>
TUMBLER_INLINE Vec without(Ints dot, const int32_t* sum) {
  if constexpr (kOffset == 0) return to_vec(dot);
  constexpr int kShift = kOffset == 8 ? 3 : kOffset == 16 ? 4 : kOffset == 32 ? 5 : 7;
  static_assert(kOffset == 0 || 1 << kShift == kOffset);
  return to_vec(dot - shift_left<kShift>(set_ints(*sum)));
}

// One vector's share of the scales of a block.
struct BlockScales {
  Vec d[2];  // of the halves; d[1] only where they differ
  Vec m;
};
template <WeightType kType>
TUMBLER_INLINE BlockScales load_scales(const uint8_t* scales, int64_t b, int v) {
  constexpr PackedFormat kFormat = packed_format(kType);
  const int64_t lane = v * kLanes;
  const uint8_t* at = scales + (kFormat.has_supers ? b / 8 : b) * kFormat.scale_bytes;
  BlockScales s;
  s.d[0] = load_f16(at + lane * 2);
  if constexpr (kType == WeightType::q6_k) {
    const uint8_t* parts = at + 32 + b % 8 * 32 + lane;
    s.d[1] = s.d[0] * load_i8(parts + 16);
    s.d[0] = s.d[0] * load_i8(parts);
  } else if constexpr (kFormat.has_supers) {
    const uint8_t* parts = at + 64 + b % 8 * 32 + lane;
    s.d[0] = s.d[0] * load_u8(parts);
    s.m = zero() - load_f16(at + 32 + lane * 2) * load_u8(parts + 16);
  } else if constexpr (kFormat.has_min) {
    s.m = load_f16(at + 32 + lane * 2);
  }
  return s;
}

struct PackedTile {
  const uint8_t *weights, *scales;  // of a group
  int64_t first, rows;              // of the product: rows of this group
};

template <int kCols>
TUMBLER_INLINE void store_tile(const PackedProduct& product, const PackedTile& tile, int64_t n,
                               const Vec (&sums)[kRowVecs][kCols]) {
  TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) {
    const int64_t row = tile.first + v * kLanes, count = tile.rows - v * kLanes;
    if (count <= 0) return;
    const auto put = [&](auto part) TUMBLER_INLINE_LAMBDA {
      const Vec bias = product.bias == nullptr ? zero() : load(product.bias + row, part);
      for (int c = 0; c < kCols; ++c)
        store(product.out + (n + c) * product.out_stride + row, sums[v][c] + bias, part);
    };
    if (count >= kLanes)
      put(All{});
    else
      put(First{count});
  }
}

// Inputs n..n+kCols-1 times the rows of a group.
template <WeightType kType, class Steps, int kCols>
void multiply_tile(const PackedProduct& product, const PackedInput& inp, const PackedTile& tile, int64_t n) {
  constexpr PackedFormat kFormat = packed_format(kType);
  constexpr bool kHalves = kType == WeightType::q6_k;
  constexpr int kOffset = std::is_same_v<Steps, WideSteps> ? 0 : kFormat.offset;
  const int64_t blocks = inp.K / kSmallBlock;
  Vec sums[kRowVecs][kCols];
  TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) TUMBLER_UNROLL for (int c = 0; c < kCols; ++c)
      sums[v][c] = zero();
  for (int64_t b = 0; b < blocks; ++b) {
    Inputs<kCols> block;
    TUMBLER_UNROLL for (int c = 0; c < kCols; ++c) {
      block.q[c] = inp.q + (n + c) * inp.K + b * kSmallBlock;
      block.q16[c] = inp.q16 + (n + c) * inp.K + b * kSmallBlock;
    }
    if constexpr (kCols <= 2) {
      // The processor's own prefetcher stops at the end of a page.
      const uint8_t* ahead = tile.weights + b * Steps::kBlockBytes + 4096;
      for (int64_t i = 0; i < Steps::kBlockBytes; i += 64) __builtin_prefetch(ahead + i);
    }
    Totals<kCols> totals[2];
    clear(totals[0]);
    if constexpr (kHalves) clear(totals[1]);
    block_dot<kFormat.bits, kHalves, Steps>(totals, block, tile.weights + b * Steps::kBlockBytes);
    TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) {
      const BlockScales scales = load_scales<kType>(tile.scales, b, v);
      TUMBLER_UNROLL for (int c = 0; c < kCols; ++c) {
        const int64_t i = (n + c) * blocks + b;
        const Vec x = set(inp.scale[i]);
        const int32_t* sum = inp.sums + 3 * i + (kHalves ? 1 : 0);
        sums[v][c] = fma(scales.d[0] * x, without<kOffset>(totals[0].at[v][c], sum), sums[v][c]);
        if constexpr (kHalves)
          sums[v][c] = fma(scales.d[1] * x, without<kOffset>(totals[1].at[v][c], sum + 1), sums[v][c]);
        if constexpr (kFormat.has_min)
          sums[v][c] = fma(scales.m, set(inp.scaled_sum[(n + c) * blocks + b]), sums[v][c]);
      }
    }
  }
  store_tile<kCols>(product, tile, n, sums);
}

// All N inputs, kInputTile at a time; multiply<kCols>(n).
template <class Multiply>
TUMBLER_INLINE void for_column_tiles(int64_t N, Multiply multiply) {
  int64_t n = 0;
  for (; n + kInputTile <= N; n += kInputTile) multiply.template operator()<kInputTile>(n);
  if constexpr (kInputTile == 8)
    if (n + 4 <= N) {
      multiply.template operator()<4>(n);
      n += 4;
    }
  if (n + 2 <= N) {
    multiply.template operator()<2>(n);
    n += 2;
  }
  if (n < N) multiply.template operator()<1>(n);
}

template <int kBits>
TUMBLER_INLINE void unpack_block(uint8_t* to, const uint8_t* block) {
  using Packed = PackedSteps<kBits>;
  const auto step = [&]<int kStep>() TUMBLER_INLINE_LAMBDA {
    TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) {
      uint8_t* at = to + kStep * kStepBytes + v * kVecBytes;
      const uint8_t* from = block + v * kVecBytes;
      if constexpr (kBits == 8) {
        const Bytes w = Packed::template weights<kStep>(from) ^ 0x80;
        store_bytes(at + kStep * kStepBytes, lower_bytes(w));
        store_bytes(at + (kStep + 1) * kStepBytes, upper_bytes(w));
      } else {
        store_bytes(at, Packed::template weights<kStep>(from));
      }
    }
  };
  step.template operator()<0>(), step.template operator()<1>(), step.template operator()<2>(),
      step.template operator()<3>();
  step.template operator()<4>(), step.template operator()<5>(), step.template operator()<6>(),
      step.template operator()<7>();
}

template <WeightType kType>
void multiply_quantised(const PackedProduct& product, const PackedInput& inp, int64_t begin, int64_t end,
                        uint8_t* scratch) {
  constexpr int kBits = packed_format(kType).bits;
  using Packed = PackedSteps<kBits>;
  using Plain = std::conditional_t<kBits == 8, WideSteps, PlainSteps<kBits>>;
  const PackedWeights& w = product.weights;
  const int64_t size = packed_group_bytes(kType, w.cols), blocks = w.cols / kSmallBlock;
  for (int64_t g = begin; g < end; ++g) {
    const auto* group = reinterpret_cast<const uint8_t*>(w.data) + g * size;
    const int64_t first = g * kPackedRows, left = w.rows - first;
    PackedTile tile{group, group + blocks * Packed::kBlockBytes, first,
                    left < kPackedRows ? left : kPackedRows};
    if (inp.N < kUnpackFrom || (kBits == 8 && kDotWhole)) {
      for_column_tiles(inp.N, [&]<int kCols>(int64_t n) TUMBLER_INLINE_LAMBDA {
        multiply_tile<kType, Packed, kCols>(product, inp, tile, n);
      });
      continue;
    }
    for (int64_t b = 0; b < blocks; ++b)
      unpack_block<kBits>(scratch + b * Plain::kBlockBytes, group + b * Packed::kBlockBytes);
    tile.weights = scratch;
    const uint8_t* ahead = group + size;
    const int64_t lines = (size / 64 * kInputTile + inp.N - 1) / inp.N;
    for_column_tiles(inp.N, [&]<int kCols>(int64_t n) TUMBLER_INLINE_LAMBDA {
      // The next group comes from memory while this one is multiplied.
      for (int64_t i = 0; i < lines; ++i) __builtin_prefetch(ahead + (n / kInputTile * lines + i) * 64, 0, 2);
      multiply_tile<kType, Plain, kCols>(product, inp, tile, n);
    });
  }
}

template <WeightType kType>
TUMBLER_INLINE Vec load_weights(const uint8_t* group, int64_t i) {
  if constexpr (kType == WeightType::f32) return load(reinterpret_cast<const float*>(group) + i, All{});
  if constexpr (kType == WeightType::bf16) return load(reinterpret_cast<const bf16*>(group) + i, All{});
  if constexpr (kType == WeightType::f16) return load_f16(group + 2 * i);
}

template <WeightType kType, int kCols>
void multiply_float_tile(const PackedProduct& product, const PackedInput& inp, const PackedTile& tile,
                         int64_t n) {
  Vec sums[kRowVecs][kCols];
  TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) TUMBLER_UNROLL for (int c = 0; c < kCols; ++c)
      sums[v][c] = zero();
  const float* x = inp.values + n * inp.K;
  for (int64_t k = 0; k < inp.K; ++k) {
    Vec w[kRowVecs];
    TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) w[v] =
        load_weights<kType>(tile.weights, k * kPackedRows + v * kLanes);
    TUMBLER_UNROLL for (int c = 0; c < kCols; ++c) {
      const Vec value = set(x[c * inp.K + k]);
      TUMBLER_UNROLL for (int v = 0; v < kRowVecs; ++v) sums[v][c] = fma(w[v], value, sums[v][c]);
    }
  }
  store_tile<kCols>(product, tile, n, sums);
}

template <WeightType kType>
void multiply_floats(const PackedProduct& product, const PackedInput& inp, int64_t begin, int64_t end) {
  const PackedWeights& w = product.weights;
  const int64_t size = packed_group_bytes(kType, w.cols);
  for (int64_t g = begin; g < end; ++g) {
    const auto* group = reinterpret_cast<const uint8_t*>(w.data) + g * size;
    const int64_t first = g * kPackedRows, left = w.rows - first;
    const PackedTile tile{group, nullptr, first, left < kPackedRows ? left : kPackedRows};
    for_column_tiles(inp.N, [&]<int kCols>(int64_t n) TUMBLER_INLINE_LAMBDA {
      multiply_float_tile<kType, kCols>(product, inp, tile, n);
    });
  }
}

inline void packed_multiply(const PackedProduct& product, const PackedInput& inp, int64_t begin, int64_t end,
                            uint8_t* scratch) {
  switch (product.weights.type) {
    case WeightType::f32:
      return multiply_floats<WeightType::f32>(product, inp, begin, end);
    case WeightType::f16:
      return multiply_floats<WeightType::f16>(product, inp, begin, end);
    case WeightType::bf16:
      return multiply_floats<WeightType::bf16>(product, inp, begin, end);
    case WeightType::q8_0:
      return multiply_quantised<WeightType::q8_0>(product, inp, begin, end, scratch);
    case WeightType::q4_0:
      return multiply_quantised<WeightType::q4_0>(product, inp, begin, end, scratch);
    case WeightType::q4_1:
      return multiply_quantised<WeightType::q4_1>(product, inp, begin, end, scratch);
    case WeightType::q5_0:
      return multiply_quantised<WeightType::q5_0>(product, inp, begin, end, scratch);
    case WeightType::q5_1:
      return multiply_quantised<WeightType::q5_1>(product, inp, begin, end, scratch);
    case WeightType::q4_k:
      return multiply_quantised<WeightType::q4_k>(product, inp, begin, end, scratch);
    case WeightType::q5_k:
      return multiply_quantised<WeightType::q5_k>(product, inp, begin, end, scratch);
    case WeightType::q6_k:
      return multiply_quantised<WeightType::q6_k>(product, inp, begin, end, scratch);
  }
}

inline void packed_round_input(const PackedInput& inp, int64_t first_row, int64_t end_row) {
  const int64_t blocks = inp.K / kSmallBlock;
  for (int64_t i = first_row * blocks; i < end_row * blocks; ++i) {
    const float* x = inp.values + i * kSmallBlock;
    int8_t* q = inp.q + i * kSmallBlock;
    Vec largest = zero();
    for (int j = 0; j < kSmallBlock; j += kLanes) largest = max(largest, abs(load(x + j, All{})));
    const float amax = max(largest);
    inp.scale[i] = amax / 127.0f;
    const Vec factor = set(amax > kLeastInput ? 127.0f / amax : 0);
    // Sums of whole numbers below 2^24: exact in f32.
    int32_t halves[2];
    for (int half = 0; half < 2; ++half) {
      Vec total = zero();
      for (int j = 16 * half; j < 16 * (half + 1); j += kLanes) {
        const Vec rounded = round_to_integer(load(x + j, All{}) * factor);
        store_rounded(q + j, rounded);
        total = total + rounded;
      }
      halves[half] =
          static_cast<int32_t>(sum(min(total, set(2048.0f))));  // a number even where inputs are not
    }
    store_wide(inp.q16 + i * kSmallBlock, q);
    store_wide(inp.q16 + i * kSmallBlock + 16, q + 16);
    inp.sums[3 * i] = halves[0] + halves[1];
    inp.sums[3 * i + 1] = halves[0];
    inp.sums[3 * i + 2] = halves[1];
    inp.scaled_sum[i] = inp.scale[i] * static_cast<float>(halves[0] + halves[1]);
  }
}

constexpr PackedOps make_packed_ops() {
  return {.round_input = packed_round_input, .multiply = packed_multiply};
}
