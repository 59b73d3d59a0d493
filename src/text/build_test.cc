#include "text/build.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/rng.h"
#include "io/file.h"
#include "io/file_lock.h"
#include "io/lines.h"
#include "text/dedup.h"
#include "text/document.h"

namespace fs = std::filesystem;

namespace tumbler::text {
namespace {

class Build : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() /
            fmt::format("tumbler-build-{}-{}", ::getpid(),
                        testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
    fs::create_directories(root_ / "in");
  }
  void TearDown() override { fs::remove_all(root_); }

  static std::string sentence(Rng& rng) {
    static const std::vector<std::string> words = {
        "the",     "of",     "and",   "river",    "stone",  "light",  "people", "walked",
        "between", "houses", "with",  "many",     "old",    "trees",  "that",   "stood",
        "near",    "water",  "where", "children", "played", "during", "summer", "evening"};
    std::string out;
    for (uint64_t i = 0, n = 8 + rng.below(10); i < n; ++i)
      out += (i > 0 ? " " : "") + words[rng.below(words.size())] +
             (rng.below(4) == 0 ? fmt::format("{:x}", rng.below(900)) : "");
    return out + ".";
  }
  static std::string prose(uint64_t seed) {
    Rng rng(seed);
    std::string out;
    for (int line = 0; line < 6; ++line) {
      for (int i = 0; i < 3; ++i) out += sentence(rng) + " ";
      out += "\n";
    }
    return out;
  }
  // `pages` JSONL pages; every seventh is a copy of a page of another file, every fifth too short, one line
  // in eleven is damaged.
  void write_jsonl(const std::string& name, int file, int pages) const {
    std::ofstream out(root_ / "in" / name);
    for (int i = 0; i < pages; ++i) {
      const uint64_t seed = i % 7 == 0 ? static_cast<uint64_t>(i) : static_cast<uint64_t>(file * 100'000 + i);
      nlohmann::json line = {{"text", i % 5 == 4 ? "too short" : prose(seed)},
                             {"url", fmt::format("http://example.org/{}/{}", file, i)},
                             {"id", fmt::format("{}-{}", file, i)}};
      out << (i % 11 == 10 ? "{\"text\": damaged" : line.dump()) << "\n";
    }
  }
  BuildConfig config(const std::string& output, int threads = 2) const {
    BuildConfig c;
    c.inputs = {(root_ / "in/*").string()};
    c.output = root_ / output;
    c.options.gopher_repetition.enabled = false;  // the made-up prose has few words
    c.threads = threads;
    c.memory_mb = 16;
    c.part_bytes = 100'000;  // several parts
    return c;
  }
  BuildResult run(const BuildConfig& c) const {
    Progress quiet;
    return build(c, quiet);
  }
  // All files below `output`, by name.
  std::map<std::string, std::string> contents(const std::string& output) const {
    std::map<std::string, std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator(root_ / output))
      if (entry.is_regular_file())
        out[entry.path().lexically_relative(root_ / output).string()] = io::read_file(entry.path());
    return out;
  }
  fs::path root_;
};

TEST_F(Build, KeepsDropsAndCounts) {
  write_jsonl("a.jsonl", 1, 60);
  write_jsonl("b.jsonl", 2, 60);
  const BuildResult result = run(config("out"));
  EXPECT_TRUE(result.whole);
  EXPECT_EQ(result.funnel.at(Filter::kRead).pages_in, 120);
  EXPECT_EQ(result.funnel.at(Filter::kRead).pages_out, 110);
  EXPECT_LE(result.funnel.at(Filter::kGopherQuality).pages_out, 90);  // without those that are too short
  EXPECT_GE(result.funnel.at(Filter::kMinhash).reasons.at("duplicate"), 5);
  int64_t documents = 0, removed = 0;
  for (const auto& path : io::glob((root_ / "out/documents/*").string())) {
    io::LineReader lines(path);
    while (const auto line = lines.next()) {
      ++documents;
      EXPECT_TRUE(from_json_line(*line));
    }
  }
  for (const auto& path : io::glob((root_ / "out/removed/*").string())) {
    io::LineReader lines(path);
    while (const auto line = lines.next()) {
      ++removed;
      EXPECT_FALSE(nlohmann::json::parse(*line).at("reason").get<std::string>().empty());
    }
  }
  EXPECT_EQ(documents, result.funnel.documents);
  EXPECT_EQ(documents + removed, 120);
  for (size_t i = 1; i < kFilters; ++i)
    EXPECT_EQ(result.funnel.filters[i].pages_in, result.funnel.filters[i - 1].pages_out) << i;
  const Funnel again = read_funnel(root_ / "out");
  EXPECT_EQ(to_json(again).dump(), to_json(result.funnel).dump());
  EXPECT_TRUE(run(config("out")).was_done);
}

TEST_F(Build, SameBytesForAnyThreadsAndRanks) {
  for (int file = 0; file < 7; ++file) write_jsonl(fmt::format("{}.jsonl", file), file, 40);
  run(config("one", 1));
  const auto expected = contents("one");
  EXPECT_EQ(expected.count("documents/00002.jsonl.zst"), 1u);
  run(config("three", 3));
  EXPECT_EQ(contents("three"), expected);
  for (const int64_t rank : {2, 0, 1}) {
    BuildConfig c = config("ranks", 2);
    c.rank = rank, c.world = 3;
    EXPECT_FALSE(run(c).whole);
  }
  BuildConfig merge = config("ranks", 1);
  merge.merge_only = true;
  EXPECT_TRUE(run(merge).whole);
  EXPECT_EQ(contents("ranks"), expected);
}

TEST_F(Build, ClearErrors) {
  const auto error_of = [&](const BuildConfig& c) -> std::string {
    try {
      run(c);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(error_of(config("out")).find("nothing matches"), std::string::npos);
  std::ofstream(root_ / "in/short.jsonl") << "{\"text\":\"too short\",\"url\":\"http://a/\"}\n";
  EXPECT_NE(error_of(config("out")).find("none of 1 pages was kept"), std::string::npos);
  EXPECT_NE(error_of(config("out")).find("none of 1 pages"), std::string::npos);  // and again, not done anew
  EXPECT_TRUE(fs::exists(root_ / "out/funnel.json"));
  write_jsonl("a.jsonl", 1, 20);
  EXPECT_NE(error_of(config("out")).find("input files have changed"), std::string::npos);
  run(config("second"));
  BuildConfig other = config("second");
  other.options.gopher_quality.min_words = 40;
  EXPECT_NE(error_of(other).find("options/gopher_quality/min_words was 50 and is 40"), std::string::npos)
      << error_of(other);
  BuildConfig merge = config("third");
  merge.merge_only = true;
  EXPECT_NE(error_of(merge).find("not made yet"), std::string::npos);
  BuildConfig rank = config("fourth");
  rank.rank = 3, rank.world = 3;
  EXPECT_NE(error_of(rank).find("rank < world"), std::string::npos);
}

TEST_F(Build, ADamagedPartIsMadeAgainOrTold) {
  write_jsonl("a.jsonl", 1, 40);
  run(config("expected"));
  BuildConfig c = config("out");
  c.world = 2;  // makes part 0 and stops
  run(c);
  const fs::path documents = root_ / "out/parts/00000.documents.jsonl.zst",
                 bands = root_ / "out/parts/00000.bands";
  ASSERT_TRUE(fs::exists(documents));
  fs::resize_file(documents, fs::file_size(documents) / 2);  // cut off: seen by its size
  run(config("out"));
  EXPECT_EQ(contents("out"), contents("expected"));

  BuildConfig d = config("flipped");
  d.world = 2;
  run(d);
  const fs::path flipped = root_ / "flipped/parts/00000.bands";
  std::string bytes = io::read_file(flipped);
  bytes[bytes.size() / 3] = static_cast<char>(bytes[bytes.size() / 3] ^ 1);
  io::write_file(flipped, bytes);
  EXPECT_THROW(run(config("flipped")), Error);
  fs::remove(root_ / "flipped/parts/00000.json");
  run(config("flipped"));
  EXPECT_EQ(contents("flipped"), contents("expected"));
}

TEST_F(Build, NoDedupKeepsAll) {
  write_jsonl("a.jsonl", 1, 40);
  write_jsonl("b.jsonl", 2, 40);
  BuildConfig c = config("out");
  c.options.minhash.enabled = false;
  const BuildResult result = run(c);
  EXPECT_EQ(result.funnel.at(Filter::kMinhash).pages_in, result.funnel.documents);
}

TEST_F(Build, ASecondProcessIsRefused) {
  write_jsonl("a.jsonl", 1, 3);
  fs::create_directories(root_ / "out");
  {
    const io::FileLock other(root_ / "out/.lock.rank0", "test", "taken");
    try {
      run(config("out"));
      ADD_FAILURE() << "two builds in one directory";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("another process is building this"), std::string::npos)
          << e.what();
    }
    EXPECT_FALSE(fs::exists(root_ / "out/manifest.json"));
  }
  EXPECT_TRUE(run(config("out")).whole);
}

// Killed with SIGKILL at random moments, again and again, it ends with the same bytes.
TEST_F(Build, KillAndResume) {
  for (int file = 0; file < 6; ++file) write_jsonl(fmt::format("{}.jsonl", file), file, 60);
  run(config("expected"));
  Rng rng(5);
  int kills = 0;
  for (int attempt = 0; attempt < 60; ++attempt) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        run(config("out"));
      } catch (...) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    const auto wait_us = static_cast<useconds_t>(1000 + rng.below(120'000));
    ::usleep(attempt < 25 ? wait_us : wait_us * 20);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    kills += WIFSIGNALED(status) ? 1 : 0;
    if (WIFEXITED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
      break;
    }
  }
  EXPECT_GT(kills, 0);
  EXPECT_TRUE(run(config("out")).whole);
  auto got = contents("out");
  std::erase_if(got, [](const auto& file) { return file.first.starts_with(".lock"); });
  EXPECT_EQ(got, contents("expected"));
}

TEST(Dedup, SameClustersForAnyMemory) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("tumbler-dedup-{}", ::getpid());
  fs::create_directories(folder);
  constexpr int64_t kBands = 3;
  Rng rng(7);
  std::vector<fs::path> files;
  std::vector<std::vector<uint64_t>> all;
  for (int part = 0; part < 4; ++part) {
    files.push_back(folder / fmt::format("{}.bands", part));
    BandWriter writer(files.back(), kBands);
    for (int i = 0; i < (part == 1 ? 70'000 : 5'000); ++i) {
      std::vector<uint64_t> keys;
      if (i % 100 != 0)
        for (int band = 0; band < kBands; ++band)
          keys.push_back(mix64(rng.below(300'000) + static_cast<uint64_t>(band) * 10'000'000));
      writer.add(keys);
      all.push_back(keys);
    }
    writer.commit();
  }
  const Duplicates expected = find_duplicates(files, kBands, int64_t{1} << 30, 1);
  EXPECT_EQ(find_duplicates(files, kBands, 1 << 20, 3).first, expected.first);
  EXPECT_EQ(expected.part_begin.back(), 85'000);
  // Every pair with a key in common is in one cluster, whose first member leads it.
  std::map<std::pair<int, uint64_t>, uint32_t> seen;
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_LE(expected.first[i], i);
    EXPECT_EQ(expected.first[expected.first[i]], expected.first[i]);
    if (all[i].empty()) {
      EXPECT_EQ(expected.first[i], i);
    }
    for (int band = 0; band < static_cast<int>(all[i].size()); ++band) {
      const auto [at, is_new] =
          seen.emplace(std::pair{band, all[i][static_cast<size_t>(band)]}, expected.first[i]);
      if (!is_new) {
        ASSERT_EQ(at->second, expected.first[i]);
      }
    }
  }
  std::string bytes = io::read_file(files[0]);
  for (const size_t size : {size_t{0}, size_t{39}, bytes.size() / 2, bytes.size() - 1}) {
    io::write_file(files[0], std::string_view(bytes).substr(0, size));
    EXPECT_THROW(find_duplicates(files, kBands, 1 << 20, 1), Error);
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace tumbler::text
