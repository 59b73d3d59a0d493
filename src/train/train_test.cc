// Schedule, run log, guard, checkpoint directories.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/config.h"
#include "base/error.h"
#include "io/file.h"
#include "train/checkpoint.h"
#include "train/guard.h"
#include "train/run_log.h"
#include "train/schedule.h"

namespace tumbler::train {
namespace {

namespace fs = std::filesystem;

class Directory {
 public:
  Directory() {
    std::string name = (fs::temp_directory_path() / "tumbler_train_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Directory() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Schedule, RisesHoldsAndFallsLinearly) {
  const ScheduleConfig c{.warmup_steps = 10, .decay_share = 0.5, .decay = "linear", .final_share = 0.1};
  EXPECT_DOUBLE_EQ(schedule_multiplier(c, 0, 100), 0.1);
  EXPECT_DOUBLE_EQ(schedule_multiplier(c, 9, 100), 1.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier(c, 49, 100), 1.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier(c, 50, 100), 0.1 + 0.9 * 50 / 51);
  EXPECT_DOUBLE_EQ(schedule_multiplier(c, 99, 100), 0.1 + 0.9 * 1 / 51);
}

TEST(Schedule, CosineFallsFromTheEndOfWarmUp) {
  const ScheduleConfig c{.warmup_steps = 20, .decay_share = 1, .decay = "cosine", .final_share = 0};
  EXPECT_DOUBLE_EQ(schedule_multiplier(c, 19, 219), 1.0);
  EXPECT_NEAR(schedule_multiplier(c, 119, 219), 0.5, 1e-2);
  for (int64_t step = 20; step < 219; ++step)
    EXPECT_LT(schedule_multiplier(c, step, 219), schedule_multiplier(c, step - 1, 219));
  EXPECT_GT(schedule_multiplier(c, 218, 219), 0);
}

TEST(Schedule, ShortRunsAndExtremes) {
  const ScheduleConfig long_warmup{.warmup_steps = 1000};
  EXPECT_GT(schedule_multiplier(long_warmup, 5, 40), 0.9);
  const ScheduleConfig constant{.warmup_steps = 0, .decay_share = 0};
  for (int64_t step = 0; step < 5; ++step) EXPECT_EQ(schedule_multiplier(constant, step, 5), 1.0);
  EXPECT_GT(schedule_multiplier(ScheduleConfig{}, 0, 1), 0);
}

TEST(Schedule, RefusesWhatItCannotDo) {
  ScheduleConfig c;
  config::set(c, "decay=cubic");
  EXPECT_NE(error_of([&] { check_schedule(c); }).find("expected linear or cosine"), std::string::npos);
  EXPECT_NE(error_of([&] { config::set(c, "warmup_step=3"); }).find("did you mean 'warmup_steps'"),
            std::string::npos);
}

TEST(RunLog, ResumeCutsTheLogBackToTheStep) {
  const Directory dir;
  const fs::path path = dir.path() / "metrics.jsonl";
  {
    RunLog log(path, -1);
    for (int step = 0; step < 5; ++step) log.write({{"event", "step"}, {"step", step}, {"loss", 1.5}});
  }
  std::ofstream(path, std::ios::app) << R"({"event":"step","st)";
  {
    RunLog log(path, 2);
    log.write({{"event", "step"}, {"step", 3}, {"loss", std::numeric_limits<double>::quiet_NaN()}});
  }
  EXPECT_EQ(io::read_file(path),
            "{\"event\":\"step\",\"step\":0,\"loss\":1.5}\n{\"event\":\"step\",\"step\":1,\"loss\":1.5}\n"
            "{\"event\":\"step\",\"step\":2,\"loss\":1.5}\n{\"event\":\"step\",\"step\":3,\"loss\":null}\n");
  { RunLog log(path, -1); }
  EXPECT_EQ(io::read_file(path), "");
}

// What the step loop does with one step.
Guard::Verdict judge(Guard& guard, int64_t step, double loss, double grad_norm) {
  if (guard.judge_loss(step, loss) == Guard::Verdict::kSkip) return Guard::Verdict::kSkip;
  return guard.judge_gradient(step, loss, grad_norm);
}

TEST(Guard, SkipsWhatIsNotFiniteAndStopsWhenItStaysSo) {
  Guard guard({.max_bad_steps = 3});
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(judge(guard, 1, 2.0, 1.0), Guard::Verdict::kGood);
  EXPECT_EQ(judge(guard, 2, nan, 1.0), Guard::Verdict::kSkip);
  EXPECT_EQ(judge(guard, 3, 2.0, inf), Guard::Verdict::kSkip);
  EXPECT_EQ(judge(guard, 4, 2.0, 1.0), Guard::Verdict::kGood);
  EXPECT_EQ(guard.skipped(), 2);
  EXPECT_EQ(judge(guard, 5, nan, 1), Guard::Verdict::kSkip);
  EXPECT_EQ(judge(guard, 6, 2.0, nan), Guard::Verdict::kSkip);
  EXPECT_NE(error_of([&] { judge(guard, 7, inf, nan); }).find("lower learning rate"), std::string::npos);
}

// 100 steps around a loss of 3, then a jump.
Guard settled(const char* on_spike) {
  Guard guard({.max_bad_steps = 3, .on_spike = on_spike});
  for (int step = 0; step < 100; ++step)
    EXPECT_EQ(judge(guard, step, 3.0 + 0.01 * (step % 7), 1.0), Guard::Verdict::kGood);
  return guard;
}

TEST(Guard, SpikesWarnSkipOrStop) {
  Guard warn = settled("warn");
  EXPECT_EQ(judge(warn, 100, 6.0, 1.0), Guard::Verdict::kGood);
  Guard stop = settled("stop");
  EXPECT_NE(error_of([&] { judge(stop, 100, 6.0, 1.0); }).find("loss jumped to 6.0000"), std::string::npos);
  Guard skip = settled("skip");
  EXPECT_EQ(judge(skip, 100, 3.05, 1.0), Guard::Verdict::kGood);
  for (int step = 101; step < 104; ++step) EXPECT_EQ(judge(skip, step, 6.0, 1.0), Guard::Verdict::kSkip);
  EXPECT_EQ(judge(skip, 104, 6.0, 1.0), Guard::Verdict::kGood) << "a level that stays is the new level";
}

TEST(Guard, StateGoesThroughJson) {
  Guard a = settled("skip"), b({.max_bad_steps = 3, .on_spike = "skip"});
  b.set_state(nlohmann::ordered_json::parse(a.state().dump()));
  EXPECT_EQ(judge(b, 100, 6.0, 1.0), Guard::Verdict::kSkip);
  EXPECT_EQ(judge(a, 100, 6.0, 1.0), Guard::Verdict::kSkip);
  EXPECT_EQ(a.state(), b.state());
}

void write_step(const fs::path& run, int64_t step, size_t bytes = 1000) {
  write_checkpoint(run, step, [&](const fs::path& dir) {
    io::write_file(dir / "config.json", "{}");
    io::write_file(dir / "model.safetensors", std::string(bytes, static_cast<char>('a' + step)));
  });
}

TEST(Checkpoint, NewestWholeOneIsFound) {
  const Directory dir;
  EXPECT_FALSE(find_latest(dir.path()).has_value());
  EXPECT_FALSE(find_latest(dir.path() / "absent").has_value());
  for (const int64_t step : {1, 2, 10}) write_step(dir.path(), step);
  EXPECT_EQ(find_latest(dir.path())->step, 10);
  EXPECT_EQ(get_model_directory(dir.path()), dir.path() / "step_000010");
  EXPECT_EQ(get_model_directory(dir.path() / "step_000002"), dir.path() / "step_000002");
  remove_old_checkpoints(dir.path(), 2);
  ASSERT_EQ(list_checkpoints(dir.path()).size(), 2u);
  EXPECT_EQ(list_checkpoints(dir.path())[1].step, 2);
}

TEST(Checkpoint, EveryFlippedByteAndEveryCutIsFound) {
  const Directory dir;
  write_step(dir.path(), 1, 40);
  const fs::path step = dir.path() / "step_000001";
  ASSERT_EQ(find_damage(step), std::nullopt);
  for (const char* name : {"config.json", "model.safetensors", "checksums.json"}) {
    const std::string good = io::read_file(step / name);
    for (size_t i = 0; i < good.size(); ++i) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ 1);
      io::write_file(step / name, bad);
      // White space in the JSON of the checksums may change without changing what it says.
      if (std::isspace(static_cast<unsigned char>(good[i])) != 0) continue;
      EXPECT_TRUE(find_damage(step)) << name << " byte " << i;
    }
    io::write_file(step / name, good.substr(0, good.size() / 2));
    EXPECT_TRUE(find_damage(step)) << name;
    io::write_file(step / name, good);
    ASSERT_EQ(find_damage(step), std::nullopt) << name;
  }
  fs::remove(step / "model.safetensors");
  EXPECT_EQ(find_damage(step), "model.safetensors is missing");
}

TEST(Checkpoint, DamagedNewestIsMovedAsideAndTheOneBeforeUsed) {
  const Directory dir;
  write_step(dir.path(), 1);
  write_step(dir.path(), 2);
  io::write_file(dir.path() / "step_000002/model.safetensors", std::string(1000, 'x'));
  EXPECT_EQ(find_latest(dir.path())->step, 1);
  EXPECT_TRUE(fs::exists(dir.path() / "step_000002.damaged"));
  io::write_file(dir.path() / "step_000001/model.safetensors", "");
  EXPECT_NE(error_of([&] { find_latest(dir.path()); }).find("all damaged"), std::string::npos);
}

TEST(Checkpoint, LeftoversAreRemovedAndNeverFound) {
  const Directory dir;
  write_step(dir.path(), 1);
  fs::create_directories(dir.path() / "step_000002.tmp");
  EXPECT_EQ(find_latest(dir.path())->step, 1);
  remove_leftovers(dir.path());
  EXPECT_FALSE(fs::exists(dir.path() / "step_000002.tmp"));
  EXPECT_TRUE(fs::exists(dir.path() / "step_000001"));
}

// A write that fails in the middle, as on a full disk: in a child process, for the limit is the process's.
TEST(Checkpoint, FailedWriteLeavesEarlierOnesAlone) {
  const Directory dir;
  write_step(dir.path(), 1);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limit { 4096, 4096 };
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = error_of([&] { write_step(dir.path(), 2, 100000); });
    const bool clear = message.find("could not write") != std::string::npos &&
                       message.find("free some space") != std::string::npos;
    ::_exit(clear ? 7 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_EQ(find_latest(dir.path())->step, 1);
  EXPECT_FALSE(fs::exists(dir.path() / "step_000002.tmp"));
}

}  // namespace
}  // namespace tumbler::train
