#include "kernels/norm.h"

#include <fmt/format.h>

#include "kernels/kernel_testing.h"

namespace tumbler::kernels {
namespace {

constexpr float kEps = 1e-5f;

// Everything that the four functions write, for one (N, C).
template <class T>
struct Results {
  Array<T> rms_out, rms_x, rms_dx, ln_out, ln_x, ln_dx;
  Array<float> rms_rstd, rms_dw, ln_mean, ln_rstd, ln_dw, ln_db;

  Results(int64_t N, int64_t C, bool with_delta)
      : rms_out(N * C),
        rms_x(N * C, 1, 2),
        rms_dx(N * C, 2),
        ln_out(N * C),
        ln_x(N * C, 1, 2, 0.5),
        ln_dx(N * C, 2),
        rms_rstd(N),
        rms_dw(C, 3),
        ln_mean(N),
        ln_rstd(N),
        ln_dw(C, 3),
        ln_db(C, 4) {
    const Array<T> delta(N * C, 5), dy(N * C, 6);
    const Array<float> weight(C, 7, 0.3, 1), bias(C, 8);
    Array<float> scratch(norm_backward_scratch(C));
    const T* d = with_delta ? delta.data() : nullptr;
    rms_norm_forward<T>(rms_out, rms_rstd, rms_x, d, weight, N, C, kEps);
    rms_norm_backward<T>(rms_dx, rms_dw, dy, rms_x, weight, rms_rstd, scratch, N, C);
    layer_norm_forward<T>(ln_out, ln_mean, ln_rstd, ln_x, d, weight, bias, N, C, kEps);
    layer_norm_backward<T>(ln_dx, ln_dw, ln_db, dy, ln_x, weight, ln_mean, ln_rstd, scratch, N, C);
    EXPECT_TRUE(scratch.guards_intact());
  }
};

template <class T>
void compare(const Results<T>& got, const Results<T>& expected, int64_t N, int64_t C,
             const std::string& what) {
  expect_equal(got.rms_x, expected.rms_x, what + " residual");
  expect_equal(got.ln_x, expected.ln_x, what + " residual");
  // A sum of C terms in f32 is off by at most C * eps times the sum of their sizes, in practice by sqrt(C) *
  // eps: 4 sqrt(C) + 8 leaves room. Elements are of size 1 to 10, so the same bound is the absolute part.
  // Sums over rows: N terms likewise.
  const double row = (4 * std::sqrt(static_cast<double>(C)) + 8) * kFloatEps;
  const double column = (4 * std::sqrt(static_cast<double>(N)) + 8) * kFloatEps;
  const double eps = storage_eps<T>();
  expect_close(got.rms_rstd, expected.rms_rstd, row, 0, what + " rstd");
  expect_close(got.rms_out, expected.rms_out, row + eps, 0, what + " rms out");
  expect_close(got.rms_dx, expected.rms_dx, row + eps, 20 * row, what + " rms dx");
  expect_close(got.rms_dw, expected.rms_dw, row, 20 * (row + column), what + " rms dw");
  expect_close(got.ln_mean, expected.ln_mean, row, 4 * row, what + " mean");
  // With C of 1 or 2 the variance may be near 0, and 1/sqrt(variance) grows to 1/sqrt(eps) = 316: so does the
  // error.
  const double grown = C < 8 ? 3000 : 20;
  expect_close(got.ln_rstd, expected.ln_rstd, grown * row, 0, what + " ln rstd");
  expect_close(got.ln_out, expected.ln_out, row + eps, grown * row, what + " ln out");
  expect_close(got.ln_dx, expected.ln_dx, row + eps, 20 * grown * row, what + " ln dx");
  expect_close(got.ln_dw, expected.ln_dw, row, grown * (row + column), what + " ln dw");
  expect_close(got.ln_db, expected.ln_db, column, 20 * column, what + " ln db");
}

template <class T>
void compare_with_ref(const TestedIsa& isa) {
  const auto run = [](const Table* table, int64_t N, int64_t C, bool delta) {
    const WithTable with(table);
    return Results<T>(N, C, delta);
  };
  for (const int64_t C : test_lengths()) {
    for (const bool delta : {false, true}) {
      const int64_t N = C % 3 + 1;
      compare(run(isa.table, N, C, delta), run(&kRefTable, N, C, delta), N, C,
              fmt::format("{} {} N {} C {}", isa.name, sizeof(T), N, C));
    }
  }
}

TEST(Norm, float_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<float>(isa);
}
TEST(Norm, bf16_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<bf16>(isa);
}

TEST(Norm, threads_agree) {
  const int64_t N = 301, C = 768;  // large enough for more than one thread
  const auto run = [&](int threads) {
    const WithThreads with(threads);
    return Results<float>(N, C, true);
  };
  const Results<float> one = run(1), two = run(2), again = run(2), five = run(5);
  compare(two, one, N, C, "two threads");
  compare(five, one, N, C, "five threads");
  expect_equal(two.rms_out, one.rms_out, "rows don't depend on threads");
  expect_equal(two.rms_dx, one.rms_dx, "rows don't depend on threads");
  expect_equal(again.rms_dw, two.rms_dw, "same thread count, same bits");
  expect_equal(again.ln_dw, two.ln_dw, "same thread count, same bits");
  expect_equal(again.ln_db, two.ln_db, "same thread count, same bits");
}

// sum(out * dy) as a function of x, weight and bias in f64.
double rms_norm_loss(const std::vector<double>& x, const std::vector<double>& weight,
                     const std::vector<double>& dy, size_t C) {
  double loss = 0;
  for (size_t row = 0; row < x.size(); row += C) {
    double squares = 0;
    for (size_t c = 0; c < C; ++c) squares += x[row + c] * x[row + c];
    const double r = 1 / std::sqrt(squares / static_cast<double>(C) + kEps);
    for (size_t c = 0; c < C; ++c) loss += x[row + c] * r * weight[c] * dy[row + c];
  }
  return loss;
}
double layer_norm_loss(const std::vector<double>& x, const std::vector<double>& weight,
                       const std::vector<double>& bias, const std::vector<double>& dy, size_t C) {
  double loss = 0;
  for (size_t row = 0; row < x.size(); row += C) {
    double mean = 0, squares = 0;
    for (size_t c = 0; c < C; ++c) mean += x[row + c] / static_cast<double>(C);
    for (size_t c = 0; c < C; ++c) squares += (x[row + c] - mean) * (x[row + c] - mean);
    const double r = 1 / std::sqrt(squares / static_cast<double>(C) + kEps);
    for (size_t c = 0; c < C; ++c) loss += ((x[row + c] - mean) * r * weight[c] + bias[c]) * dy[row + c];
  }
  return loss;
}

TEST(Norm, gradients_agree_with_finite_differences) {
  const int64_t N = 3, C = 37;
  const size_t columns = static_cast<size_t>(C);
  Array<float> x(N * C, 1, 2), out(N * C), mean(N), rstd(N), scratch(norm_backward_scratch(C));
  const Array<float> dy(N * C, 2), weight(C, 3, 0.3, 1), bias(C, 4);
  const std::vector<double> xs = to_double(x), ws = to_double(weight), bs = to_double(bias),
                            dys = to_double(dy);
  Array<float> dx(N * C), dw(C);
  rms_norm_forward<float>(out, rstd, x, nullptr, weight, N, C, kEps);
  rms_norm_backward<float>(dx, dw, dy, x, weight, rstd, scratch, N, C);
  const double tolerance = 1e-5;  // about C * eps of f32
  expect_gradient(
      dx, xs, [&](const auto& v) { return rms_norm_loss(v, ws, dys, columns); }, tolerance, "rms dx");
  expect_gradient(
      dw, ws, [&](const auto& v) { return rms_norm_loss(xs, v, dys, columns); }, tolerance, "rms dw");

  Array<float> ln_dx(N * C), ln_dw(C), ln_db(C);
  layer_norm_forward<float>(out, mean, rstd, x, nullptr, weight, bias, N, C, kEps);
  layer_norm_backward<float>(ln_dx, ln_dw, ln_db, dy, x, weight, mean, rstd, scratch, N, C);
  expect_gradient(
      ln_dx, xs, [&](const auto& v) { return layer_norm_loss(v, ws, bs, dys, columns); }, tolerance, "ln dx");
  expect_gradient(
      ln_dw, ws, [&](const auto& v) { return layer_norm_loss(xs, v, bs, dys, columns); }, tolerance, "ln dw");
  expect_gradient(
      ln_db, bs, [&](const auto& v) { return layer_norm_loss(xs, ws, v, dys, columns); }, tolerance, "ln db");
}

TEST(Norm, nan_spoils_its_row_and_no_other) {
  std::vector<TestedIsa> isas = tested_isas();
  isas.push_back({"ref", &kRefTable, nullptr});
  for (const TestedIsa& isa : isas) {
    const WithTable with(isa.table);
    const int64_t N = 2, C = 19;
    Array<float> x(N * C, 1), out(N * C), mean(N), rstd(N);
    x.data()[17] = std::nanf("");
    const Array<float> weight(C, 2), bias(C, 3);
    layer_norm_forward<float>(out, mean, rstd, x, nullptr, weight, bias, N, C, kEps);
    for (int64_t i = 0; i < N * C; ++i) EXPECT_EQ(std::isnan(out.at(i)), i < C) << isa.name;
    rms_norm_forward<float>(out, rstd, x, nullptr, weight, N, C, kEps);
    for (int64_t i = 0; i < N * C; ++i) EXPECT_EQ(std::isnan(out.at(i)), i < C) << isa.name;
  }
}

TEST(Norm, no_rows_is_no_work) {
  Array<float> dw(5, 1), before(5, 1), scratch(norm_backward_scratch(5));
  const Array<float> weight(5, 2);
  rms_norm_backward<float>(nullptr, dw, nullptr, nullptr, weight, nullptr, scratch, 0, 5);
  expect_equal(dw, before, "no rows");
}

}  // namespace
}  // namespace tumbler::kernels
