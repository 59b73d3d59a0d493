#include "kernels/embedding.h"

#include <fmt/format.h>

#include "kernels/kernel_testing.h"

namespace tumbler::kernels {
namespace {

constexpr int64_t kVocabulary = 13, kPositions = 7;

template <class T>
struct Results {
  Array<T> out;
  Array<float> d_wte, d_wpe;
  Results(int64_t N, int64_t C, bool with_positions)
      : out(N * C), d_wte(kVocabulary * C, 1), d_wpe(kPositions * C, 2) {
    const Array<T> wte(kVocabulary * C, 3), wpe(kPositions * C, 4), dy(N * C, 5);
    std::vector<int32_t> tokens, positions;
    for (int64_t n = 0; n < N; ++n) {
      tokens.push_back(static_cast<int32_t>((n * n + 2) % kVocabulary));  // some twice, some never
      positions.push_back(static_cast<int32_t>(n % kPositions));
    }
    embedding_forward<T>(out, tokens.data(), positions.data(), wte, with_positions ? wpe.data() : nullptr,
                         1.5f, N, C);
    embedding_backward<T>(d_wte, with_positions ? d_wpe.data() : nullptr, dy, tokens.data(), positions.data(),
                          1.5f, N, C);
  }
};

template <class T>
void compare_with_ref(const TestedIsa& isa) {
  const auto run = [](const Table* table, int64_t N, int64_t C, bool positions) {
    const WithTable with(table);
    return Results<T>(N, C, positions);
  };
  for (const int64_t C : test_lengths()) {
    for (const bool positions : {false, true}) {
      const Results<T> got = run(isa.table, 9, C, positions), expected = run(&kRefTable, 9, C, positions);
      const std::string what = fmt::format("{} {} C {}", isa.name, sizeof(T), C);
      // One product and up to nine sums of values of size 1 to 10, with and without fused rounding.
      expect_close(got.out, expected.out, storage_eps<T>(), 4 * kFloatEps, what + " out");
      expect_close(got.d_wte, expected.d_wte, 4 * kFloatEps, 100 * kFloatEps, what + " d_wte");
      expect_close(got.d_wpe, expected.d_wpe, 4 * kFloatEps, 100 * kFloatEps, what + " d_wpe");
    }
  }
}

TEST(Embedding, float_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<float>(isa);
}
TEST(Embedding, bf16_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<bf16>(isa);
}

// The operation is linear, so that its gradient is the transpose: <out, dy> = <wte, d_wte> + <wpe, d_wpe>.
TEST(Embedding, backward_is_the_transpose_of_forward) {
  const int64_t N = 29, C = 18;
  const Array<float> wte(kVocabulary * C, 3), wpe(kPositions * C, 4), dy(N * C, 5);
  Array<float> out(N * C), d_wte(kVocabulary * C), d_wpe(kPositions * C);
  std::vector<int32_t> tokens, positions;
  for (int32_t n = 0; n < N; ++n) {
    tokens.push_back(n * n % 13);
    positions.push_back(n % 7);
  }
  embedding_forward<float>(out, tokens.data(), positions.data(), wte, wpe, 0.7f, N, C);
  embedding_backward<float>(d_wte, d_wpe, dy, tokens.data(), positions.data(), 0.7f, N, C);
  const auto product = [](const Array<float>& a, const Array<float>& b) {
    double sum = 0;
    for (int64_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a.at(i)) * b.at(i);
    return sum;
  };
  EXPECT_NEAR(product(out, dy), product(wte, d_wte) + product(wpe, d_wpe), 1e-3);
  EXPECT_GT(std::abs(product(out, dy)), 1);
  for (int64_t c = 0; c < C; ++c)
    EXPECT_EQ(d_wte.at(2 * C + c), 0) << "token 2 does not occur";  // 2 is no square mod 13
}

TEST(Embedding, any_number_of_threads_gives_the_same_bits) {
  const auto run = [](int threads) {
    const WithThreads with(threads);
    return Results<float>(400, 333, true);
  };
  const Results<float> one = run(1);
  for (const int threads : {2, 3, 40}) {
    const Results<float> more = run(threads);
    expect_equal(more.out, one.out, "out");
    expect_equal(more.d_wte, one.d_wte, "d_wte");
    expect_equal(more.d_wpe, one.d_wpe, "d_wpe");
  }
}

}  // namespace
}  // namespace tumbler::kernels
