#include "kernels/isa.h"

#include <cstdlib>

#include "base/error.h"
#include "kernels/kernel_testing.h"

namespace tumbler::kernels {
namespace {

TEST(Isa, host_has_ref_first_and_the_strongest_is_active) {
  const std::vector<Isa> isas = host_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.front(), Isa::ref);
  if (std::getenv("TUMBLER_ISA") == nullptr) {
    EXPECT_EQ(active_isa(), isas.back());
  }
}

TEST(Isa, can_be_changed_to_what_the_host_has_and_to_nothing_else) {
  const Isa before = active_isa();
  bool has_avx512 = false;
  for (const Isa isa : host_isas()) {
    set_active_isa(isa);
    EXPECT_EQ(active_isa(), isa);
    EXPECT_NE(describe_machine().find(isa_name(isa)), std::string::npos);
    has_avx512 |= isa == Isa::avx512;
    if (isa != Isa::avx512) {
      EXPECT_FALSE(has_fast_bf16());
      EXPECT_EQ(best_dtype(), DType::f32);
    }
  }
  set_active_isa(before);
  if (!has_avx512) {
    EXPECT_THROW(set_active_isa(Isa::avx512), Error);
    EXPECT_EQ(active_isa(), before);
  }
}

// In processes of their own, since the variable is read once.
TEST(IsaDeathTest, tumbler_isa_is_obeyed_or_refused) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto start = [](const char* wish) {
    setenv("TUMBLER_ISA", wish, 1);
    try {
      std::fprintf(stderr, "in force: %s\n", isa_name(active_isa()));
    } catch (const Error& error) {
      std::fprintf(stderr, "%s\n", error.what());
      std::exit(1);
    }
    std::exit(0);
  };
  EXPECT_EXIT(start("ref"), testing::ExitedWithCode(0), "in force: ref");
  EXPECT_EXIT(start("sse9"), testing::ExitedWithCode(1), "TUMBLER_ISA: got 'sse9', expected one of ref");
  if (host_isas().back() != Isa::avx512) {
    EXPECT_EXIT(start("avx512"), testing::ExitedWithCode(1),
                "TUMBLER_ISA: got 'avx512', expected one of ref");
  }
}

TEST(Isa, threads_can_be_set) {
  const WithThreads three(3);
  EXPECT_EQ(thread_count(), 3);
}

}  // namespace
}  // namespace tumbler::kernels
