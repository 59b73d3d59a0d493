#include "kernels/team.h"

#include <numeric>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/parallel.h"

namespace tumbler::kernels {
namespace {

TEST(Team, EachTaskIsDoneOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    std::vector<int> done(1000);
    for (int round = 1; round <= 50; ++round) {
      for_tasks(1000, threads, [&](int64_t i) { ++done[static_cast<size_t>(i)]; });
      for (const int n : done) ASSERT_EQ(n, round) << threads << " threads";
    }
  }
}

TEST(Team, WhatWasWrittenBeforeAndInsideIsSeen) {
  int64_t inp = 0, sum = 0;
  std::vector<int64_t> out(4);
  for (int round = 0; round < 20000; ++round) {
    ++inp;
    for_tasks(4, 3, [&](int64_t i) { out[static_cast<size_t>(i)] = inp * (i + 1); });
    sum = std::accumulate(out.begin(), out.end(), int64_t{0});
    ASSERT_EQ(sum, 10 * inp);
  }
}

TEST(Team, SleepsAndWakes) {
  for (int round = 0; round < 5; ++round) {
    std::atomic<int> done = 0;
    for_tasks(64, 4, [&](int64_t) { ++done; });
    EXPECT_EQ(done, 64);
    std::this_thread::sleep_for(std::chrono::milliseconds(8));  // longer than a team waits awake
  }
}

TEST(Team, ThreadsHaveTeamsOfTheirOwn) {
  std::vector<std::thread> threads;
  std::atomic<int64_t> total = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) for_tasks(10, 2, [&](int64_t i) { total += i; });
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(total, 4 * 200 * 45);
}

TEST(Team, ReadingAheadChangesNothing) {
  const std::vector<std::byte> bytes(100'000);
  std::atomic<int> done = 0;
  for (int round = 0; round < 100; ++round) {
    read_ahead(bytes.data(), static_cast<int64_t>(bytes.size()));
    for_tasks(3, 2, [&](int64_t) { ++done; });
  }
  EXPECT_EQ(done, 300);
}

TEST(Team, ChunksAreTheSameAsWithOpenMp) {
  std::vector<int> with(1001), without(1001);
  const auto fill = [](std::vector<int>& chunk_of) {
    parallel_chunks(3, 1001, 16, [&](int chunk, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) chunk_of[static_cast<size_t>(i)] = chunk;
    });
  };
  fill(without);
  {
    const UseTeam team;
    fill(with);
    EXPECT_TRUE(UseTeam::active());
  }
  EXPECT_FALSE(UseTeam::active());
  EXPECT_EQ(with, without);
}

}  // namespace
}  // namespace tumbler::kernels
