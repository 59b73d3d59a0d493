#include "kernels/rope.h"

#include <fmt/format.h>

#include "kernels/kernel_testing.h"

namespace tumbler::kernels {
namespace {

constexpr double kTheta = 10000;

template <class T>
struct Results {
  Array<T> q, k, d_qkv;
  Array<float> dq_weight, dk_weight;

  Results(const QkShape& s, bool norm, bool rope)
      : q(s.N * s.H * s.D),
        k(s.N * s.KV * s.D),
        d_qkv(s.N * (s.H + 2 * s.KV) * s.D, 9),
        dq_weight(s.D, 1),
        dk_weight(s.D, 2) {
    const Array<T> qkv(d_qkv.size(), 3), dq(q.size(), 4), dk(k.size(), 5);
    const Array<float> q_weight(s.D, 6, 0.3, 1), k_weight(s.D, 7, 0.3, 1);
    Array<float> table(11 * s.D), scratch(qk_backward_scratch(s.D));
    rope_table(table, 11, s.D, kTheta);
    std::vector<int32_t> positions;
    for (int64_t n = 0; n < s.N; ++n) positions.push_back(static_cast<int32_t>((n * 7 + 3) % 11));
    const float *qw = norm ? q_weight.data() : nullptr, *kw = norm ? k_weight.data() : nullptr;
    const float* cs = rope ? table.data() : nullptr;
    qk_forward<T>(q, k, qkv, qw, kw, cs, positions.data(), s);
    qk_backward<T>(d_qkv, dq_weight, dk_weight, dq, dk, qkv, qw, kw, cs, positions.data(), scratch, s);
    EXPECT_TRUE(scratch.guards_intact());
  }
};

template <class T>
void compare_with_ref(const TestedIsa& isa) {
  const auto run = [](const Table* table, const QkShape& shape, bool norm, bool rope) {
    const WithTable with(table);
    return Results<T>(shape, norm, rope);
  };
  for (const int64_t D : {2, 6, 16, 18, 32, 34, 62, 64, 66, 80, 128, 130, 256}) {
    const QkShape shape{5, 3, 2, D, 1e-6f};
    // A head's sum of D terms, then a few operations on values of size 1 to 10.
    const double eps = (4 * std::sqrt(static_cast<double>(D)) + 8) * kFloatEps;
    for (int mode = 0; mode < 4; ++mode) {
      const bool norm = (mode & 1) != 0, rope = (mode & 2) != 0;
      const std::string what = fmt::format("{} {} D {} norm {} rope {}", isa.name, sizeof(T), D, norm, rope);
      const Results<T> got = run(isa.table, shape, norm, rope), expected = run(&kRefTable, shape, norm, rope);
      const double stored = eps + storage_eps<T>();
      expect_close(got.q, expected.q, stored, 4 * eps, what + " q");
      expect_close(got.k, expected.k, stored, 4 * eps, what + " k");
      // With D = 2 a head may be near 0, and its gradient grows as 1/|x|.
      expect_close(got.d_qkv, expected.d_qkv, stored, (D == 2 ? 1000 : 20) * eps, what + " d_qkv");
      expect_close(got.dq_weight, expected.dq_weight, eps, 40 * eps, what + " dq_weight");
      expect_close(got.dk_weight, expected.dk_weight, eps, 40 * eps, what + " dk_weight");
    }
  }
}

TEST(Rope, float_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<float>(isa);
}
TEST(Rope, bf16_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<bf16>(isa);
}

TEST(Rope, table_has_the_angles_of_each_position) {
  const int64_t D = 8, positions = 4097;
  Array<float> table(positions * D);
  rope_table(table, positions, D, kTheta);
  EXPECT_TRUE(table.guards_intact());
  for (const int64_t t : {0, 1, 2, 100, 4096}) {
    for (int64_t i = 0; i < D / 2; ++i) {
      const double angle = static_cast<double>(t) / std::pow(kTheta, static_cast<double>(i) / 4);
      EXPECT_NEAR(table.at(t * D + i), std::cos(angle), 1e-7) << t << " " << i;
      EXPECT_NEAR(table.at(t * D + 4 + i), std::sin(angle), 1e-7) << t << " " << i;
    }
  }
}

// What rope is for: q . k depends on the distance of the positions only.
TEST(Rope, products_depend_on_distance) {
  const QkShape shape{4, 1, 1, 64, 1e-6f};
  Array<float> table(200 * 64), qkv(4 * 3 * 64), q(4 * 64), k(4 * 64);
  rope_table(table, 200, 64, kTheta);
  const Array<float> row(3 * 64, 1);
  for (int64_t i = 0; i < qkv.size(); ++i) qkv.data()[i] = row.at(i % (3 * 64));
  const int32_t positions[] = {7, 19, 107, 119};
  qk_forward<float>(q, k, qkv, nullptr, nullptr, table, positions, shape);
  const auto product = [&](int64_t a, int64_t b) {
    double sum = 0;
    for (int64_t d = 0; d < 64; ++d) sum += static_cast<double>(q.at(a * 64 + d)) * k.at(b * 64 + d);
    return sum;
  };
  EXPECT_NEAR(product(1, 0), product(3, 2), 1e-4);
  EXPECT_NEAR(product(2, 0), product(3, 1), 1e-4);
  EXPECT_GT(std::abs(product(1, 0) - product(2, 0)), 0.1);
}

TEST(Rope, value_part_of_the_gradient_is_not_touched) {
  const QkShape s{3, 2, 1, 6, 1e-6f};
  const Results<float> run(s, true, true);
  const Array<float> before(s.N * 4 * 6, 9);
  for (int64_t n = 0; n < s.N; ++n)
    for (int64_t d = 0; d < 6; ++d) EXPECT_EQ(run.d_qkv.at(n * 24 + 18 + d), before.at(n * 24 + 18 + d));
}

TEST(Rope, threads_agree) {
  const QkShape shape{257, 8, 4, 64, 1e-6f};
  const auto run = [&](int threads) {
    const WithThreads with(threads);
    return Results<float>(shape, true, true);
  };
  const Results<float> one = run(1), two = run(2), again = run(2);
  expect_equal(two.q, one.q, "q");
  expect_equal(two.d_qkv, one.d_qkv, "d_qkv");
  expect_equal(two.dq_weight, again.dq_weight, "same thread count, same bits");
  // 2056 rows summed in another order.
  expect_close(two.dq_weight, one.dq_weight, 1e-5, 1e-3, "dq_weight");
}

TEST(Rope, gradients_agree_with_finite_differences) {
  const QkShape s{3, 2, 1, 10, 1e-6f};
  const int64_t row = 4 * s.D;
  const Array<float> qkv(s.N * row, 1), dq(s.N * 2 * s.D, 2), dk(s.N * s.D, 3);
  const Array<float> q_weight(s.D, 4, 0.3, 1), k_weight(s.D, 5, 0.3, 1);
  Array<float> table(9 * s.D), scratch(qk_backward_scratch(s.D)), d_qkv(s.N * row), dq_weight(s.D),
      dk_weight(s.D);
  rope_table(table, 9, s.D, kTheta);
  const int32_t positions[] = {0, 8, 5};
  qk_backward<float>(d_qkv, dq_weight, dk_weight, dq, dk, qkv, q_weight, k_weight, table, positions, scratch,
                     s);

  const auto loss = [&](const std::vector<double>& x, const std::vector<double>& qw,
                        const std::vector<double>& kw) {
    double total = 0;
    for (int64_t n = 0; n < s.N; ++n) {
      for (int64_t h = 0; h < 3; ++h) {
        const double* head = x.data() + n * row + h * s.D;
        const std::vector<double>& w = h < 2 ? qw : kw;
        const float* dy = h < 2 ? dq.data() + (n * 2 + h) * s.D : dk.data() + n * s.D;
        double squares = 0;
        for (int64_t d = 0; d < s.D; ++d) squares += head[d] * head[d];
        const double r = 1 / std::sqrt(squares / static_cast<double>(s.D) + 1e-6);
        for (int64_t d = 0; d < s.D / 2; ++d) {
          const size_t low = static_cast<size_t>(d), high = static_cast<size_t>(d + s.D / 2);
          const double angle =
              positions[n] * std::pow(kTheta, -2.0 * static_cast<double>(d) / static_cast<double>(s.D));
          const double a = head[low] * r * w[low], b = head[high] * r * w[high];
          total += dy[low] * (a * std::cos(angle) - b * std::sin(angle));
          total += dy[high] * (b * std::cos(angle) + a * std::sin(angle));
        }
      }
    }
    return total;
  };
  const std::vector<double> xs = to_double(qkv), qws = to_double(q_weight), kws = to_double(k_weight);
  expect_gradient(
      d_qkv, xs, [&](const auto& v) { return loss(v, qws, kws); }, 1e-5, "d_qkv");
  expect_gradient(
      dq_weight, qws, [&](const auto& v) { return loss(xs, v, kws); }, 1e-5, "dq_weight");
  expect_gradient(
      dk_weight, kws, [&](const auto& v) { return loss(xs, qws, v); }, 1e-5, "dk_weight");
}

}  // namespace
}  // namespace tumbler::kernels
