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
  EXPECT_EQ(runs_.read(id, 900)->lines, 1) << "begun anew";
  EXPECT_FALSE(runs_.read("0123456789abcdef", 0));
  EXPECT_FALSE(runs_.funnel(id));
  fs::create_directories(folder_ / "one/data");
  io::write_file(folder_ / "one/data/funnel.json", R"({"documents":3})");
  EXPECT_EQ((*runs_.funnel(id))["documents"], 3);
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
