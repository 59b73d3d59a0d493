#include <csignal>
#include <filesystem>
#include <limits>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/rng.h"
#include "io/file.h"
#include "io/lines.h"
#include "pipeline/compressors.h"
#include "pipeline/report_data.h"
#include "pipeline/runner.h"
#include "pipeline/svg.h"

namespace tumbler::pipeline {
namespace {

namespace fs = std::filesystem;

// Stages here are shell commands: the runner does not care what its program is.
class Runner : public testing::Test {
 protected:
  void SetUp() override {
    run_ = fs::temp_directory_path() / ("tumbler_pipeline_" + std::to_string(::getpid()));
    fs::remove_all(run_);
    fs::create_directories(run_);
  }
  void TearDown() override { fs::remove_all(run_); }
  Stage shell(const std::string& name, const std::string& script, const std::string& settings = "1") {
    return {name, name, {"-c", script}, settings, run_ / name, {}};
  }
  std::vector<StageRecord> run(const std::vector<Stage>& stages, const std::string& from = "") {
    log_.clear();
    const Events events = {[&](const Stage& s, size_t, size_t) { log_ += "start:" + s.name + " "; },
                           [&](const Stage& s, const StageRecord&) { log_ += "skip:" + s.name + " "; },
                           [&](const Stage& s, const StageRecord&) { log_ += "done:" + s.name + " "; }};
    return run_stages(stages, run_, "/bin/sh", from, events);
  }
  fs::path run_;
  std::string log_;
};

TEST_F(Runner, RunsInOrderAndSkipsWhatIsDone) {
  const std::vector<Stage> stages = {shell("a", "echo a >> " + (run_ / "log").string()),
                                     shell("b", "echo b >> " + (run_ / "log").string())};
  EXPECT_EQ(run(stages).size(), 2u);
  EXPECT_EQ(log_, "start:a done:a start:b done:b ");
  run(stages);
  EXPECT_EQ(log_, "skip:a skip:b ");
  EXPECT_EQ(io::read_file(run_ / "log"), "a\nb\n");
  const auto records = read_records(run_);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].name, "a");
  EXPECT_EQ(records[1].name, "b");
  EXPECT_GT(records[1].peak_rss_bytes, 0);
}

TEST_F(Runner, AFailedStageStopsAndIsTriedAgain) {
  const std::string flag = (run_ / "flag").string();
  const std::vector<Stage> stages = {shell("a", "true"), shell("b", "test -e " + flag), shell("c", "true")};
  EXPECT_THROW(run(stages), Error);
  EXPECT_EQ(log_, "start:a done:a start:b ");
  io::write_file(flag, "");
  const auto records = run(stages);
  EXPECT_EQ(log_, "skip:a start:b done:b start:c done:c ");
  EXPECT_GT(records[1].seconds, 0);
}

TEST_F(Runner, OtherSettingsAreRefusedUntilFromIsGiven) {
  run({shell("a", "true"), shell("b", "true")});
  fs::create_directories(run_ / "b");
  const std::vector<Stage> other = {shell("a", "true"), shell("b", "true", "2")};
  try {
    run(other);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--from b"), std::string::npos) << error.what();
  }
  run(other, "b");
  EXPECT_EQ(log_, "skip:a start:b done:b ");
  EXPECT_FALSE(fs::exists(run_ / "b")) << "--from removes the old output";
  EXPECT_THROW(run(other, "x"), Error);
}

TEST_F(Runner, AChangeInAnEarlierStageReachesTheLaterOnes) {
  run({shell("a", "true"), shell("b", "true")});
  run({shell("a", "true", "2"), shell("b", "true")}, "a");
  EXPECT_EQ(log_, "start:a done:a start:b done:b ");
}

TEST_F(Runner, StandardOutputAppearsWhenTheStageIsDone) {
  Stage stage = shell("a", "echo hello; exit 3");
  stage.stdout_file = run_ / "out" / "a.txt";
  EXPECT_THROW(run({stage}), Error);
  EXPECT_FALSE(fs::exists(stage.stdout_file));
  stage.command[1] = "echo hello";
  run({stage});
  EXPECT_EQ(io::read_file(stage.stdout_file), "hello\n");
}

TEST_F(Runner, TwoRunsInOneDirectoryAreRefused) {
  const std::string ready = (run_ / "ready").string();
  const pid_t child = ::fork();
  if (child == 0) {
    run({shell("a", "touch " + ready + "; sleep 20")});
    ::_exit(0);
  }
  while (!fs::exists(ready)) ::usleep(10000);
  EXPECT_THROW(run({shell("a", "true")}), Error);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  for (int i = 0; i < 500; ++i) {  // the stage dies with its parent, and the lock with both
    try {
      run({shell("a", "true")});
      break;
    } catch (const Error&) {
      ::usleep(10000);
    }
  }
  EXPECT_EQ(log_, "start:a done:a ");
}

TEST(ShellLine, QuotesWhatAShellWouldTakeApart) {
  EXPECT_EQ(shell_line({"a", "--x=1", "two words", "it's", "", "*.ds"}),
            "tumbler a --x=1 'two words' 'it'\\''s' '' '*.ds'");
}

TEST_F(Runner, ADamagedRecordIsNamed) {
  run({shell("a", "true")});
  io::write_file(run_ / "pipeline" / "a.json", "{\"name\":");
  EXPECT_THROW(run({shell("a", "true")}), Error);
}

TEST(Report, ADroppedPageIsCutBetweenCharacters) {
  const fs::path run = fs::temp_directory_path() / ("tumbler_report_" + std::to_string(::getpid()));
  fs::create_directories(run / "data" / "removed");
  io::write_file(run / "data" / "funnel.json", R"({"filters":[]})");
  std::string japanese = "a";  // 240 bytes end inside a character of three
  for (int i = 0; i < 200; ++i) japanese += "日";
  {
    io::LineWriter removed(run / "data" / "removed" / "00000.jsonl.zst");
    removed.write_line(nlohmann::json{{"filter", "language"}, {"reason", "x"}, {"text", japanese}}.dump());
    removed.commit();
  }
  const std::string html = data_section(RunLayout{run});
  fs::remove_all(run);
  EXPECT_NE(html.find("日 …</div>"), std::string::npos);
  EXPECT_NO_THROW(nlohmann::json(html).dump()) << "which refuses what is not UTF-8";
}

TEST(Svg, EscapesAndDrawsFinitePointsOnly) {
  EXPECT_EQ(escape_html("<a b=\"c\">&'"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;");
  const std::string chart = line_chart(
      {{"loss<1>", {{0, 3}, {1, std::numeric_limits<double>::quiet_NaN()}, {2, 1}}, true}}, {"step", "loss"});
  EXPECT_EQ(chart.find("nan"), std::string::npos);
  EXPECT_EQ(chart.find("<1>"), std::string::npos);
  EXPECT_NE(chart.find("<svg"), std::string::npos);
  EXPECT_NE(line_chart({}, {"x", "y"}).find("no points"), std::string::npos);
}

TEST(Svg, LongSeriesStaySmallAndKeepTheirExtremes) {
  Series series{"loss", {}};
  for (int i = 0; i < 200000; ++i) series.points.emplace_back(i, i == 77777 ? 100 : 1);
  const std::string chart = line_chart({series}, {"step", "loss"});
  EXPECT_LT(chart.size(), 60000u);
  EXPECT_NE(chart.find(" 19.7"), std::string::npos) << "the spike's pixel row is drawn";
}

TEST(Compressors, OrderOfMagnitudeAndPrefixHelps) {
  Rng rng(1);
  std::string text;
  const char* words[] = {"river ", "stone ", "polish ", "grit ", "drum ", "turn "};
  for (int i = 0; i < 20000; ++i) text += words[rng.below(6)];
  std::string noise(1'200'000, ' ');  // more than zlib is given at once
  for (char& c : noise) c = static_cast<char>(rng());
  const auto results = compress_baselines(text, "");
  ASSERT_EQ(results.size(), 3u);
  // 6 equally likely words of 6 bytes on average: log2(6)/6 = 0.43 bits a byte is the floor.
  for (const Compressed& r : results) {
    EXPECT_GT(r.bits_per_byte, 0.43) << r.name;
    EXPECT_LT(r.bits_per_byte, 1.2) << r.name;
  }
  for (const Compressed& r : compress_baselines(noise, "")) EXPECT_NEAR(r.bits_per_byte, 8, 0.1) << r.name;
  const std::string read_before = noise;
  const auto with_prefix = compress_baselines(noise, read_before);
  EXPECT_LT(with_prefix.back().bits_per_byte, 0.1) << "the same text was read before";
  EXPECT_TRUE(compress_baselines("", "").empty());
}

}  // namespace
}  // namespace tumbler::pipeline
