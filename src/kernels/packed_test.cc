// Packed weights: the layout holds what the file says; every instruction set computes what packed.h promises.
#include "kernels/packed.h"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kernels/kernel_testing.h"
#include "kernels/packed_layout.h"

namespace tumbler::kernels {
namespace {

constexpr WeightType kTypes[] = {WeightType::f32,  WeightType::f16,  WeightType::bf16, WeightType::q8_0,
                                 WeightType::q4_0, WeightType::q4_1, WeightType::q5_0, WeightType::q5_1,
                                 WeightType::q4_k, WeightType::q5_k, WeightType::q6_k};

// Those of the other kernels, and VNNI.
std::vector<TestedIsa> packed_isas() {
  std::vector<TestedIsa> isas = tested_isas();
  isas.push_back({"avx512 vnni emulated", &kAvx512VnniEmulatedTable, nullptr});
  return isas;
}

std::vector<float> random_values(int64_t n, uint64_t stream, double spread = 1) {
  Rng rng(7, stream);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.normal() * spread);
  return x;
}

// Memory of a packed matrix.
struct Storage {
  explicit Storage(int64_t size) : bytes(static_cast<size_t>(size + 64)) {}
  std::byte* data() { return bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64; }
  std::vector<std::byte> bytes;
};

// A random matrix as a file has it and packed.
struct Sample {
  Sample(WeightType type, int64_t rows, int64_t cols, std::span<const int32_t> order = {})
      : file(static_cast<size_t>(rows * row_bytes(type, cols))),
        storage(packed_bytes(type, rows, cols)),
        packed{type, rows, cols, storage.data()} {
    const std::vector<float> values = random_values(rows * cols, static_cast<uint64_t>(rows));
    quantize(file.data(), values.data(), type, rows * cols);
    pack(packed, matrix(), order);
  }
  PackedMatrix matrix() const { return {packed.type, packed.rows, packed.cols, file}; }
  std::vector<float> file_row(int64_t row) const {
    std::vector<float> x(static_cast<size_t>(packed.cols));
    dequantize(x.data(), file.data() + row * row_bytes(packed.type, packed.cols), packed.type, packed.cols);
    return x;
  }
  std::vector<std::byte> file;
  Storage storage;
  PackedWeights packed;
};

struct Input {
  Input(int64_t N, int64_t K) : values(random_values(N * K, 99)) {
    q.resize(values.size());
    q16.resize(values.size());
    scale.resize(values.size() / 32);
    scaled_sum.resize(scale.size());
    sums.resize(3 * scale.size());
    input = {N, K, values.data(), q.data(), q16.data(), scale.data(), scaled_sum.data(), sums.data()};
  }
  std::vector<float> values, scale, scaled_sum;
  std::vector<int8_t> q;
  std::vector<int16_t> q16;
  std::vector<int32_t> sums;
  PackedInput input;
};

std::vector<float> multiply(const Sample& sample, Input& inp, const float* bias = nullptr) {
  std::vector<float> out(static_cast<size_t>(inp.input.N * sample.packed.rows), NAN);
  if (is_quantised(sample.packed.type)) round_input(inp.input);
  const PackedProduct product{sample.packed, bias, out.data(), sample.packed.rows};
  multiply_packed({&product, 1}, inp.input, thread_count());
  return out;
}

TEST(Packed, RowsAreTheFiles) {
  for (const WeightType type : kTypes) {
    const Sample sample(type, 37, 512);
    std::vector<float> row(512);
    for (int64_t r = 0; r < 37; ++r) {
      unpack_row(row.data(), sample.packed, r);
      EXPECT_EQ(row, sample.file_row(r)) << weight_type_name(type) << " row " << r;
    }
  }
}

TEST(Packed, RowsInAnotherOrder) {
  const std::vector<int32_t> order = {3, 0, 2, 1, 4};
  const Sample sample(WeightType::q8_0, 5, 64, order);
  std::vector<float> row(64);
  for (int64_t r = 0; r < 5; ++r) {
    unpack_row(row.data(), sample.packed, r);
    EXPECT_EQ(row, sample.file_row(order[static_cast<size_t>(r)]));
  }
}

TEST(Packed, TakesHardlyMoreThanTheFile) {
  for (const WeightType type : kTypes)
    EXPECT_LE(static_cast<double>(packed_bytes(type, 4096, 4096)),
              1.03 * static_cast<double>(4096 * row_bytes(type, 4096)))
        << weight_type_name(type);
}

// The product is that of the file's weights and the inputs as they were rounded, up to the order of sums.
TEST(Packed, ProductOfWhatIsStored) {
  const int64_t rows = 35, K = 512, N = 3;
  for (const WeightType type : kTypes) {
    const Sample sample(type, rows, K);
    Input inp(N, K);
    const std::vector<float> out = multiply(sample, inp), values = inp.values;
    for (int64_t r = 0; r < rows; ++r) {
      const std::vector<float> w = sample.file_row(r);
      for (int64_t n = 0; n < N; ++n) {
        double dot = 0, magnitude = 0;
        for (int64_t k = 0; k < K; ++k) {
          const double x = is_quantised(type)
                               ? static_cast<double>(inp.scale[static_cast<size_t>((n * K + k) / 32)]) *
                                     inp.q[static_cast<size_t>(n * K + k)]
                               : values[static_cast<size_t>(n * K + k)];
          dot += w[static_cast<size_t>(k)] * x;
          magnitude += std::fabs(w[static_cast<size_t>(k)] * x);
        }
        // Each of the sums is rounded once a term, scales twice; types with minima subtract what is some
        // times larger.
        EXPECT_NEAR(out[static_cast<size_t>(n * rows + r)], dot, 40 * magnitude * 6e-8)
            << weight_type_name(type);
      }
    }
  }
}

// To the last bit: whatever the batch, the threads and the instruction set, with an odd number of rows.
TEST(Packed, SameForEveryBatchAndInstructionSet) {
  const int64_t rows = 51, K = 768;
  const std::vector<float> bias = random_values(rows, 3);
  for (const WeightType type : kTypes) {
    const Sample sample(type, rows, K);
    Input all(19, K);
    std::vector<float> expected;
    {
      const WithTable ref(&kRefTable);
      expected = multiply(sample, all, bias.data());
    }
    for (const TestedIsa& isa : packed_isas()) {
      const WithTable with(isa.table);
      for (const int64_t N : {1, 2, 3, 4, 5, 7, 8, 16, 19}) {
        Input some(N, K);
        const std::vector<float> out = multiply(sample, some, bias.data());
        for (int64_t i = 0; i < N * rows; ++i)
          ASSERT_EQ(out[static_cast<size_t>(i)], expected[static_cast<size_t>(i)])
              << weight_type_name(type) << " on " << isa.name << ", " << N << " inputs, element " << i;
      }
    }
  }
}

// Largest weights and inputs: sums of 16 bits must not saturate.
TEST(Packed, ExtremesDoNotOverflow) {
  for (const WeightType type : kTypes) {
    if (!is_quantised(type)) continue;
    for (const uint8_t byte : {uint8_t{0x00}, uint8_t{0x7f}, uint8_t{0x80}, uint8_t{0xff}}) {
      Sample sample(type, 16, 256);
      // Every stored weight alike; scales as they were.
      const PackedFormat format = packed_format(type);
      std::memset(sample.packed.data, byte, static_cast<size_t>(8 * format.weight_bytes));
      Input inp(4, 256);
      for (size_t i = 0; i < inp.values.size(); ++i) inp.values[i] = i % 512 < 256 ? 1.0f : -1.0f;
      std::vector<float> expected;
      {
        const WithTable ref(&kRefTable);
        expected = multiply(sample, inp);
      }
      for (const TestedIsa& isa : packed_isas()) {
        const WithTable with(isa.table);
        EXPECT_EQ(multiply(sample, inp), expected) << weight_type_name(type) << " on " << isa.name;
      }
    }
  }
}

TEST(Packed, InputsThatAreNothing) {
  Input inp(1, 64);
  for (int i = 0; i < 32; ++i) inp.values[static_cast<size_t>(i)] = 0;
  for (int i = 32; i < 64; ++i) inp.values[static_cast<size_t>(i)] = 1e-38f;
  const Sample sample(WeightType::q8_0, 16, 64);
  for (const float x : multiply(sample, inp)) EXPECT_EQ(x, 0);
}

TEST(Packed, ProductsThatShareTheirInput) {
  const Sample first(WeightType::q8_0, 40, 256), second(WeightType::q4_k, 24, 256);
  Input inp(2, 256);
  const std::vector<float> a = multiply(first, inp), b = multiply(second, inp);
  std::vector<float> out(2 * 64);
  const PackedProduct products[] = {{first.packed, nullptr, out.data(), 64},
                                    {second.packed, nullptr, out.data() + 40, 64}};
  multiply_packed(products, inp.input, 2);
  for (size_t n = 0; n < 2; ++n) {
    for (size_t r = 0; r < 40; ++r) EXPECT_EQ(out[n * 64 + r], a[n * 40 + r]);
    for (size_t r = 0; r < 24; ++r) EXPECT_EQ(out[n * 64 + 40 + r], b[n * 24 + r]);
  }
}

}  // namespace
}  // namespace tumbler::kernels
