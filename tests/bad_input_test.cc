// Bad input as a user meets it, through the real program: a clear message or a counted reason, and nothing
// that was finished is lost. (Damaged checkpoints: training_test.cc. Wrong keys and an empty crawl in the
// pipeline: pipeline_test.cc.)
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "io/file.h"
#include "io/file_lock.h"
#include "io/lines.h"
#include "program.h"
#include "tiny_crawl.h"

namespace tumbler {
namespace {

namespace fs = std::filesystem;

class SlowBadInput : public testing::Test {
 protected:
  fs::path path(const std::string& name) const { return tumbler_.directory() / name; }
  void write(const std::string& name, const std::string& bytes) const {
    fs::create_directories(path(name).parent_path());
    io::write_file(path(name), bytes);
  }
  static std::string good(int i) {
    return tests::record(fmt::format("http://good.example/{}.html", i),
                         tests::page(static_cast<uint64_t>(i), 10));
  }
  std::string gzip(const std::string& bytes) {
    write("member", bytes);
    EXPECT_EQ(tumbler_.shell("gzip -c member > member.gz"), 0);
    return io::read_file(path("member.gz"));
  }
  int build(const std::string& input, const std::string& more = "") {
    return tumbler_.run(fmt::format("data build --input '{}' --output out {}", input, more));
  }
  nlohmann::json funnel() const { return nlohmann::json::parse(io::read_file(path("out/funnel.json"))); }
  // Pages that `filter` dropped for `reason`.
  int64_t dropped(const std::string& filter, const std::string& reason) const {
    const nlohmann::json counts = funnel();
    for (const auto& entry : counts.at("filters"))
      if (entry.at("filter") == filter) return entry.at("reasons").value(reason, int64_t{0});
    return -1;
  }
  int64_t documents() const { return funnel().at("documents"); }
  std::set<std::string> urls() const {
    std::set<std::string> out;
    for (const fs::path& file : io::glob(path("out/documents/*").string())) {
      io::LineReader lines(file);
      while (const auto line = lines.next())
        out.insert(nlohmann::json::parse(*line).at("url").get<std::string>());
    }
    return out;
  }
  std::string text_of_documents() const {
    std::string out;
    for (const fs::path& file : io::glob(path("out/documents/*").string())) {
      io::LineReader lines(file);
      while (const auto line = lines.next())
        out += nlohmann::json::parse(*line).at("text").get<std::string>() + "\n";
    }
    return out;
  }
  bool said(const std::string& what) const { return tumbler_.errors().find(what) != std::string::npos; }

  tests::Program tumbler_{"bad_input"};
};

TEST_F(SlowBadInput, TruncatedGzipMember) {
  const std::string cut = gzip(good(2));
  write("a.warc.gz", gzip(good(0)) + gzip(good(1)) + cut.substr(0, cut.size() / 2));
  write("b.warc.gz", gzip(good(3)));
  ASSERT_EQ(build("*.warc.gz"), 0) << tumbler_.errors();
  EXPECT_EQ(dropped("read", "truncated_gzip"), 1) << tumbler_.output();
  EXPECT_EQ(documents(), 3);
}

TEST_F(SlowBadInput, WarcWithWrongLengths) {
  const std::string html = tests::page(7, 10);
  const auto wrong = [&](int64_t length) {
    return tests::record("http://wrong.example/", html, "text/html", length);
  };
  const auto size = static_cast<int64_t>(html.size());
  write("a.warc", good(0) + wrong(size / 2) + good(1) + wrong(size + 100'000) + good(2) +
                      wrong(int64_t{1} << 60) + good(3));
  ASSERT_EQ(build("a.warc"), 0) << tumbler_.errors();
  EXPECT_EQ(dropped("read", "bad_length"), 3) << tumbler_.output();
  for (int i = 0; i < 4; ++i)
    EXPECT_TRUE(urls().contains(fmt::format("http://good.example/{}.html", i))) << i;
}

TEST_F(SlowBadInput, HtmlOf100MB) {
  {
    std::string html = tests::page(1, 3);
    while (html.size() < 100'000'000) html += "<p>" + std::string(1000, 'a') + "\n";
    write("large.html", html);
    write("large.warc", tests::record("http://large.example/", html) + good(0));
  }
  ASSERT_EQ(tumbler_.shell("gzip -1 -c large.warc > member.warc.gz"), 0);
  ASSERT_EQ(build("*large.*", "--input member.warc.gz"), 0) << tumbler_.errors();
  EXPECT_EQ(dropped("read", "too_large"), 3) << funnel().dump(1);
  EXPECT_EQ(documents(), 1) << "the good page is there twice";
  EXPECT_LT(tumbler_.peak_bytes(), int64_t{400} << 20);
}

TEST_F(SlowBadInput, PagesThatAreNotUtf8) {
  std::string latin = tests::page(3, 10), dressed = tests::page(4, 10);
  for (const char* tag : {"<meta charset='utf-8'>"})
    for (std::string* page : {&latin, &dressed}) page->erase(page->find(tag), std::string(tag).size());
  latin.insert(latin.find("<p>") + 3, "At the caf\xe9 she was na\xefve about what the menu of the day had. ");
  dressed.insert(dressed.find("<p>") + 3,
                 "\x93It is the old river,\x94 she said to the people who were there. ");
  std::string binary;
  Rng rng(1);
  for (int i = 0; i < 20'000; ++i) binary += static_cast<char>(rng.below(256));
  write("a.warc", tests::record("http://latin.example/", latin, "text/html; charset=iso-8859-1") +
                      tests::record("http://dressed.example/", dressed, "text/html") +
                      tests::record("http://binary.example/", binary, "text/html") + good(0));
  ASSERT_EQ(build("a.warc"), 0) << tumbler_.errors();
  EXPECT_EQ(dropped("read", "undecodable"), 1) << tumbler_.output();
  EXPECT_EQ(documents(), 3);
  const std::string text = text_of_documents();
  EXPECT_NE(text.find("At the café she was naïve"), std::string::npos);
  EXPECT_NE(text.find("“It is the old river,”"), std::string::npos);
}

TEST_F(SlowBadInput, NoPagesAtAll) {
  write("empty.warc.gz", "");
  EXPECT_EQ(build("empty.warc.gz"), 1);
  EXPECT_TRUE(said("has no pages")) << tumbler_.errors();
  write("info.warc",
        "WARC/1.0\r\nWARC-Type: warcinfo\r\nWARC-Record-ID: <urn:x>\r\nContent-Length: 2\r\n\r\nab\r\n\r\n");
  fs::remove_all(path("out"));
  EXPECT_EQ(build("info.warc"), 1);
  EXPECT_TRUE(said("1 records of other kinds")) << tumbler_.errors();
  EXPECT_EQ(build("nothing/*.warc.gz"), 1);
  EXPECT_TRUE(said("nothing matches 'nothing/*.warc.gz'")) << tumbler_.errors();
}

TEST_F(SlowBadInput, WrongKeysAndValues) {
  write("a.warc", good(0));
  write("recipe.toml", "[data]\n[data.gopher_quality]\nmin_wrods = 3\n[crawl]\npackage = [\"a\"]\n");
  EXPECT_EQ(build("a.warc", "--config recipe.toml"), 1);
  EXPECT_TRUE(said("did you mean 'min_words'")) << tumbler_.errors();
  EXPECT_EQ(build("a.warc", "--set gopher_quality.min_words=many"), 1);
  EXPECT_TRUE(said("min_words")) << tumbler_.errors();
  EXPECT_EQ(tumbler_.run("crawl --recipe recipe.toml --output crawl"), 1);
  EXPECT_TRUE(said("did you mean 'packages'")) << tumbler_.errors();
  write("broken.toml", "[data\n");
  EXPECT_EQ(build("a.warc", "--config broken.toml"), 1);
  EXPECT_TRUE(said("broken.toml")) << tumbler_.errors();
  EXPECT_FALSE(fs::exists(path("out"))) << "a wrong key is found before anything is made";
}

TEST_F(SlowBadInput, FullDiskInTheDataStage) {
  const tests::SmallDisk disk(path("disk"), 512);
  if (!disk.mounted()) GTEST_SKIP() << "a small disk cannot be mounted here (not root)";
  std::string warc;
  Rng rng(3);
  for (int i = 0; i < 400; ++i) warc += good(i);
  write("a.warc", good(1000));
  write("b.warc", warc);
  ASSERT_EQ(tumbler_.run("data build --input a.warc --output disk/first"), 0) << tumbler_.errors();
  EXPECT_EQ(tumbler_.run("data build --input b.warc --output disk/out"), 1);
  EXPECT_TRUE(said("No space left")) << tumbler_.errors();
  EXPECT_FALSE(fs::exists(path("disk/out/funnel.json")));
  EXPECT_TRUE(fs::exists(path("disk/first/funnel.json"))) << "what was finished is still there";
  EXPECT_EQ(tumbler_.run("data stats disk/first"), 0) << tumbler_.errors();
  EXPECT_EQ(tumbler_.run("data build --input b.warc --output out"), 0) << tumbler_.errors();
}

TEST_F(SlowBadInput, FullDiskInOtherStages) {
  std::string warc;
  for (int i = 0; i < 200; ++i) warc += good(i);
  write("a.warc", warc);
  ASSERT_EQ(build("a.warc"), 0) << tumbler_.errors();
  const std::string
      documents = "--input 'out/documents/*.jsonl.zst'",
      train = "tokenizer train " + documents + " --vocab-size 512 --output ",
      tokens = "tokens build " + documents + " --tokenizer tokenizer --output ",
      pretrain =
          "pretrain --set depth=1 --set 'data=[\"tokens/train_*.ds\"]' --set tokenizer=tokenizer "
          "--set steps=1 --set sequence_length=64 --set batch_tokens=64 --output ";
  ASSERT_EQ(tumbler_.run(train + "tokenizer"), 0) << tumbler_.errors();
  ASSERT_EQ(tumbler_.run(tokens + "tokens"), 0) << tumbler_.errors();
  ASSERT_EQ(tumbler_.run(pretrain + "model"), 0) << tumbler_.errors();
  // What is to be there only when it is whole; and room for less than that.
  const struct {
    std::string command, output;
    int kilobytes;
  } stages[] = {{train + "disk/out", "tokenizer.json", 12},
                {tokens + "disk/out", "manifest.json", 64},
                {pretrain + "disk/out", "step_000001", 100},
                {"convert model disk/out.gguf", "../out.gguf", 100},
                {"convert model disk/out", "model.safetensors", 100}};
  for (const auto& stage : stages) {
    const tests::SmallDisk disk(path("disk"), stage.kilobytes);
    if (!disk.mounted()) GTEST_SKIP() << "a small disk cannot be mounted here (not root)";
    EXPECT_EQ(tumbler_.run(stage.command), 1) << stage.command;
    EXPECT_TRUE(said("No space left")) << stage.command << ": " << tumbler_.errors();
    EXPECT_FALSE(fs::exists(path("disk/out") / stage.output)) << stage.command;
  }
}

TEST_F(SlowBadInput, OtherInputs) {
  std::string wet, jsonl;
  for (int i = 0; i < 3; ++i) {
    std::string text = tests::page(static_cast<uint64_t>(50 + i), 8);
    text = text.substr(text.find("<p>"));
    text.resize(text.find("</article>"));
    for (const char* tag : {"<p>", "</p>"})
      for (size_t at; (at = text.find(tag)) != std::string::npos;) text.erase(at, std::string(tag).size());
    wet += fmt::format(
        "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: http://wet.example/{}\r\nWARC-Record-ID: "
        "<urn:wet:{}>\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{}\r\n\r\n",
        i, i, text.size(), text);
    jsonl += nlohmann::json({{"text", tests::page(static_cast<uint64_t>(60 + i), 0) + text + " Once."},
                             {"url", fmt::format("http://lines.example/{}", i)}})
                 .dump() +
             "\n";
    write(fmt::format("site/page{}.html", i), tests::page(static_cast<uint64_t>(70 + i), 8));
  }
  write("a.wet.gz", gzip(wet));
  ASSERT_EQ(build("a.wet.gz"), 0) << tumbler_.errors();
  EXPECT_EQ(documents(), 3) << tumbler_.output();
  EXPECT_TRUE(urls().contains("http://wet.example/0"));

  fs::remove_all(path("out"));
  ASSERT_EQ(build("site/*.html"), 0) << tumbler_.errors();
  EXPECT_EQ(documents(), 3) << tumbler_.output();
  EXPECT_EQ(text_of_documents().find('<'), std::string::npos);

  fs::remove_all(path("out"));
  write("a.jsonl", jsonl + "{\"text\": cut off\n{\"url\": \"http://no.text/\"}\n");
  ASSERT_EQ(build("a.jsonl"), 0) << tumbler_.errors();
  EXPECT_EQ(documents(), 3) << tumbler_.output();
  EXPECT_TRUE(urls().contains("http://lines.example/2"));
  EXPECT_EQ(dropped("read", "bad_json"), 2);

  write("image", "\x89PNG\r\n\x1a\n and so on");
  fs::remove_all(path("out"));
  EXPECT_EQ(build("image"), 1);
  EXPECT_TRUE(said("expected WARC, WET, HTML or JSON lines")) << tumbler_.errors();
}

TEST_F(SlowBadInput, ExplainTellsWhatTheBuildDid) {
  write("a.warc", good(0) + good(1) + tests::record("http://stub.example/", "<p>Too short.</p>") +
                      tests::record("http://copy.example/", tests::page(0, 10)));
  ASSERT_EQ(build("a.warc"), 0) << tumbler_.errors();
  const auto explain = [&](const std::string& url) {
    EXPECT_EQ(tumbler_.run("data explain --build out --json --url " + url), 0) << tumbler_.errors();
    return nlohmann::json::parse(tumbler_.output());
  };
  const nlohmann::json kept = explain("http://good.example/1.html");
  EXPECT_EQ(kept.at("kept"), true);
  EXPECT_NE(kept.at("verdict").get<std::string>().find("in the build's documents"), std::string::npos);
  EXPECT_EQ(explain("http://stub.example/").at("kept"), false);
  const nlohmann::json copy = explain("http://copy.example/");
  EXPECT_EQ(copy.at("kept"), false);
  EXPECT_NE(copy.at("verdict").get<std::string>().find("http://good.example/0.html"), std::string::npos)
      << "a duplicate names what it is a duplicate of";
  ASSERT_EQ(tumbler_.run("data explain --input a.warc --url http://stub.example/"), 0) << tumbler_.errors();
  EXPECT_NE(tumbler_.output().find("dropped by "), std::string::npos) << tumbler_.output();
  EXPECT_EQ(tumbler_.run("data explain --input a.warc --url http://nowhere.example/"), 1);
  EXPECT_TRUE(said("none of 1 files has a page 'http://nowhere.example/'")) << tumbler_.errors();
}

// A crawl needs packages; these are made here, so that no network is needed.
class SlowBadCrawl : public SlowBadInput {
 protected:
  void SetUp() override {
    if (tumbler_.shell("command -v wget dpkg-deb > which.txt") != 0)
      GTEST_SKIP() << "wget and dpkg-deb are needed";
  }
  void make_package(const std::string& name, int pages, int paragraphs) {
    write(name + "/DEBIAN/control", fmt::format("Package: {}\nVersion: 1.0\nArchitecture: all\n"
                                                "Maintainer: T <t@example.org>\nDescription: t\n",
                                                name));
    write(fmt::format("{}/usr/share/doc/{}/readme.txt", name, name), "no HTML");
    for (int i = 0; i < pages; ++i) {
      const fs::path file = path(fmt::format("{}/usr/share/doc/{}/page{}.html", name, name, i));
      std::ofstream(file, std::ios::binary) << tests::page(static_cast<uint64_t>(i), paragraphs);
    }
    fs::create_directories(path("cache"));
    ASSERT_EQ(
        tumbler_.shell(fmt::format(
            "dpkg-deb -Znone --build --root-owner-group {} cache/{}_1.0_all.deb > deb.txt", name, name)),
        0);
  }
  int crawl(const std::string& package, const std::string& output, int kill_after_ms = -1) {
    return tumbler_.run(
        fmt::format("crawl --packages {} --cache cache --output {} --set warc_mb=1 --json", package, output),
        kill_after_ms);
  }
};

TEST_F(SlowBadCrawl, KilledAtAnyMomentItStartsAgainAndIsWhole) {
  make_package("many", 600, 6);
  // Ever later, until one gets to its end; no machine ends before the first.
  int kills = 0;
  for (int after_ms = 10; after_ms < 4000 && crawl("many", "crawl", after_ms) == 128 + 9;
       after_ms += after_ms / 2)
    ++kills;
  EXPECT_GE(kills, 1);
  ASSERT_EQ(crawl("many", "crawl"), 0) << tumbler_.errors();
  EXPECT_EQ(nlohmann::json::parse(tumbler_.output()).at("pages"), 600);
  const auto manifest = nlohmann::json::parse(io::read_file(path("crawl/manifest.json")));
  std::set<std::string> listed, there;
  for (const auto& name : manifest.at("files")) listed.insert(name);
  for (const auto& entry : fs::directory_iterator(path("crawl")))
    if (const std::string name = entry.path().filename(); name != "manifest.json" && name != ".lock")
      there.insert(name);
  EXPECT_EQ(there, listed) << "nothing is left of the crawls that were killed";
  ASSERT_EQ(crawl("many", "crawl"), 0) << tumbler_.errors();
  EXPECT_EQ(nlohmann::json::parse(tumbler_.output()).at("already_there"), true);
  ASSERT_EQ(build("crawl/*.warc.gz"), 0) << tumbler_.errors();
  EXPECT_EQ(funnel().at("filters").at(0).at("pages_out"), 600);
}

TEST_F(SlowBadCrawl, ASecondCrawlIsRefused) {
  make_package("few", 3, 6);
  fs::create_directories(path("crawl"));
  {
    const io::FileLock other(path("crawl/.lock"), "test", "taken");
    EXPECT_EQ(crawl("few", "crawl"), 1);
    EXPECT_TRUE(said("another crawl is running in it")) << tumbler_.errors();
    EXPECT_FALSE(fs::exists(path("crawl/manifest.json")));
  }
  write("crawl/manifest.json.tmp.1", "of a crawl that was killed");
  EXPECT_EQ(crawl("few", "crawl"), 0) << tumbler_.errors();
  EXPECT_FALSE(fs::exists(path("crawl/manifest.json.tmp.1")));
}

TEST_F(SlowBadCrawl, FullDisk) {
  make_package("many", 600, 6);
  // Not even room for the packages' files (2.4 MB in blocks of 4 KB); then for a part of the crawl (1 MB).
  bool while_crawling = false;
  for (const int kilobytes : {1000, 2600, 2800, 3000, 3200}) {
    const tests::SmallDisk disk(path("disk"), kilobytes);
    if (!disk.mounted()) GTEST_SKIP() << "a small disk cannot be mounted here (not root)";
    EXPECT_EQ(crawl("many", "disk/crawl"), 1) << kilobytes << " " << tumbler_.output();
    EXPECT_TRUE(said("space")) << kilobytes << ": " << tumbler_.errors();
    while_crawling |= said("wget: no space left") || said("wget: could not write");
    EXPECT_FALSE(fs::exists(path("disk/crawl/manifest.json")));
  }
  EXPECT_TRUE(while_crawling) << "no disk was of a size that let the crawl begin";
  EXPECT_EQ(crawl("many", "crawl"), 0) << tumbler_.errors();
}

TEST_F(SlowBadCrawl, PackagesWithoutPages) {
  make_package("empty", 0, 0);
  EXPECT_EQ(crawl("empty", "crawl"), 1);
  EXPECT_TRUE(said("no HTML page")) << tumbler_.errors();
  write("cache/broken_1.0_all.deb", "no package");
  EXPECT_EQ(crawl("broken", "crawl"), 1);
  EXPECT_TRUE(said("dpkg-deb can't unpack it")) << tumbler_.errors();
  EXPECT_FALSE(fs::exists(path("crawl/manifest.json")));
}

}  // namespace
}  // namespace tumbler
