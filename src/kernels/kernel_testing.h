// What the tests of kernels share: every instruction set in turn, guarded unaligned arrays, comparison.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kernels/isa.h"
#include "kernels/table.h"

namespace tumbler::kernels {

// The functions of simd_math.inl over arrays, of one instruction set.
struct SimdProbe {
  int64_t lanes;
  void (*exp)(float* out, const float* x, int64_t n);
  void (*log)(float* out, const float* x, int64_t n);
  void (*tanh)(float* out, const float* x, int64_t n);
  void (*sigmoid)(float* out, const float* x, int64_t n);
  void (*round_bf16)(float* out, const float* x, int64_t n);
  float (*sum)(const float* x, int64_t n);
  float (*max)(const float* x, int64_t n);
};
extern const SimdProbe kAvx2Probe, kAvx512Probe, kAvx512EmulatedProbe;
extern const Table kAvx512VnniEmulatedTable;
extern const Table kAvx512EmulatedTable;  // the AVX-512 bodies on SIMDe, for machines without AVX-512

struct TestedIsa {
  const char* name;
  const Table* table;
  const SimdProbe* probe;
};
// All but ref.
inline std::vector<TestedIsa> tested_isas() {
  std::vector<TestedIsa> isas = {{"avx512 emulated", &kAvx512EmulatedTable, &kAvx512EmulatedProbe}};
  for (const Isa isa : host_isas()) {
    if (isa == Isa::avx2) isas.push_back({"avx2", &kAvx2Table, &kAvx2Probe});
    if (isa == Isa::avx512) isas.push_back({"avx512", &kAvx512Table, &kAvx512Probe});
  }
  return isas;
}

// While it lives, kernels run on this table.
class WithTable {
 public:
  explicit WithTable(const Table* table) { set_table_for_tests(table); }
  ~WithTable() { set_table_for_tests(nullptr); }
  WithTable(const WithTable&) = delete;
  WithTable& operator=(const WithTable&) = delete;
};

class WithThreads {
 public:
  explicit WithThreads(int threads) : before_(thread_count()) { set_thread_count(threads); }
  ~WithThreads() { set_thread_count(before_); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;

 private:
  int before_;
};

// n elements that begin off every alignment but their own, between guards that must survive.
template <class T>
class Array {
 public:
  explicit Array(int64_t n) : n_(n), storage_(static_cast<size_t>(n + 2 * kGuard), guard()) {
    for (int64_t i = 0; i < n; ++i) data()[i] = T{};
  }
  // Normally distributed.
  Array(int64_t n, uint64_t seed, double spread = 1, double mean = 0) : Array(n) {
    Rng rng(seed);
    for (int64_t i = 0; i < n; ++i)
      data()[i] = from_float<T>(static_cast<float>(rng.normal() * spread + mean));
  }
  T* data() { return storage_.data() + kGuard; }
  const T* data() const { return storage_.data() + kGuard; }
  operator T*() { return data(); }
  operator const T*() const { return data(); }
  int64_t size() const { return n_; }
  float at(int64_t i) const { return to_float(data()[i]); }
  bool guards_intact() const {
    for (int64_t i = 0; i < kGuard; ++i)
      if (to_float(storage_[static_cast<size_t>(i)]) != to_float(guard()) ||
          to_float(storage_[static_cast<size_t>(n_ + kGuard + i)]) != to_float(guard()))
        return false;
    return true;
  }

 private:
  static constexpr int64_t kGuard = 67;  // more than four vectors, and odd
  static T guard() { return from_float<T>(-77.0f); }
  int64_t n_;
  std::vector<T> storage_;
};

inline constexpr double kFloatEps = 0x1p-24;  // half a unit in the last place, relative
inline constexpr double kBf16Eps = 0x1p-8;
// The error that storing to T adds: two values that differ by less than nothing may round to neighbours.
template <class T>
constexpr double storage_eps() {
  return std::is_same_v<T, float> ? 2 * kFloatEps : 2 * kBf16Eps;
}

// |got - expected| <= relative * |expected| + absolute, or both NaN; and guards intact.
template <class T>
void expect_close(const Array<T>& got, const Array<T>& expected, double relative, double absolute,
                  const std::string& what) {
  ASSERT_TRUE(got.guards_intact()) << what << ": wrote outside its array";
  for (int64_t i = 0; i < expected.size(); ++i) {
    const double a = got.at(i), b = expected.at(i);
    if (std::isnan(a) && std::isnan(b)) continue;
    if (a == b) continue;
    ASSERT_LE(std::abs(a - b), relative * std::abs(b) + absolute)
        << what << " at " << i << " of " << expected.size() << ": got " << a << ", expected " << b;
  }
}

template <class T>
void expect_equal(const Array<T>& got, const Array<T>& expected, const std::string& what) {
  ASSERT_TRUE(got.guards_intact()) << what << ": wrote outside its array";
  for (int64_t i = 0; i < expected.size(); ++i)
    ASSERT_TRUE(got.at(i) == expected.at(i) || (std::isnan(got.at(i)) && std::isnan(expected.at(i))))
        << what << " at " << i << ": got " << got.at(i) << ", expected " << expected.at(i);
}

// Lengths of a row: every tail of one to four vectors of 16 and beyond, then a few longer ones.
inline std::vector<int64_t> test_lengths() {
  std::vector<int64_t> lengths;
  for (int64_t n = 1; n <= 33; ++n) lengths.push_back(n);
  for (const int64_t n : {47, 48, 63, 64, 65, 79, 95, 127, 128, 129, 130, 513, 768, 1001})
    lengths.push_back(n);
  return lengths;
}

// Checks gradient[i] = d f / d x[i] by central differences of f in f64, whose own error is about 1e-9.
// A gradient made in f32 may be off by `tolerance` times the largest one.
inline void expect_gradient(const Array<float>& gradient, std::vector<double> x,
                            const std::function<double(const std::vector<double>&)>& f, double tolerance,
                            const std::string& what) {
  ASSERT_EQ(static_cast<size_t>(gradient.size()), x.size());
  std::vector<double> expected(x.size());
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double h = 1e-5, before = x[i];
    x[i] = before + h;
    const double up = f(x);
    x[i] = before - h;
    const double down = f(x);
    x[i] = before;
    expected[i] = (up - down) / (2 * h);
    largest = std::max(largest, std::abs(expected[i]));
  }
  ASSERT_GT(largest, 0) << what << ": this test can't fail";
  for (size_t i = 0; i < x.size(); ++i)
    ASSERT_NEAR(gradient.at(static_cast<int64_t>(i)), expected[i], tolerance * largest)
        << what << " at " << i;
}

inline std::vector<double> to_double(const Array<float>& a) {
  return {a.data(), a.data() + a.size()};
}

}  // namespace tumbler::kernels
