#include "tokens/build.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/file_lock.h"
#include "io/lines.h"
#include "tokens/shards.h"
#include "tokens/test_data.h"

namespace tumbler::tokens {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing_data::small_parts;
using testing_data::TemporaryDirectory;

Tokenizer small() {
  return Tokenizer::from_parts(small_parts({{"d", "o"}, {"do", "c"}, {" ", "t"}}));
}

std::string text_of(int file, int i) {
  std::string text = "document " + std::to_string(file) + "." + std::to_string(i);
  for (int n = 0; n < i % 5; ++n) text += "\nline \xC3\xA9 of text <|endoftext|>";
  return text;
}

std::vector<fs::path> write_inputs(const TemporaryDirectory& directory, int files, int documents) {
  std::vector<fs::path> paths;
  for (int f = 0; f < files; ++f) {
    paths.push_back(directory / ("docs" + std::to_string(f) + ".jsonl.zst").c_str());
    io::LineWriter writer(paths.back());
    for (int i = 0; i < documents; ++i)
      writer.write_line(
          Json{{"text", text_of(f, i)}, {"id", std::to_string(f) + "-" + std::to_string(i)}}.dump());
    writer.write_line("not json");
    writer.write_line(R"({"id":"x"})");
    writer.write_line(R"({"text":"","id":"y"})");
    writer.commit();
  }
  return paths;
}

std::map<std::string, std::string> files_in(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), directory).string()] = io::read_file(entry.path());
  return files;
}

BuildReport build(const BuildOptions& options) {
  Progress none;
  return build_shards(small(), options, none);
}

std::vector<std::string> texts_in(const fs::path& shard) {
  const TokenShardReader reader(shard);
  std::vector<std::string> texts;
  for (int64_t d = 0; d < reader.documents(); ++d) {
    const auto [begin, end] = reader.document(d);
    std::vector<TokenId> ids(static_cast<size_t>(end - begin));
    reader.read(begin, ids);
    EXPECT_EQ(ids.back(), small().get_eos());
    EXPECT_EQ(std::count(ids.begin(), ids.end(), small().get_eos()),
              1);  // names of special tokens in documents are text
    ids.pop_back();
    texts.push_back(small().decode(ids));
  }
  return texts;
}

TEST(TokensBuild, EveryDocumentIsInOneShardAndTheHeldOutTextIsWhole) {
  const TemporaryDirectory directory;
  const BuildOptions options{
      .inputs = write_inputs(directory, 2, 200), .output = directory / "out", .held_out_fraction = 0.1};
  const BuildReport report = build(options);
  ASSERT_TRUE(report.complete);
  std::multiset<std::string> seen, want;
  std::string held_out;
  for (const char* shard : {"train_00000.ds", "train_00001.ds"})
    for (const std::string& text : texts_in(options.output / shard)) seen.insert(text);
  for (const std::string& text : texts_in(options.output / "held_out.ds"))
    seen.insert(text), held_out += text;
  for (int f = 0; f < 2; ++f)
    for (int i = 0; i < 200; ++i) want.insert(text_of(f, i));
  EXPECT_EQ(seen, want);
  EXPECT_EQ(io::read_file(options.output / "held_out.txt"), held_out);
  const Json manifest = Json::parse(report.manifest);
  EXPECT_EQ(manifest["held_out"]["text_bytes"], held_out.size());
  EXPECT_EQ(manifest["train"]["documents"].get<int>() + manifest["held_out"]["documents"].get<int>(), 400);
  EXPECT_GT(manifest["held_out"]["documents"], 15);
  EXPECT_LT(manifest["held_out"]["documents"], 80);
  EXPECT_EQ(manifest["train"]["tokens"].get<int64_t>(),
            TokenShardReader(options.output / "train_00000.ds").size() +
                TokenShardReader(options.output / "train_00001.ds").size());
  EXPECT_EQ(manifest["dropped"], (Json{{"empty", 2}, {"no_text", 2}, {"not_json", 2}}));
  const auto order = texts_in(options.output / "train_00000.ds");
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::stoi(a.substr(11)) < std::stoi(b.substr(11));
  }));
}

TEST(TokensBuild, SameBytesForAnyThreadsRanksAndAfterAKill) {
  const TemporaryDirectory directory;
  BuildOptions options{.inputs = write_inputs(directory, 3, 100),
                       .output = directory / "one",
                       .held_out_fraction = 0.1,
                       .threads = 1};
  build(options);
  const auto want = files_in(options.output);
  EXPECT_TRUE(want.contains("manifest.json"));

  options.output = directory / "threads";
  options.threads = 3;
  build(options);
  EXPECT_EQ(files_in(options.output), want);

  options.output = directory / "ranks";
  options.world = 2;
  options.rank = 1;
  EXPECT_FALSE(build(options).complete);
  options.rank = 0;
  EXPECT_TRUE(build(options).complete);
  EXPECT_EQ(files_in(options.output), want);

  // A run that was killed: the records of two files, a manifest and a shard are missing, and parts of others
  // lie about.
  options = {.inputs = options.inputs, .output = directory / "threads", .held_out_fraction = 0.1};
  for (const char* name :
       {"manifest.json", "held_out.ds", "parts/part_00001.json", "parts/part_00002.json", "train_00002.ds"})
    fs::remove(options.output / name);
  for (const char* name : {"parts/unshuffled_00001.ds", "parts/held_out_00001.ds.tmp.1",
                           "train_00002.ds.tmp.1", "held_out.txt.tmp.1"})
    io::write_file(options.output / name, "half");
  {
    const io::FileLock other(options.output / ".lock.rank0", "test", "taken");
    EXPECT_THROW(build(options), Error) << "two at once";
  }
  const BuildReport report = build(options);
  EXPECT_EQ(report.files_done, 2);
  EXPECT_EQ(report.files_skipped, 1);
  EXPECT_EQ(files_in(options.output), want);
}

TEST(TokensBuild, AnotherInputInTheSameDirectoryIsAnError) {
  const TemporaryDirectory directory;
  BuildOptions options{.inputs = write_inputs(directory, 1, 10), .output = directory / "out"};
  build(options);
  options.seed = 2;
  EXPECT_THROW(build(options), Error);
}

TEST(TokensBuild, HoldingOutDependsOnTheDocumentAlone) {
  int held = 0;
  for (int i = 0; i < 10000; ++i) held += is_held_out("id" + std::to_string(i), "", 0.05);
  EXPECT_NEAR(held, 500, 110);  // five standard deviations of 22
  EXPECT_EQ(is_held_out("a", "x", 0.5), is_held_out("a", "y", 0.5));
  EXPECT_EQ(is_held_out("", "x", 0.5), is_held_out("x", "", 0.5));
  EXPECT_FALSE(is_held_out("a", "", 0));
}

TEST(TokensBuild, BadOptionsAndInputsAreErrors) {
  const TemporaryDirectory directory;
  io::write_file(directory / "empty.jsonl", "");
  io::write_file(directory / "damaged.jsonl.zst", "this is no zstd frame");
  BuildOptions options{.inputs = {}, .output = directory / "a"};
  EXPECT_THROW(build(options), Error);
  options.inputs = {directory / "empty.jsonl"};
  EXPECT_THROW(build(options), Error);
  options = {.inputs = {directory / "damaged.jsonl.zst"}, .output = directory / "b"};
  EXPECT_THROW(build(options), Error);
  options.held_out_fraction = 1.5;
  EXPECT_THROW(build(options), Error);
  options = {.inputs = {directory / "empty.jsonl"}, .output = directory / "c", .rank = 2, .world = 2};
  EXPECT_THROW(build(options), Error);
}

TEST(TokensBuild, TextFileIsOneDocumentAndLongOnesAreCutForThreads) {
  const TemporaryDirectory directory;
  std::string text;
  while (text.size() < 2000000) text += "some words on a line\nand the next";
  io::write_file(directory / "book.txt", text);
  const BuildOptions options{
      .inputs = {directory / "book.txt"}, .output = directory / "out", .held_out_fraction = 0, .threads = 2};
  build(options);
  EXPECT_EQ(texts_in(options.output / "train_00000.ds"), std::vector<std::string>{text});
}

}  // namespace
}  // namespace tumbler::tokens
