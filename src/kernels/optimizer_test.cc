#include "kernels/optimizer.h"

#include <fmt/format.h>

#include "kernels/kernel_testing.h"

namespace tumbler::kernels {
namespace {

constexpr AdamW kAdamW = {.lr = 1e-2f,
                          .beta1 = 0.9f,
                          .beta2 = 0.95f,
                          .eps = 1e-8f,
                          .weight_decay = 0.1f,
                          .bias1 = 0.271f,
                          .bias2 = 0.142625f,
                          .grad_scale = 0.5f};

template <class T>
struct Results {
  Array<float> master, m, v, momentum, nesterov, out, out_nesterov, updated, scaled;
  Array<T> copy, updated_copy;
  double squares;
  explicit Results(int64_t n)
      : master(n, 1),
        m(n, 2, 0.1),
        v(n, 3, 0.1),
        momentum(n, 4),
        nesterov(n, 4),
        out(n),
        out_nesterov(n),
        updated(n, 5),
        scaled(n, 6),
        copy(n),
        updated_copy(n) {
    for (int64_t i = 0; i < n; ++i) v.data()[i] = std::abs(v.at(i));
    const Array<float> grad(n, 7);
    adamw_update<T>(master, m, v, grad, copy, kAdamW, n);
    momentum_update(momentum, out, grad, 0.95f, 0.5f, false, n);
    momentum_update(nesterov, out_nesterov, grad, 0.95f, 0.5f, true, n);
    apply_update<T>(updated, grad, updated_copy, 0.01f, 0.1f, n);
    scale(scaled, 1.7f, n);
    squares = sum_of_squares(grad, n);
  }
};

template <class T>
void compare_with_ref(const TestedIsa& isa) {
  const auto run = [](const Table* table, int64_t n) {
    const WithTable with(table);
    return Results<T>(n);
  };
  for (const int64_t n : test_lengths()) {
    const Results<T> got = run(isa.table, n), expected = run(&kRefTable, n);
    const std::string what = fmt::format("{} {} n {}", isa.name, sizeof(T), n);
    // A dozen operations on values of size up to 5, one of which may cancel.
    const double eps = 12 * kFloatEps;
    expect_close(got.master, expected.master, eps, eps, what + " master");
    expect_close(got.m, expected.m, eps, eps, what + " m");
    expect_close(got.v, expected.v, eps, 0, what + " v");
    expect_close(got.copy, expected.copy, eps + storage_eps<T>(), eps, what + " copy");
    expect_close(got.momentum, expected.momentum, eps, eps, what + " momentum");
    expect_close(got.out, expected.out, eps, eps, what + " out");
    expect_close(got.out_nesterov, expected.out_nesterov, eps, eps, what + " nesterov");
    expect_close(got.updated, expected.updated, eps, eps, what + " apply_update");
    expect_close(got.updated_copy, expected.updated_copy, eps + storage_eps<T>(), eps, what + " its copy");
    expect_close(got.scaled, expected.scaled, 0, 0, what + " scale");
    EXPECT_NEAR(got.squares, expected.squares, 1e-12 * expected.squares) << what;
  }
}

TEST(Optimizer, float_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<float>(isa);
}
TEST(Optimizer, bf16_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<bf16>(isa);
}

// Twenty steps of one parameter after another, as algorithm 2 of the paper has it, in f64.
TEST(Optimizer, adamw_follows_the_paper) {
  const int64_t n = 100;
  Array<float> master(n, 1), m(n), v(n);
  std::vector<double> x = to_double(master), first(100), second(100);
  AdamW h = kAdamW;
  for (int step = 1; step <= 20; ++step) {
    const Array<float> grad(n, static_cast<uint64_t>(100 + step));
    h.bias1 = static_cast<float>(1 - std::pow(0.9, step));
    h.bias2 = static_cast<float>(1 - std::pow(0.95, step));
    adamw_update<float>(master, m, v, grad, nullptr, h, n);
    for (size_t i = 0; i < x.size(); ++i) {
      const double g = 0.5 * grad.at(static_cast<int64_t>(i));
      first[i] = 0.9 * first[i] + 0.1 * g;
      second[i] = 0.95 * second[i] + 0.05 * g * g;
      const double m_hat = first[i] / (1 - std::pow(0.9, step)),
                   v_hat = second[i] / (1 - std::pow(0.95, step));
      x[i] -= 1e-2 * (m_hat / (std::sqrt(v_hat) + 1e-8) + 0.1 * x[i]);
    }
  }
  // 20 steps of 0.01, each off by a few eps of f32 relative; beta in f32 is off by 1e-8.
  for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(master.at(i), x[static_cast<size_t>(i)], 3e-6) << i;
}

TEST(Optimizer, nan_in_a_gradient_is_seen) {
  for (const TestedIsa& isa : tested_isas()) {
    const WithTable with(isa.table);
    Array<float> master(20, 1), m(20), v(20), grad(20, 2);
    grad.data()[9] = std::nanf("");
    adamw_update<float>(master, m, v, grad, nullptr, kAdamW, 20);
    for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(std::isnan(master.at(i)), i == 9) << isa.name;
    EXPECT_TRUE(std::isnan(sum_of_squares(grad, 20))) << isa.name;
  }
}

TEST(Optimizer, threads_change_nothing) {
  const auto run = [](int threads) {
    const WithThreads with(threads);
    return Results<float>(300007);
  };
  const Results<float> one = run(1);
  for (const int threads : {2, 3, 7}) {
    const Results<float> more = run(threads);
    EXPECT_EQ(more.squares, one.squares) << threads;
    expect_equal(more.master, one.master, "adamw");
    expect_equal(more.out_nesterov, one.out_nesterov, "momentum");
    expect_equal(more.updated, one.updated, "apply_update");
  }
  double exact = 0;
  const Array<float> grad(300007, 7);
  for (int64_t i = 0; i < grad.size(); ++i) exact += static_cast<double>(grad.at(i)) * grad.at(i);
  EXPECT_NEAR(one.squares, exact, 1e-11 * exact);
}

// Eigenvalues of the symmetric (n, n) matrix a by Jacobi's rotations (Golub & Van Loan, 8.5), in f64.
std::vector<double> eigenvalues(std::vector<double> a, size_t n) {
  for (int sweep = 0; sweep < 30; ++sweep) {
    for (size_t p = 0; p < n; ++p) {
      for (size_t q = p + 1; q < n; ++q) {
        if (std::abs(a[p * n + q]) < 1e-15) continue;
        const double tau = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
        const double t = (tau >= 0 ? 1 : -1) / (std::abs(tau) + std::sqrt(1 + tau * tau));
        const double c = 1 / std::sqrt(1 + t * t), s = t * c;
        for (size_t k = 0; k < n; ++k) {
          const double left = a[k * n + p], right = a[k * n + q];
          a[k * n + p] = c * left - s * right;
          a[k * n + q] = s * left + c * right;
        }
        for (size_t k = 0; k < n; ++k) {
          const double left = a[p * n + k], right = a[q * n + k];
          a[p * n + k] = c * left - s * right;
          a[q * n + k] = s * left + c * right;
        }
      }
    }
  }
  std::vector<double> values;
  for (size_t i = 0; i < n; ++i) values.push_back(a[i * n + i]);
  return values;
}

// Smallest and largest singular value of x (rows, cols).
std::pair<double, double> singular_range(const Array<float>& x, int64_t rows, int64_t cols) {
  const bool tall = rows > cols;
  const int64_t small = std::min(rows, cols), large = std::max(rows, cols);
  const auto at = [&](int64_t i, int64_t j) -> double {
    return tall ? x.at(j * cols + i) : x.at(i * cols + j);
  };
  std::vector<double> gram;
  for (int64_t i = 0; i < small; ++i) {
    for (int64_t j = 0; j < small; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < large; ++k) sum += at(i, k) * at(j, k);
      gram.push_back(sum);
    }
  }
  const std::vector<double> values = eigenvalues(gram, static_cast<size_t>(small));
  return {std::sqrt(std::max(0.0, *std::min_element(values.begin(), values.end()))),
          std::sqrt(*std::max_element(values.begin(), values.end()))};
}

void check_newton_schulz(int64_t rows, int64_t cols, DType products) {
  SCOPED_TRACE(fmt::format("{} x {} {}", rows, cols, products == DType::f32 ? "f32" : "bf16"));
  const Array<float> x(rows * cols, 1, 3);
  Array<float> y(rows * cols), scratch(newton_schulz_scratch(rows, cols));
  newton_schulz({y.data(), rows, cols}, {x.data(), rows, cols}, 5, scratch, products);
  ASSERT_TRUE(y.guards_intact() && scratch.guards_intact());
  // The quintic's own bounds are 0.68 and 1.13; bf16 products add about sqrt(small) * 2^-8.
  const auto [low, high] = singular_range(y, rows, cols);
  EXPECT_GE(low, 0.65);
  EXPECT_LE(high, 1.2);
  const auto [low_before, high_before] = singular_range(x, rows, cols);
  if (std::min(rows, cols) > 1) {
    EXPECT_LT(high / low, high_before / low_before);
  }
  // <x, y> is the sum of the singular values of x times those of y, if y has the same singular vectors.
  double same = 0;
  for (int64_t i = 0; i < x.size(); ++i) same += static_cast<double>(x.at(i)) * y.at(i);
  EXPECT_GT(same, 0.65 * low_before * static_cast<double>(std::min(rows, cols)));
}

TEST(NewtonSchulz, singular_values_come_near_one) {
  struct Shape {
    int64_t rows, cols;
  };
  for (const DType products : {DType::f32, DType::bf16})
    for (const auto [rows, cols] :
         {Shape{20, 50}, Shape{50, 20}, Shape{33, 65}, Shape{1, 9}, Shape{9, 1}, Shape{24, 48}})
      check_newton_schulz(rows, cols, products);
}

TEST(NewtonSchulz, tall_is_the_transpose_of_wide_and_strides_are_kept) {
  const int64_t rows = 12, cols = 31, stride = 40;
  const Array<float> x(rows * stride, 1);
  Array<float> transposed(cols * rows), y(rows * stride), z(cols * rows),
      scratch(newton_schulz_scratch(rows, cols));
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) transposed.data()[j * rows + i] = x.at(i * stride + j);
  newton_schulz({y.data(), rows, cols, stride}, {x.data(), rows, cols, stride}, 5, scratch);
  newton_schulz({z.data(), cols, rows}, {transposed.data(), cols, rows}, 5, scratch);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) EXPECT_EQ(y.at(i * stride + j), z.at(j * rows + i));
    for (int64_t j = cols; j < stride; ++j) EXPECT_EQ(y.at(i * stride + j), 0) << "between the rows";
  }
}

TEST(NewtonSchulz, zero_stays_zero) {
  const Array<float> x(12);
  Array<float> y(12, 1), scratch(newton_schulz_scratch(3, 4));
  newton_schulz({y.data(), 3, 4}, {x.data(), 3, 4}, 5, scratch);
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(y.at(i), 0);
}

}  // namespace
}  // namespace tumbler::kernels
