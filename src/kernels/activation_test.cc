#include "kernels/activation.h"

#include <fmt/format.h>

#include "kernels/kernel_testing.h"

namespace tumbler::kernels {
namespace {

template <class T>
struct Results {
  Array<T> gelu, gelu_d, glu[2], glu_d[2], sum;
  explicit Results(int64_t N, int64_t I)
      : gelu(N * I),
        gelu_d(N * I, 1),
        glu{Array<T>(N * I), Array<T>(N * I)},
        glu_d{Array<T>(N * 2 * I, 2, 3), Array<T>(N * 2 * I, 2, 3)},
        sum(N * I, 3) {
    const Array<T> x(N * I, 4, 3), dy(N * I, 5);
    gelu_forward<T>(gelu, x, N * I);
    gelu_backward<T>(gelu_d, gelu_d, x, N * I);  // in place
    for (const Gate gate : {Gate::silu, Gate::gelu_tanh}) {
      const int g = gate == Gate::silu ? 0 : 1;
      glu_forward<T>(glu[g], glu_d[g], gate, N, I);
      glu_backward<T>(glu_d[g], dy, glu_d[g], gate, N, I);  // in place
    }
    add_in_place<T>(sum, x, N * I);
  }
};

template <class T>
void compare_with_ref(const TestedIsa& isa) {
  const auto run = [](const Table* table, int64_t N, int64_t I) {
    const WithTable with(table);
    return Results<T>(N, I);
  };
  for (const int64_t I : test_lengths()) {
    const int64_t N = I % 3 + 1;
    const Results<T> got = run(isa.table, N, I), expected = run(&kRefTable, N, I);
    const std::string what = fmt::format("{} {} N {} I {}", isa.name, sizeof(T), N, I);
    // sigmoid within 4 ulp, an argument up to 2u = 100 which is itself off by an ulp or two and whose error
    // the exponential turns into a relative one, |2u| * 4 eps; values are of size 1 to 30.
    const double relative = 400 * kFloatEps + storage_eps<T>(), absolute = 64 * kFloatEps;
    expect_close(got.gelu, expected.gelu, relative, absolute, what + " gelu");
    expect_close(got.gelu_d, expected.gelu_d, relative, absolute, what + " d gelu");
    for (int g = 0; g < 2; ++g) {
      expect_close(got.glu[g], expected.glu[g], relative, absolute, what + " glu");
      expect_close(got.glu_d[g], expected.glu_d[g], relative, 8 * absolute, what + " d glu");
    }
    expect_equal(got.sum, expected.sum, what + " sum");
  }
}

TEST(Activation, float_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<float>(isa);
}
TEST(Activation, bf16_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<bf16>(isa);
}

TEST(Activation, values_of_the_papers_formulas) {
  const int64_t n = 401;
  Array<float> x(n), y(n), gate_up(2 * n), z(n);
  for (int64_t i = 0; i < n; ++i) x.data()[i] = static_cast<float>(i - 200) * 0.05f;
  for (int64_t i = 0; i < n; ++i) {
    gate_up.data()[i] = x.at(i);
    gate_up.data()[n + i] = 2;
  }
  gelu_forward<float>(y, x, n);
  glu_forward<float>(z, gate_up, Gate::silu, 1, n);
  for (int64_t i = 0; i < n; ++i) {
    const double v = x.at(i);
    const double gelu = 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    EXPECT_NEAR(y.at(i), gelu, 1e-6) << v;
    EXPECT_NEAR(z.at(i), 2 * v / (1 + std::exp(-v)), 2e-6) << v;
  }
}

TEST(Activation, gradients_agree_with_finite_differences) {
  const int64_t N = 3, I = 21;
  const Array<float> x(N * I, 1, 2), dy(N * I, 2), gate_up(N * 2 * I, 3, 2);
  Array<float> dx(N * I), d_gate_up(N * 2 * I);
  const auto gelu = [](double v) {
    return 0.5 * v * (1 + std::tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
  };
  const auto silu = [](double v) { return v / (1 + std::exp(-v)); };
  std::vector<TestedIsa> isas = tested_isas();
  isas.push_back({"ref", &kRefTable, nullptr});
  for (const TestedIsa& isa : isas) {
    const WithTable with(isa.table);
    gelu_backward<float>(dx, dy, x, N * I);
    const auto gelu_loss = [&](const std::vector<double>& v) {
      double loss = 0;
      for (size_t i = 0; i < v.size(); ++i) loss += gelu(v[i]) * dy.at(static_cast<int64_t>(i));
      return loss;
    };
    expect_gradient(dx, to_double(x), gelu_loss, 2e-6, isa.name);
    for (const Gate gate : {Gate::silu, Gate::gelu_tanh}) {
      glu_backward<float>(d_gate_up, dy, gate_up, gate, N, I);
      const auto glu_loss = [&](const std::vector<double>& v) {
        double loss = 0;
        for (int64_t n = 0; n < N; ++n) {
          for (int64_t i = 0; i < I; ++i) {
            const double g = v[static_cast<size_t>(n * 2 * I + i)],
                         up = v[static_cast<size_t>(n * 2 * I + I + i)];
            loss += (gate == Gate::silu ? silu(g) : gelu(g)) * up * dy.at(n * I + i);
          }
        }
        return loss;
      };
      expect_gradient(d_gate_up, to_double(gate_up), glu_loss, 2e-6, isa.name);
    }
  }
}

TEST(Activation, large_values_and_nan) {
  std::vector<TestedIsa> isas = tested_isas();
  isas.push_back({"ref", &kRefTable, nullptr});
  for (const TestedIsa& isa : isas) {
    const WithTable with(isa.table);
    Array<float> x(6), y(6), d(6), one(6);
    const float values[] = {1e10f, -1e10f, 1e30f, -1e30f, std::nanf(""), 0};
    for (int64_t i = 0; i < 6; ++i) {
      x.data()[i] = values[i];
      one.data()[i] = 1;
    }
    gelu_forward<float>(y, x, 6);
    gelu_backward<float>(d, one, x, 6);
    EXPECT_EQ(y.at(0), 1e10f) << isa.name;
    EXPECT_EQ(y.at(1), 0) << isa.name;
    EXPECT_EQ(y.at(2), 1e30f) << isa.name;
    EXPECT_EQ(y.at(3), 0) << isa.name;
    EXPECT_TRUE(std::isnan(y.at(4))) << isa.name;
    EXPECT_EQ(d.at(0), 1) << isa.name;
    EXPECT_NEAR(d.at(1), 0, 1e-30) << isa.name;
    EXPECT_EQ(d.at(2), 1) << isa.name;
    EXPECT_NEAR(d.at(3), 0, 1e-30) << isa.name;
    EXPECT_TRUE(std::isnan(d.at(4))) << isa.name;
    EXPECT_EQ(d.at(5), 0.5f) << isa.name;
  }
}

TEST(Activation, threads_change_nothing) {
  const auto run = [](int threads) {
    const WithThreads with(threads);
    return Results<float>(40, 3001);
  };
  const Results<float> one = run(1), three = run(3);
  expect_equal(three.gelu, one.gelu, "gelu");
  expect_equal(three.glu[0], one.glu[0], "glu");
  expect_equal(three.glu_d[0], one.glu_d[0], "d glu");
  expect_equal(three.sum, one.sum, "sum");
}

TEST(Activation, conversion_rounds_and_widens) {
  for (const TestedIsa& isa : tested_isas()) {
    const WithTable with(isa.table);
    for (const int64_t n : {1, 15, 16, 17, 100003}) {
      const Array<float> x(n, 1);
      Array<bf16> narrow(n);
      Array<float> wide(n);
      to_bf16(narrow, x, n);
      to_float(wide, narrow, n);
      ASSERT_TRUE(narrow.guards_intact() && wide.guards_intact());
      for (int64_t i = 0; i < n; ++i) {
        ASSERT_EQ(narrow.data()[i].bits, to_bf16(x.at(i)).bits);
        ASSERT_EQ(wide.at(i), narrow.at(i));
      }
    }
  }
}

}  // namespace
}  // namespace tumbler::kernels
