#include "kernels/packed.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/packed_layout.h"
#include "kernels/parallel.h"
#include "kernels/table.h"

namespace tumbler::kernels {
namespace {

constexpr int64_t kBlockSteps = 8;

int64_t scale_count(const PackedFormat& format, int64_t cols) {
  return cols / (format.has_supers ? kSuperBlock : kSmallBlock);
}
int64_t scales_at(const PackedFormat& format, int64_t cols) {
  return cols / kSmallBlock * format.weight_bytes;
}

uint32_t load_word(const uint8_t* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}
void store_word(uint8_t* p, uint32_t word) {
  std::memcpy(p, &word, sizeof word);
}

// One row's lane of a group.
struct Lane {
  uint8_t* group;
  PackedFormat format;
  int64_t cols, row;

  uint8_t* weights(int64_t block, int64_t part) const {  // 4 bytes
    return group + block * format.weight_bytes + part * kStepBytes + row * 4;
  }
  uint8_t* scales(int64_t block) const {
    return group + scales_at(format, cols) + block * format.scale_bytes;
  }
  void put_f16(uint8_t* at, f16 value) const { std::memcpy(at + row * 2, &value, sizeof value); }
  f16 get_f16(const uint8_t* at) const {
    f16 value;
    std::memcpy(&value, at + row * 2, sizeof value);
    return value;
  }

  // q: 32 whole numbers of at most format.bits bits.
  void put(int64_t block, const uint8_t* q) const {
    if (format.bits == 8) {
      for (int64_t s = 0; s < kBlockSteps; ++s) store_word(weights(block, s), load_word(q + 4 * s));
      return;
    }
    for (int64_t s = 0; s < 4; ++s)
      store_word(weights(block, s),
                 (load_word(q + 4 * s) & 0x0f0f0f0fu) | (load_word(q + 16 + 4 * s) & 0x0f0f0f0fu) << 4);
    if (format.bits == 5) {
      uint32_t plane = 0;
      for (int s = 0; s < 8; ++s) plane |= (load_word(q + 4 * s) >> 4 & 0x01010101u) << s;
      store_word(weights(block, 4), plane);
    }
    if (format.bits == 6)
      for (int half = 0; half < 2; ++half) {
        uint32_t plane = 0;
        for (int s = 0; s < 4; ++s) plane |= (load_word(q + 16 * half + 4 * s) >> 4 & 0x03030303u) << (2 * s);
        store_word(weights(block, 4 + half), plane);
      }
  }
  void get(int64_t block, uint8_t* q) const {
    if (format.bits == 8) {
      for (int64_t s = 0; s < kBlockSteps; ++s) store_word(q + 4 * s, load_word(weights(block, s)));
      return;
    }
    for (int64_t s = 0; s < 8; ++s) {
      uint32_t word = load_word(weights(block, s % 4)) >> (s < 4 ? 0 : 4) & 0x0f0f0f0fu;
      if (format.bits == 5) word |= (load_word(weights(block, 4)) >> s & 0x01010101u) << 4;
      if (format.bits == 6)
        word |= (load_word(weights(block, 4 + s / 4)) >> (2 * (s % 4)) & 0x03030303u) << 4;
      store_word(q + 4 * s, word);
    }
  }
};

// Files' blocks → whole numbers and scales of a lane.
void put_block(const Lane& lane, int64_t b, const BlockQ8_0& block) {
  uint8_t q[32];
  for (int i = 0; i < 32; ++i) q[i] = static_cast<uint8_t>(block.q[i] + 128);
  lane.put(b, q);
  lane.put_f16(lane.scales(b), block.d);
}
void unpack_halves(uint8_t* q, const uint8_t* halves) {
  for (int i = 0; i < 16; ++i) {
    q[i] = halves[i] & 15;
    q[i + 16] = halves[i] >> 4;
  }
}
template <class Block>
void put_small(const Lane& lane, int64_t b, const Block& block) {
  uint8_t q[32];
  unpack_halves(q, block.q);
  if constexpr (requires { block.qh; }) {
    const uint32_t fifth = load_word(block.qh);
    for (int i = 0; i < 32; ++i) q[i] = static_cast<uint8_t>(q[i] | (fifth >> i & 1) << 4);
  }
  lane.put(b, q);
  lane.put_f16(lane.scales(b), block.d);
  if constexpr (requires { block.m; }) lane.put_f16(lane.scales(b) + 32, block.m);
}
void put_block(const Lane& lane, int64_t b, const BlockQ4_0& block) {
  put_small(lane, b, block);
}
void put_block(const Lane& lane, int64_t b, const BlockQ4_1& block) {
  put_small(lane, b, block);
}
void put_block(const Lane& lane, int64_t b, const BlockQ5_0& block) {
  put_small(lane, b, block);
}
void put_block(const Lane& lane, int64_t b, const BlockQ5_1& block) {
  put_small(lane, b, block);
}

template <class Block>
void put_super(const Lane& lane, int64_t b, const Block& block) {
  uint8_t q[32], scales[8], mins[8];
  unpack_scales(block.scales, scales, mins);
  uint8_t* to = lane.scales(b);
  lane.put_f16(to, block.d);
  lane.put_f16(to + 32, block.dmin);
  for (int sub = 0; sub < 8; ++sub) {
    for (int i = 0; i < 32; ++i) q[i] = block.q[sub / 2 * 32 + i] >> (sub % 2 * 4) & 15;
    if constexpr (requires { block.qh; })
      for (int i = 0; i < 32; ++i) q[i] = static_cast<uint8_t>(q[i] | (block.qh[i] >> sub & 1) << 4);
    lane.put(b * 8 + sub, q);
    to[64 + sub * 32 + lane.row] = scales[sub];
    to[64 + sub * 32 + 16 + lane.row] = mins[sub];
  }
}
void put_block(const Lane& lane, int64_t b, const BlockQ4_K& block) {
  put_super(lane, b, block);
}
void put_block(const Lane& lane, int64_t b, const BlockQ5_K& block) {
  put_super(lane, b, block);
}
void put_block(const Lane& lane, int64_t b, const BlockQ6_K& block) {
  uint8_t q[32];
  uint8_t* to = lane.scales(b);
  lane.put_f16(to, block.d);
  for (int sub = 0; sub < 8; ++sub) {
    const int half = sub / 4, quarter = sub % 4;
    const uint8_t* low = block.ql + 64 * half + 32 * (quarter % 2);
    for (int i = 0; i < 32; ++i)
      q[i] = static_cast<uint8_t>((low[i] >> (quarter / 2 * 4) & 15) |
                                  (block.qh[32 * half + i] >> (2 * quarter) & 3) << 4);
    lane.put(b * 8 + sub, q);
    for (int part = 0; part < 2; ++part)
      to[32 + (2 * sub + part) * 16 + lane.row] = static_cast<uint8_t>(block.scales[2 * sub + part]);
  }
}

template <class Block>
void put_row(const Lane& lane, const std::byte* source, int64_t blocks) {
  for (int64_t b = 0; b < blocks; ++b) {
    Block block;
    std::memcpy(&block, source + b * static_cast<int64_t>(sizeof block), sizeof block);
    put_block(lane, b, block);
  }
}
template <class T>
void put_values(uint8_t* group, int64_t row, const std::byte* source, int64_t cols) {
  for (int64_t k = 0; k < cols; ++k)
    std::memcpy(group + (k * kPackedRows + row) * static_cast<int64_t>(sizeof(T)),
                source + k * static_cast<int64_t>(sizeof(T)), sizeof(T));
}

void pack_row(uint8_t* group, int64_t row, WeightType type, int64_t cols, const std::byte* source) {
  const Lane lane{group, packed_format(type), cols, row};
  switch (type) {
    case WeightType::f32:
      return put_values<float>(group, row, source, cols);
    case WeightType::f16:
    case WeightType::bf16:
      return put_values<uint16_t>(group, row, source, cols);
    case WeightType::q8_0:
      return put_row<BlockQ8_0>(lane, source, cols / 32);
    case WeightType::q4_0:
      return put_row<BlockQ4_0>(lane, source, cols / 32);
    case WeightType::q4_1:
      return put_row<BlockQ4_1>(lane, source, cols / 32);
    case WeightType::q5_0:
      return put_row<BlockQ5_0>(lane, source, cols / 32);
    case WeightType::q5_1:
      return put_row<BlockQ5_1>(lane, source, cols / 32);
    case WeightType::q4_k:
      return put_row<BlockQ4_K>(lane, source, cols / 256);
    case WeightType::q5_k:
      return put_row<BlockQ5_K>(lane, source, cols / 256);
    case WeightType::q6_k:
      return put_row<BlockQ6_K>(lane, source, cols / 256);
  }
}

float float_at(const uint8_t* group, WeightType type, int64_t i) {
  if (type == WeightType::f32) {
    float x;
    std::memcpy(&x, group + 4 * i, sizeof x);
    return x;
  }
  if (type == WeightType::f16) {
    f16 x;
    std::memcpy(&x, group + 2 * i, sizeof x);
    return to_float(x);
  }
  bf16 x;
  std::memcpy(&x, group + 2 * i, sizeof x);
  return to_float(x);
}

}  // namespace

int64_t packed_group_bytes(WeightType type, int64_t cols) noexcept {
  CHECK(cols % block_elements(type) == 0, "got rows of {} elements", cols);
  const PackedFormat format = packed_format(type);
  const int64_t bytes = is_quantised(type)
                            ? scales_at(format, cols) + scale_count(format, cols) * format.scale_bytes
                            : cols * kPackedRows * block_bytes(type);
  return (bytes + 63) / 64 * 64;
}

int64_t packed_bytes(WeightType type, int64_t rows, int64_t cols) noexcept {
  return (rows + kPackedRows - 1) / kPackedRows * packed_group_bytes(type, cols);
}

int64_t packed_scratch_bytes(int64_t K) noexcept {
  return K / kSmallBlock * 2 * kBlockSteps * kStepBytes;
}

void pack(const PackedWeights& packed, const PackedMatrix& source,
          std::span<const int32_t> source_rows) noexcept {
  CHECK(packed.type == source.type && packed.cols == source.cols);
  CHECK(source_rows.empty() ? packed.rows == source.rows
                            : static_cast<int64_t>(source_rows.size()) == packed.rows);
  const int64_t size = packed_group_bytes(packed.type, packed.cols),
                row_size = row_bytes(packed.type, packed.cols);
  parallel_rows(packed.groups(), size, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      auto* group = reinterpret_cast<uint8_t*>(packed.data + g * size);
      if ((g + 1) * kPackedRows > packed.rows) std::memset(group, 0, static_cast<size_t>(size));
      for (int64_t row = g * kPackedRows; row < std::min(packed.rows, (g + 1) * kPackedRows); ++row) {
        const int64_t from = source_rows.empty() ? row : source_rows[row];
        CHECK(from >= 0 && from < source.rows);
        pack_row(group, row % kPackedRows, packed.type, packed.cols, source.bytes.data() + from * row_size);
      }
    }
  });
}

void unpack_row(float* out, const PackedWeights& packed, int64_t row) noexcept {
  CHECK(row >= 0 && row < packed.rows);
  const int64_t size = packed_group_bytes(packed.type, packed.cols), r = row % kPackedRows;
  auto* group = reinterpret_cast<uint8_t*>(packed.data + row / kPackedRows * size);
  if (!is_quantised(packed.type)) {
    for (int64_t k = 0; k < packed.cols; ++k) out[k] = float_at(group, packed.type, k * kPackedRows + r);
    return;
  }
  const Lane lane{group, packed_format(packed.type), packed.cols, r};
  const PackedFormat& format = lane.format;
  for (int64_t b = 0; b < packed.cols / kSmallBlock; ++b) {
    uint8_t q[32];
    lane.get(b, q);
    const uint8_t* scales = lane.scales(format.has_supers ? b / 8 : b);
    float d[2], m = 0;
    d[0] = d[1] = to_float(lane.get_f16(scales));
    if (packed.type == WeightType::q6_k) {
      for (int half = 0; half < 2; ++half)
        d[half] *= static_cast<int8_t>(scales[32 + (b % 8 * 2 + half) * 16 + r]);
    } else if (format.has_supers) {
      const uint8_t* parts = scales + 64 + b % 8 * 32;
      d[0] *= parts[r];
      d[1] = d[0];
      m = -(to_float(lane.get_f16(scales + 32)) * parts[16 + r]);
    } else if (format.has_min) {
      m = to_float(lane.get_f16(scales + 32));
    }
    for (int i = 0; i < 32; ++i) {
      const float product = d[i / 16] * static_cast<float>(q[i] - format.offset);
      out[b * 32 + i] = format.has_min ? product + m : product;
    }
  }
}

namespace {

// Of words of `Word`, none has all bits of `exponent` set.
template <class Word>
bool none_has(const uint8_t* from, int64_t count, Word exponent) {
  bool found = false;
  for (int64_t i = 0; i < count; ++i) {
    Word word;
    std::memcpy(&word, from + i * static_cast<int64_t>(sizeof word), sizeof word);
    found |= (word & exponent) == exponent;
  }
  return !found;
}

bool group_is_finite(const uint8_t* group, WeightType type, int64_t cols) {
  constexpr uint16_t kF16 = 0x7c00, kBf16 = 0x7f80;
  const int64_t values = cols * kPackedRows;
  if (type == WeightType::f32) return none_has<uint32_t>(group, values, 0x7f800000u);
  if (type == WeightType::bf16) return none_has<uint16_t>(group, values, kBf16);
  if (type == WeightType::f16) return none_has<uint16_t>(group, values, kF16);
  const PackedFormat format = packed_format(type);
  for (int64_t b = 0; b < scale_count(format, cols); ++b)
    if (!none_has<uint16_t>(group + scales_at(format, cols) + b * format.scale_bytes,
                            format.has_min ? 32 : 16, kF16))
      return false;
  return true;
}

}  // namespace

bool is_finite(const PackedWeights& packed) noexcept {
  const int64_t size = packed_group_bytes(packed.type, packed.cols);
  std::atomic<bool> finite = true;
  parallel_rows(packed.groups(), size, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g)
      if (!group_is_finite(reinterpret_cast<const uint8_t*>(packed.data + g * size), packed.type,
                           packed.cols))
        finite = false;
  });
  return finite;
}

void round_input(const PackedInput& inp) noexcept {
  CHECK(inp.K % kSmallBlock == 0);
  parallel_rows(inp.N, inp.K * 8,
                [&](int64_t begin, int64_t end) { packed_ops().round_input(inp, begin, end); });
}

void multiply_packed(std::span<const PackedProduct> products, const PackedInput& inp, int threads) noexcept {
  // Groups of all products in one row of tasks: small products beside large ones share the work evenly.
  int64_t groups = 0;
  for (const PackedProduct& product : products) {
    CHECK(product.weights.cols == inp.K);
    groups += product.weights.groups();
  }
  threads = std::min(threads, thread_count());
  const PackedOps& ops = packed_ops();
  const auto run = [&](int64_t begin, int64_t end, uint8_t* scratch) {
    int64_t first = 0;  // group of the first of a product
    for (const PackedProduct& product : products) {
      const int64_t count = product.weights.groups();
      const int64_t from = std::max<int64_t>(begin - first, 0), to = std::min(end - first, count);
      if (from < to) ops.multiply(product, inp, from, to, scratch);
      first += count;
    }
  };
  std::atomic<int64_t> next = 0;
  const auto work = [&] {
    // Declared here: a thread has such a variable, and gives it back at its end, once it has come by its
    // line.
    thread_local std::vector<uint8_t> scratch;
    scratch.resize(static_cast<size_t>(packed_scratch_bytes(inp.K) + 64));
    auto* aligned = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
    int64_t begin = next.load(std::memory_order_relaxed);
    while (begin < groups) {
      // Long stretches first, which memory streams best, then short ones, which even out what else runs here.
      const int64_t end = begin + std::max<int64_t>(1, (groups - begin) * 3 / (4 * threads));
      if (!next.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
      run(begin, end, aligned);
      begin = next.load(std::memory_order_relaxed);
    }
  };
  run_team(threads, work);
}

}  // namespace tumbler::kernels
