// The memory bound of `tumbler data build` (docs/pipeline.md) on 2 GB of pages, made by repetition.
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "crawl/test_files.h"
#include "io/file.h"
#include "program.h"
#include "tiny_crawl.h"

namespace tumbler {
namespace {

constexpr int64_t kMB = int64_t{1} << 20;

struct Block {
  std::string plain, members;  // the same records, one after another and as a gzip member each
  int64_t pages = 0;
};

// Pages as the web has them: 60 KB, of which an article is a twentieth part; every other has little text.
Block make_block() {
  Block block;
  for (int i = 0; i < 200; ++i) {
    std::string head = "<script>var data = [";
    while (head.size() < 40'000) head += fmt::format("{}, ", head.size() * 2654435761u % 100'003);
    head += "];</script><ul>";
    while (head.size() < 56'000)
      head += fmt::format("<li class='entry'><a href='/section/{}'>Entry {}</a></li>", head.size(), i);
    const std::string record =
        tests::record(fmt::format("http://block.example/{}.html", i),
                      tests::page(static_cast<uint64_t>(i), i % 2 == 0 ? 12 : 1, head + "</ul>"));
    block.plain += record;
    block.members += crawl::test::deflated(record);
    ++block.pages;
  }
  return block;
}

// 2 GB after decompression: 512 MB plain, 256 MB as one gzip member, the rest a member for each record.
// Returns the number of pages.
int64_t write_inputs(const std::filesystem::path& directory) {
  const Block block = make_block();
  const auto size = static_cast<int64_t>(block.plain.size());
  int64_t bytes = 0, blocks = 0;
  std::ofstream plain(directory / "plain.warc", std::ios::binary);
  for (; bytes < 512 * kMB; bytes += size, ++blocks) plain << block.plain;
  const gzFile whole = gzopen((directory / "whole.warc.gz").c_str(), "wb1");
  for (; bytes < 768 * kMB; bytes += size, ++blocks)
    gzwrite(whole, block.plain.data(), static_cast<unsigned>(size));
  gzclose(whole);
  std::ofstream records(directory / "records.warc.gz", std::ios::binary);
  for (; bytes < 2048 * kMB; bytes += size, ++blocks) records << block.members;
  return blocks * block.pages;
}

TEST(SlowMemory, TwoGigabytesOfPages) {
  tests::Program tumbler("memory");
  const int64_t pages = write_inputs(tumbler.directory());
  ASSERT_EQ(tumbler.run("data build --input '*.warc*' --output out --memory-mb 256 --threads 2"), 0)
      << tumbler.errors();
  const auto funnel = nlohmann::json::parse(io::read_file(tumbler.directory() / "out/funnel.json"));
  const int64_t documents = funnel.at("documents");
  EXPECT_GE(documents, 80) << "of the block's 200 pages, 100 have an article";
  EXPECT_LE(documents, 200) << "every repetition is a duplicate";
  int64_t read = 0, hashed = 0;
  for (const auto& filter : funnel.at("filters")) {
    if (filter.at("filter") == "read") read = filter.at("pages_out");
    if (filter.at("filter") == "minhash") hashed = filter.at("pages_in");
  }
  EXPECT_EQ(read, pages);
  EXPECT_GE(hashed, pages * 2 / 5) << "a large share has to go through all stages";
  EXPECT_LT(tumbler.peak_bytes(), 256 * kMB);
  RecordProperty("peak_mb", static_cast<int>(tumbler.peak_bytes() / kMB));
}

// The largest pages that are not dropped by their size, more of them than threads.
TEST(SlowMemory, PagesOfTenMillionCharacters) {
  tests::Program tumbler("large_pages");
  const std::string paragraphs = tests::page(1, 29'000);
  ASSERT_GT(paragraphs.size(), 8'000'000u);
  ASSERT_LT(paragraphs.size(), 10'000'000u);
  {
    std::ofstream file(tumbler.directory() / "large.warc.gz", std::ios::binary);
    const std::string member = crawl::test::deflated(tests::record("http://large.example/", paragraphs));
    for (int i = 0; i < 4; ++i) file << member;
    file << crawl::test::deflated(tests::record("http://small.example/", tests::page(2, 12)));
  }
  ASSERT_EQ(tumbler.run("data build --input large.warc.gz --output out --memory-mb 16 --threads 2"), 0)
      << tumbler.errors();
  EXPECT_LT(tumbler.peak_bytes(), (16 + 2 * 300) * kMB);
  RecordProperty("peak_mb", static_cast<int>(tumbler.peak_bytes() / kMB));
}

}  // namespace
}  // namespace tumbler
