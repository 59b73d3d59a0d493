#include "kernels/quants.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/activation.h"
#include "kernels/quants_k.h"

namespace tumbler::kernels {
namespace {

struct TypeRow {
  WeightType type;
  const char* name;
  int64_t elements, bytes;
};
constexpr std::array kTypes = {
    TypeRow{WeightType::f32, "f32", 1, 4},
    TypeRow{WeightType::f16, "f16", 1, 2},
    TypeRow{WeightType::bf16, "bf16", 1, 2},
    TypeRow{WeightType::q8_0, "q8_0", kSmallBlock, sizeof(BlockQ8_0)},
    TypeRow{WeightType::q4_0, "q4_0", kSmallBlock, sizeof(BlockQ4_0)},
    TypeRow{WeightType::q4_1, "q4_1", kSmallBlock, sizeof(BlockQ4_1)},
    TypeRow{WeightType::q5_0, "q5_0", kSmallBlock, sizeof(BlockQ5_0)},
    TypeRow{WeightType::q5_1, "q5_1", kSmallBlock, sizeof(BlockQ5_1)},
    TypeRow{WeightType::q4_k, "q4_k", kSuperBlock, sizeof(BlockQ4_K)},
    TypeRow{WeightType::q5_k, "q5_k", kSuperBlock, sizeof(BlockQ5_K)},
    TypeRow{WeightType::q6_k, "q6_k", kSuperBlock, sizeof(BlockQ6_K)},
};

// Element i's fifth bit, in the place of value 16.
int fifth_bit(const uint8_t* qh, int i) noexcept {
  return (qh[i / 8] >> (i % 8) & 1) << 4;
}

void unpack(float* out, f16 x) noexcept {
  *out = to_float(x);
}
void unpack(float* out, const BlockQ8_0& b) noexcept {
  const float d = to_float(b.d);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(b.q[i]);
}
void unpack(float* out, const BlockQ4_0& b) noexcept {
  const float d = to_float(b.d);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((b.q[i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((b.q[i] >> 4) - 8);
  }
}
void unpack(float* out, const BlockQ4_1& b) noexcept {
  const float d = to_float(b.d), m = to_float(b.m);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(b.q[i] & 15) + m;
    out[i + 16] = d * static_cast<float>(b.q[i] >> 4) + m;
  }
}
void unpack(float* out, const BlockQ5_0& b) noexcept {
  const float d = to_float(b.d);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(((b.q[i] & 15) | fifth_bit(b.qh, i)) - 16);
    out[i + 16] = d * static_cast<float>(((b.q[i] >> 4) | fifth_bit(b.qh, i + 16)) - 16);
  }
}
void unpack(float* out, const BlockQ5_1& b) noexcept {
  const float d = to_float(b.d), m = to_float(b.m);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((b.q[i] & 15) | fifth_bit(b.qh, i)) + m;
    out[i + 16] = d * static_cast<float>((b.q[i] >> 4) | fifth_bit(b.qh, i + 16)) + m;
  }
}
// q4_k and q5_k; fifth(l, sub-block) is 16 or 0.
template <class Block, class Fifth>
void unpack_scaled(float* out, const Block& b, const Fifth& fifth) noexcept {
  const float d = to_float(b.d), dmin = to_float(b.dmin);
  uint8_t scales[8], mins[8];
  unpack_scales(b.scales, scales, mins);
  for (int s = 0; s < 8; ++s) {
    const float scale = d * static_cast<float>(scales[s]), min = dmin * static_cast<float>(mins[s]);
    const uint8_t* q = b.q + s / 2 * 32;
    const int shift = s % 2 * 4;
    for (int l = 0; l < 32; ++l)
      out[s * 32 + l] = scale * static_cast<float>((q[l] >> shift & 15) | fifth(l, s)) - min;
  }
}
void unpack(float* out, const BlockQ4_K& b) noexcept {
  unpack_scaled(out, b, [](int, int) { return 0; });
}
void unpack(float* out, const BlockQ5_K& b) noexcept {
  unpack_scaled(out, b, [&b](int l, int s) { return (b.qh[l] >> s & 1) << 4; });
}
void unpack(float* out, const BlockQ6_K& b) noexcept {
  const float d = to_float(b.d);
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 4; ++i) {  // runs of 32 elements
      const uint8_t *low = b.ql + half * 64 + i % 2 * 32, *high = b.qh + half * 32;
      for (int l = 0; l < 32; ++l) {
        const int q = (low[l] >> i / 2 * 4 & 15) | (high[l] >> 2 * i & 3) << 4;
        const float scale = d * static_cast<float>(b.scales[half * 8 + i * 2 + l / 16]);
        out[half * 128 + i * 32 + l] = scale * static_cast<float>(q - 32);
      }
    }
  }
}

template <class Block>
void unpack_all(float* out, const std::byte* packed, int64_t n, int64_t elements) noexcept {
  for (int64_t i = 0; i < n; i += elements, packed += sizeof(Block)) {
    Block block;
    std::memcpy(&block, packed, sizeof(Block));
    unpack(out + i, block);
  }
}

float largest(const float* x, int n) noexcept {
  float a = 0;
  for (int i = 0; i < n; ++i) a = std::max(a, std::abs(x[i]));
  return a;
}
// The first value of largest magnitude, with its sign.
float signed_largest(const float* x, int n) noexcept {
  const float *end = x + n,
              *found = std::max_element(x, end, [](float a, float b) { return std::abs(a) < std::abs(b); });
  return *found;
}
// x in 0..top: truncated, as the offset that callers add makes it rounding.
uint8_t level(float x, int top) noexcept {
  return static_cast<uint8_t>(std::clamp(static_cast<int>(x), 0, top));
}
float inverse(float d) noexcept {
  return d == 0 ? 0 : 1 / d;
}

void pack(f16& out, const float* x) noexcept {
  out = to_f16(*x);
}
void pack(BlockQ8_0& b, const float* x) noexcept {
  const float d = largest(x, 32) / 127, id = inverse(d);
  b.d = to_f16(d);
  for (int i = 0; i < 32; ++i) b.q[i] = static_cast<int8_t>(std::round(x[i] * id));
}

// Levels 0..2*half-1 of x - first over d, where level `zero` stands for 0 (no minimum) or q is offset by m.
struct Scale {
  float d, m;
};
Scale symmetric(const float* x, int half) noexcept {
  return {signed_largest(x, 32) / static_cast<float>(-half), 0};
}
Scale ranged(const float* x, int top) noexcept {
  const auto [least, most] = std::minmax_element(x, x + 32);
  return {(*most - *least) / static_cast<float>(top), *least};
}
void store_levels(uint8_t* q, uint8_t* qh, const uint8_t* levels) noexcept {
  for (int i = 0; i < 16; ++i) q[i] = static_cast<uint8_t>((levels[i] & 15) | (levels[i + 16] & 15) << 4);
  if (qh == nullptr) return;
  std::memset(qh, 0, 4);
  for (int i = 0; i < 32; ++i) qh[i / 8] |= static_cast<uint8_t>((levels[i] >> 4) << (i % 8));
}
void pack_symmetric(f16& d, uint8_t* qh, uint8_t* q, const float* x, int half) noexcept {
  const Scale s = symmetric(x, half);
  const float id = inverse(s.d);
  uint8_t levels[32];
  for (int i = 0; i < 32; ++i) levels[i] = level(x[i] * id + (static_cast<float>(half) + 0.5f), 2 * half - 1);
  d = to_f16(s.d);
  store_levels(q, qh, levels);
}
void pack_ranged(f16& d, f16& m, uint8_t* qh, uint8_t* q, const float* x, int top) noexcept {
  const Scale s = ranged(x, top);
  const float id = inverse(s.d);
  uint8_t levels[32];
  for (int i = 0; i < 32; ++i) levels[i] = level((x[i] - s.m) * id + 0.5f, top);
  d = to_f16(s.d);
  m = to_f16(s.m);
  store_levels(q, qh, levels);
}
void pack(BlockQ4_0& b, const float* x) noexcept {
  pack_symmetric(b.d, nullptr, b.q, x, 8);
}
void pack(BlockQ5_0& b, const float* x) noexcept {
  pack_symmetric(b.d, b.qh, b.q, x, 16);
}
void pack(BlockQ4_1& b, const float* x) noexcept {
  pack_ranged(b.d, b.m, nullptr, b.q, x, 15);
}
void pack(BlockQ5_1& b, const float* x) noexcept {
  pack_ranged(b.d, b.m, b.qh, b.q, x, 31);
}

template <class Block>
void pack_all(std::byte* packed, const float* inp, int64_t n, int64_t elements) noexcept {
  for (int64_t i = 0; i < n; i += elements, packed += sizeof(Block)) {
    Block block;
    pack(block, inp + i);
    std::memcpy(packed, &block, sizeof(Block));
  }
}

const TypeRow& row_of(WeightType type) noexcept {
  return kTypes[static_cast<size_t>(type)];
}

// f(a block's type): one switch for both ways.
template <class F>
void with_block(WeightType type, const F& f) noexcept {
  switch (type) {
    case WeightType::f16:
      return f(f16{});
    case WeightType::q8_0:
      return f(BlockQ8_0{});
    case WeightType::q4_0:
      return f(BlockQ4_0{});
    case WeightType::q4_1:
      return f(BlockQ4_1{});
    case WeightType::q5_0:
      return f(BlockQ5_0{});
    case WeightType::q5_1:
      return f(BlockQ5_1{});
    case WeightType::q4_k:
      return f(BlockQ4_K{});
    case WeightType::q5_k:
      return f(BlockQ5_K{});
    case WeightType::q6_k:
      return f(BlockQ6_K{});
    case WeightType::f32:
    case WeightType::bf16:
      break;
  }
  CHECK(false, "weight type {}", static_cast<int>(type));
}

}  // namespace

const char* weight_type_name(WeightType type) noexcept {
  return row_of(type).name;
}
std::optional<WeightType> find_weight_type(std::string_view name) noexcept {
  for (const TypeRow& row : kTypes)
    if (name == row.name) return row.type;
  return std::nullopt;
}
int64_t block_elements(WeightType type) noexcept {
  return row_of(type).elements;
}
int64_t block_bytes(WeightType type) noexcept {
  return row_of(type).bytes;
}
int64_t row_bytes(WeightType type, int64_t n) noexcept {
  CHECK(n >= 0 && n % block_elements(type) == 0, "{} elements of {}", n, weight_type_name(type));
  return n / block_elements(type) * block_bytes(type);
}

void dequantize(float* out, const std::byte* packed, WeightType type, int64_t n) noexcept {
  const auto bytes = static_cast<size_t>(row_bytes(type, n));
  if (n == 0) return;
  if (type == WeightType::f32) {
    std::memcpy(out, packed, bytes);
  } else if (type == WeightType::bf16) {
    for (int64_t i = 0; i < n; ++i) {
      bf16 x;
      std::memcpy(&x, packed + 2 * i, 2);
      out[i] = to_float(x);
    }
  } else {
    with_block(type, [&]<class Block>(Block) { unpack_all<Block>(out, packed, n, block_elements(type)); });
  }
}

void quantize(std::byte* packed, const float* inp, WeightType type, int64_t n) noexcept {
  const auto bytes = static_cast<size_t>(row_bytes(type, n));
  if (n == 0) return;
  if (type == WeightType::f32) {
    std::memcpy(packed, inp, bytes);
  } else if (type == WeightType::bf16) {
    for (int64_t i = 0; i < n; ++i) {
      const bf16 x = to_bf16(inp[i]);
      std::memcpy(packed + 2 * i, &x, 2);
    }
  } else {
    with_block(type, [&]<class Block>(Block) { pack_all<Block>(packed, inp, n, block_elements(type)); });
  }
}

}  // namespace tumbler::kernels
