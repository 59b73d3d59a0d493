// The whole chain on a tiny crawl, and the commands that README.md and docs/ quote, run on its result.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "io/file.h"
#include "tiny_crawl.h"

namespace tumbler {
namespace {

namespace fs = std::filesystem;

class SlowPipeline : public testing::Test {
 protected:
  // One run serves all tests of the suite.
  static void SetUpTestSuite() {
    directory_ = fs::temp_directory_path() / fmt::format("tumbler_chain_{}", ::getpid());
    fs::create_directories(directory_ / "runs/quickstart/crawl");
    fs::create_directory_symlink(fs::path(TUMBLER_SOURCE_DIR) / "recipes", directory_ / "recipes");
    io::write_file(directory_ / "runs/quickstart/crawl/crawl-00000.warc", tests::tiny_crawl(120, 1));
    if (std::system(fmt::format("gzip '{}'", (directory_ / "runs/quickstart/crawl/crawl-00000.warc").string())
                        .c_str()) != 0)
      return;
    io::write_file(directory_ / "tiny.toml", R"toml(
title = "A tiny run"
output = "runs/quickstart"
input = "runs/quickstart/crawl/*.warc.gz"
prompts = ["The old river", "People say"]
[tokenizer]
vocab_size = 512
[tokens]
held_out_fraction = 0.15
[pretrain]
depth = 1
steps = 12
sequence_length = 64
batch_tokens = 1024
eval_every = 6
sample_every = 6
checkpoint_every = 4
sample_prompts = ["The old river"]
)toml");
    first_ = shell("pipeline run tiny.toml");
  }
  static void TearDownTestSuite() { fs::remove_all(directory_); }

  // Runs `tumbler ARGUMENTS` in the directory; its output goes to files that failures show.
  static int shell(const std::string& arguments) {
    const std::string command = fmt::format("cd '{}' && '{}' {} > out.txt 2> err.txt < /dev/null",
                                            directory_.string(), TUMBLER_BINARY, arguments);
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static std::string errors() { return io::read_file(directory_ / "err.txt"); }

  static inline fs::path directory_;
  static inline int first_ = -1;
};

TEST_F(SlowPipeline, GoesFromACrawlToAModelAndAReport) {
  ASSERT_EQ(first_, 0) << errors();
  const fs::path run = directory_ / "runs/quickstart";
  const std::string report = io::read_file(run / "report.html");
  for (const char* part :
       {"id='data'", "id='tokens'", "id='training'", "id='heldout'", "xz -9", "The old river", "<svg"})
    EXPECT_NE(report.find(part), std::string::npos) << part;
  EXPECT_EQ(report.find("has not been run yet"), std::string::npos);
  EXPECT_EQ(report.find("<script"), std::string::npos);
  const auto funnel = nlohmann::json::parse(io::read_file(run / "data/funnel.json"));
  EXPECT_GE(funnel.at("documents").get<int>(), 100);
  EXPECT_LE(funnel.at("documents").get<int>(), 120)
      << "the duplicate, the stub, the German page and the broken record are out";
}

TEST_F(SlowPipeline, DoesNothingTheSecondTime) {
  ASSERT_EQ(first_, 0);
  const auto before = fs::last_write_time(directory_ / "runs/quickstart/tokenizer/tokenizer.json");
  ASSERT_EQ(shell("pipeline run tiny.toml"), 0) << errors();
  EXPECT_NE(errors().find("pretrain: done before"), std::string::npos) << errors();
  EXPECT_EQ(fs::last_write_time(directory_ / "runs/quickstart/tokenizer/tokenizer.json"), before);
}

TEST_F(SlowPipeline, AWrongKeyIsFoundBeforeAnythingRuns) {
  ASSERT_NE(shell("pipeline run tiny.toml --output elsewhere --set pretrain.stps=3"), 0);
  EXPECT_NE(errors().find("did you mean 'steps'"), std::string::npos) << errors();
  EXPECT_FALSE(fs::exists(directory_ / "elsewhere/tokenizer"));
}

TEST_F(SlowPipeline, AnEmptyCrawlIsAnErrorThatSaysSo) {
  io::write_file(directory_ / "empty.warc", "");
  EXPECT_EQ(shell("pipeline run tiny.toml --output empty --set 'input=\"empty.warc\"'"), 1);
  EXPECT_NE(errors().find("data"), std::string::npos) << errors();
}

// Lines of ```sh blocks.
std::vector<std::string> quoted_commands(const std::string& markdown) {
  std::vector<std::string> commands;
  bool inside = false;
  for (size_t at = 0; at < markdown.size();) {
    const size_t end = std::min(markdown.find('\n', at), markdown.size());
    const std::string line = markdown.substr(at, end - at);
    at = end + 1;
    if (line.starts_with("```")) {
      inside = line == "```sh";
    } else if (inside && !line.empty() && !line.starts_with("#")) {
      commands.push_back(line);
    }
  }
  return commands;
}

TEST_F(SlowPipeline, QuotedCommandsWork) {
  ASSERT_EQ(first_, 0);
  int run = 0;
  std::vector<fs::path> files = {fs::path(TUMBLER_SOURCE_DIR) / "README.md"};
  for (const fs::path& file : io::glob((fs::path(TUMBLER_SOURCE_DIR) / "docs/*.md").string()))
    files.push_back(file);
  for (const fs::path& file : files)
    for (const std::string& command : quoted_commands(io::read_file(file))) {
      ASSERT_TRUE(command.starts_with("tumbler ")) << file << ": " << command;
      EXPECT_EQ(shell(command.substr(8)), 0) << file << ": " << command << "\n" << errors();
      ++run;
    }
  EXPECT_GE(run, 8) << "the quoted commands were not found";
}

}  // namespace
}  // namespace tumbler
