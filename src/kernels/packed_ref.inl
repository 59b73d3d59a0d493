// packed.h in plain loops, with the very arithmetic that the header promises: other instruction sets have to
// agree to the bit.

void packed_round_input(const PackedInput& inp, int64_t first_row, int64_t end_row) {
  const int64_t blocks = inp.K / kSmallBlock;
  for (int64_t i = first_row * blocks; i < end_row * blocks; ++i) {
    const float* x = inp.values + i * kSmallBlock;
    float amax = 0;
    for (int j = 0; j < kSmallBlock; ++j) amax = std::max(amax, std::fabs(x[j]));
    const float factor = amax > kLeastInput ? 127.0f / amax : 0;
    int32_t halves[2] = {0, 0};
    for (int j = 0; j < kSmallBlock; ++j) {
      const auto q = static_cast<int8_t>(std::clamp(std::nearbyint(x[j] * factor), -128.0f, 127.0f));
      inp.q[i * kSmallBlock + j] = q;
      constexpr int kPlace[] = {0, 2, 1, 3};
      inp.q16[i * kSmallBlock + j / 4 * 4 + kPlace[j % 4]] = q;
      halves[j / 16] += q;
    }
    inp.scale[i] = amax / 127.0f;
    inp.sums[3 * i] = halves[0] + halves[1];
    inp.sums[3 * i + 1] = halves[0];
    inp.sums[3 * i + 2] = halves[1];
    inp.scaled_sum[i] = inp.scale[i] * static_cast<float>(halves[0] + halves[1]);
  }
}

// The weight of lane `row`, column `k` of a group, offset taken off.
int32_t packed_weight(const uint8_t* group, const PackedFormat& format, int64_t row, int64_t k) {
  const uint8_t* block = group + k / kSmallBlock * format.weight_bytes;
  const int64_t j = k % kSmallBlock, step = j / 4, at = row * 4 + j % 4;
  if (format.bits == 8) return block[step * kStepBytes + at] - format.offset;
  int32_t q = block[step % 4 * kStepBytes + at] >> (step < 4 ? 0 : 4) & 15;
  if (format.bits == 5) q |= (block[4 * kStepBytes + at] >> step & 1) << 4;
  if (format.bits == 6) q |= (block[(4 + step / 4) * kStepBytes + at] >> (2 * (step % 4)) & 3) << 4;
  return q - format.offset;
}

float packed_f16(const uint8_t* at, int64_t row) {
  return to_float(f16{{at[2 * row], at[2 * row + 1]}});
}

float packed_quantised_dot(const PackedProduct& product, const PackedInput& inp, const uint8_t* group,
                           int64_t row, int64_t n) {
  const WeightType type = product.weights.type;
  const PackedFormat format = packed_format(type);
  const int64_t blocks = inp.K / kSmallBlock;
  const uint8_t* scales = group + blocks * format.weight_bytes;
  float sum = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t* at = scales + (format.has_supers ? b / 8 : b) * format.scale_bytes;
    const float x = inp.scale[n * blocks + b];
    int32_t dots[2] = {0, 0};
    for (int64_t k = b * kSmallBlock; k < (b + 1) * kSmallBlock; ++k)
      dots[k % kSmallBlock / 16] += packed_weight(group, format, row, k) * inp.q[n * inp.K + k];
    const float d = packed_f16(at, row);
    if (type == WeightType::q6_k) {
      for (int64_t half = 0; half < 2; ++half)
        sum =
            std::fma(d * static_cast<float>(static_cast<int8_t>(at[32 + (b % 8 * 2 + half) * 16 + row])) * x,
                     static_cast<float>(dots[half]), sum);
      continue;
    }
    const uint8_t* parts = at + 64 + b % 8 * 32;
    const float scale = format.has_supers ? d * static_cast<float>(parts[row]) : d;
    sum = std::fma(scale * x, static_cast<float>(dots[0] + dots[1]), sum);
    if (!format.has_min) continue;
    const float m = packed_f16(at + 32, row);
    sum = std::fma(format.has_supers ? -(m * static_cast<float>(parts[16 + row])) : m,
                   inp.scaled_sum[n * blocks + b], sum);
  }
  return sum;
}

float packed_float_dot(const PackedProduct& product, const PackedInput& inp, const uint8_t* group,
                       int64_t row, int64_t n) {
  float sum = 0;
  for (int64_t k = 0; k < inp.K; ++k) {
    const int64_t i = k * kPackedRows + row;
    float w;
    if (product.weights.type == WeightType::f32)
      std::copy_n(group + 4 * i, 4, reinterpret_cast<uint8_t*>(&w));
    else if (product.weights.type == WeightType::f16)
      w = packed_f16(group, i);
    else
      w = to_float(bf16{static_cast<uint16_t>(group[2 * i] | group[2 * i + 1] << 8)});
    sum = std::fma(w, inp.values[n * inp.K + k], sum);
  }
  return sum;
}

void packed_multiply(const PackedProduct& product, const PackedInput& inp, int64_t begin, int64_t end,
                     uint8_t*) {
  const PackedWeights& w = product.weights;
  const int64_t size = packed_group_bytes(w.type, w.cols);
  for (int64_t row = begin * kPackedRows; row < std::min(w.rows, end * kPackedRows); ++row) {
    const auto* group = reinterpret_cast<const uint8_t*>(w.data) + row / kPackedRows * size;
    for (int64_t n = 0; n < inp.N; ++n) {
      const auto dot = is_quantised(w.type) ? packed_quantised_dot : packed_float_dot;
      product.out[n * product.out_stride + row] = dot(product, inp, group, row % kPackedRows, n) +
                                                  (product.bias == nullptr ? 0.0f : product.bias[row]);
    }
  }
}

constexpr PackedOps make_packed_ops() {
  return {.round_input = packed_round_input, .multiply = packed_multiply};
}
