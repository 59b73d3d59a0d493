#include "chat/server/runs.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "chat/server/server_testing.h"
#include "io/file.h"

namespace tumbler::chat {
namespace {

namespace fs = std::filesystem;

class RunsTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "one/base");
    append(R"({"event":"start","step":0,"steps":2000,"config":{"lr":0.1}})"
           "\n");
  }
  void TearDown() override { fs::remove_all(folder_); }
  void append(const std::string& text) const {
    std::ofstream(folder_ / "one/base/metrics.jsonl", std::ios::app) << text;
  }
  fs::path folder_ = fs::temp_directory_path() / fmt::format("runs_{}", ::getpid());
  Runs runs_{{folder_.string(), "/nowhere"}};
};

TEST_F(RunsTest, AGrowingRunIsReadOn) {
  append(R"({"event":"step","step":1,"loss":3.5})"
         "\n"
         R"({"event":"step","st)");
  const auto list = runs_.list();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].step, 1);
  EXPECT_EQ(list[0].steps, 2000);
  const std::string id = list[0].id;
  auto lines = runs_.read(id, 0);
  ASSERT_TRUE(lines);
  EXPECT_EQ(lines->lines, 2) << "half a line is left";
  EXPECT_EQ(lines->config["lr"], 0.1);
  append(R"(ep":2})"
         "\n");
  for (int i = 3; i < 1000; ++i)
    append(fmt::format(R"({{"event":"step","step":{}}})"
                       "\n",
                       i));
  lines = runs_.read(id, 2);
  EXPECT_EQ(lines->lines, 1000);
  EXPECT_EQ(lines->metrics.size(), 998u);
  EXPECT_EQ(lines->metrics[0]["step"], 2);
  append("{\"step\":1000}\n");
  lines = runs_.read(id, 1000);
  ASSERT_EQ(lines->metrics.size(), 1u);
  EXPECT_EQ(lines->metrics[0]["step"], 1000);
  io::write_file(folder_ / "one/base/metrics.jsonl", "{\"step\":0}\n");
  EXPECT_EQ(runs_.read(id, 900)->lines, 0) << "begun anew";
  EXPECT_EQ(runs_.read(id, 0)->lines, 1);
  EXPECT_FALSE(runs_.read("0123456789abcdef", 0));
  EXPECT_FALSE(runs_.funnel(id));
  fs::create_directories(folder_ / "one/data");
  io::write_file(folder_ / "one/data/funnel.json", R"({"documents":3})");
  EXPECT_EQ((*runs_.funnel(id))["documents"], 3);
}

// A log of `n` steps, as one that goes on from a checkpoint writes it anew.
std::string log_of(int n, double loss) {
  std::string out = "{\"event\":\"start\",\"step\":0,\"steps\":9999}\n";
  for (int i = 1; i <= n; ++i)
    out += fmt::format("{{\"event\":\"step\",\"step\":{},\"loss\":{}}}\n", i, loss);
  return out;
}

TEST_F(RunsTest, ALogThatWasCutAndGrewAgainIsReadAnew) {
  const fs::path file = folder_ / "one/base/metrics.jsonl";
  io::write_file(file, log_of(3000, 3.5));
  const std::string id = runs_.list()[0].id;
  EXPECT_EQ(runs_.read(id, 0)->lines, 3001);
  EXPECT_EQ(runs_.read(id, 2900)->metrics.size(), 101u);
  // Longer than it was: only its bytes show that it is another one.
  io::write_file(file, log_of(4000, 2.25));
  EXPECT_EQ(runs_.read(id, 3001)->lines, 0) << "the reader has to begin from 0";
  const auto all = runs_.read(id, 0);
  ASSERT_EQ(all->lines, 4001);
  EXPECT_EQ(all->metrics[2999]["loss"], 2.25);
  for (const int64_t from : {0, 255, 256, 257, 512, 3999, 4000})
    EXPECT_EQ(runs_.read(id, from)->metrics[0]["step"], from);
  EXPECT_EQ(runs_.read(id, 4001)->lines, 4001);
  EXPECT_EQ(runs_.read(id, INT64_MAX)->lines, 4001);
  EXPECT_EQ(runs_.list()[0].step, 4000);
}

TEST_F(RunsTest, LongAndStrangeLogsAreReadInParts) {
  const fs::path file = folder_ / "one/base/metrics.jsonl";
  std::string text = log_of(30'000, 1);
  text +=
      "no JSON\n[1]\n\n" + std::string(3 << 20, 'x') + "\n{\"step\":30001}\n" + std::string(20 << 20, 'y');
  io::write_file(file, text);
  const std::string id = runs_.list()[0].id;
  int64_t from = 0, lines = 0;
  for (int parts = 0; parts < 10; ++parts) {
    const auto read = runs_.read(id, from);
    EXPECT_LE(static_cast<int64_t>(read->metrics.size()), Runs::kMaxLines);
    lines += static_cast<int64_t>(read->metrics.size());
    if (read->lines == from) break;
    from = read->lines;
  }
  EXPECT_EQ(from, 30'006) << "what is no object is counted";
  EXPECT_EQ(lines, 30'002) << "and left out";
  io::write_file(file, std::string(20 << 20, 'y'));
  EXPECT_EQ(runs_.read(id, 0)->lines, 0);
  EXPECT_EQ(runs_.list()[0].step, 0);
  io::write_file(file, "");
  EXPECT_EQ(runs_.read(id, 0)->lines, 0);
  fs::remove(file);
  EXPECT_EQ(runs_.read(id, 5)->lines, 0);
}

TEST_F(RunsTest, DataWithoutATrainingIsARunAsWell) {
  fs::create_directories(folder_ / "two/data");
  fs::create_directories(folder_ / "three");
  io::write_file(folder_ / "two/data/funnel.json", R"({"documents":4})");
  io::write_file(folder_ / "three/funnel.json", R"({"documents":5})");
  fs::create_directories(folder_ / "one/data");
  io::write_file(folder_ / "one/data/funnel.json", R"({"documents":6})");
  std::map<std::string, std::string> kinds;
  for (const RunSummary& run : runs_.list()) {
    kinds[run.path.lexically_relative(folder_).string()] = run.kind;
    ASSERT_TRUE(runs_.funnel(run.id));
    EXPECT_EQ(runs_.read(run.id, 0)->metrics.size(), run.kind == "data" ? 0u : 1u);
  }
  const std::map<std::string, std::string> expected = {
      {"one/base", "pretrain"}, {"two", "data"}, {"three", "data"}};
  EXPECT_EQ(kinds, expected);
  for (const char* id : {"..", "../one", "", "/etc/passwd"}) EXPECT_FALSE(runs_.read(id, 0));
}

class InsideTest : public ServerTest {};

TEST_F(InsideTest, RunsAndInsidesOverHttp) {
  fs::create_directories(directory_ / "models/run");
  io::write_file(directory_ / "models/run/metrics.jsonl", "{\"event\":\"start\",\"step\":0,\"steps\":5}\n");
  start();
  const Json runs = get("/api/runs").json;
  ASSERT_EQ(runs["runs"].size(), 1u);
  const std::string id = runs["runs"][0]["id"];
  EXPECT_EQ(get("/api/runs/" + id).json["lines"], 1);
  EXPECT_EQ(get("/api/runs/" + id + "?from=x").status, 400);
  EXPECT_EQ(get("/api/runs/0000000000000000").status, 404);
  EXPECT_EQ(get("/api/runs/..%2f..%2fetc").status, 404);
  EXPECT_EQ(get("/api/runs/" + id + "/funnel").status, 404);
  const Json lens = post("/api/inspect/lens", R"({"tokens":[72,101,108],"top":2})").json;
  const Json config = get("/api/models/tiny").json["config"];
  ASSERT_EQ(lens["layers"].size(), config["n_layer"].get<size_t>());
  EXPECT_EQ(lens["layers"][0].size(), 3u);
  EXPECT_EQ(lens["layers"][0][0]["top"].size(), 2u);
  const Json maps = post("/api/inspect/attention", R"({"tokens":[72,101,108]})").json;
  EXPECT_EQ(maps["layers"][0].size(), config["n_head"].get<size_t>());
  const Json heads = post("/api/inspect/attention", R"({"tokens":[72,101,108],"layer":0})").json;
  EXPECT_EQ(heads["heads"][0][0][0], 1);
  EXPECT_EQ(heads["heads"][0][0][1], 0);
  EXPECT_EQ(post("/api/inspect/attention", R"({"tokens":[72],"layer":99})").status, 400);
  EXPECT_EQ(post("/api/inspect/lens", R"({"tokens":[]})").status, 400);
}

}  // namespace
}  // namespace tumbler::chat
