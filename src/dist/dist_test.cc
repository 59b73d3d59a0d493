#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "dist/group.h"

namespace tumbler::dist {
namespace {

TEST(Group, OfOneLeavesEverythingAsItIs) {
  const auto group = join_group();
  ASSERT_EQ(group->size(), 1) << "this test is not run under mpirun";
  EXPECT_EQ(group->rank(), 0);
  std::vector<float> values = {1, 2, 3};
  group->sum(std::span(values));
  group->broadcast(std::as_writable_bytes(std::span(values)));
  group->barrier();
  EXPECT_EQ(values, (std::vector<float>{1, 2, 3}));
}

// Run by SlowGroup below in every rank: the binary is its own MPI program.
TEST(GroupRank, DISABLED_SumsAndBroadcasts) {
  const auto group = join_group();
  ASSERT_GT(group->size(), 1);
  // Fewer values than ranks, as many, and more than one chunk with a rest.
  for (const size_t n : {size_t{1}, static_cast<size_t>(group->size()), size_t{5'000'003}}) {
    std::vector<float> values(n);
    std::vector<double> wide(n);
    for (size_t i = 0; i < n; ++i)
      values[i] = static_cast<float>(i % 1000) + static_cast<float>(group->rank());
    for (size_t i = 0; i < n; ++i) wide[i] = static_cast<double>(i) * (group->rank() + 1);
    group->sum(std::span(values));
    group->sum(std::span(wide));
    const int ranks = group->size(), rank_sum = ranks * (ranks - 1) / 2;
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(values[i],
                static_cast<float>(i % 1000) * static_cast<float>(ranks) + static_cast<float>(rank_sum))
          << i;
      ASSERT_EQ(wide[i], static_cast<double>(i) * (rank_sum + ranks)) << i;
    }
    std::vector<float> mine(n, static_cast<float>(group->rank() + 7));
    group->broadcast(std::as_writable_bytes(std::span(mine)));
    ASSERT_EQ(mine, std::vector<float>(n, 7.0f));
  }
}

TEST(SlowGroup, CollectivesOnTwoAndThreeRanks) {
  if (std::system("mpirun --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "mpirun is not installed";
  for (const char* ranks : {"2", "3"}) {
    const std::string command =
        std::string("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n ") +
        ranks + " /proc/" + std::to_string(::getpid()) +
        "/exe --gtest_also_run_disabled_tests --gtest_filter='GroupRank.*' > /dev/null 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0) << ranks << " ranks";
  }
}

}  // namespace
}  // namespace tumbler::dist
