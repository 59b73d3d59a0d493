#include "crawl/crawl.h"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <map>
#include <thread>

#include <gtest/gtest.h>
#include <httplib.h>

#include "base/error.h"
#include "crawl/doc_server.h"
#include "crawl/page.h"
#include "crawl/process.h"
#include "crawl/test_files.h"
#include "io/file.h"

namespace tumbler::crawl {
namespace {

using test::TempDirectory;

TEST(DocServer, FileNames) {
  EXPECT_TRUE(parse_html_name("index.html").is_html);
  EXPECT_EQ(parse_html_name("index.html.ja.utf8").language, "ja");
  EXPECT_EQ(parse_html_name("index.html.ja.utf8").charset, "utf-8");
  EXPECT_EQ(parse_html_name("a.html.pt-br").language, "pt-br");
  EXPECT_TRUE(parse_html_name("a.html.gz").is_gzip);
  for (const char* name : {"a.png", "html", ".html", "a.html.conf", "a.htmlx", "a.gz"})
    EXPECT_FALSE(parse_html_name(name).is_html) << name;
}

TEST(DocServer, ServesListedFilesOnly) {
  const TempDirectory directory;
  directory.write("root/a/index.html", "<p>a");
  directory.write("root/b c.html.gz", test::deflated("<p>packed"));
  directory.write("root/a/x.html.ru.koi8-r", "<p>x");
  directory.write("root/secret.txt", "no");
  directory.write("outside.html", "no");
  std::filesystem::create_symlink("../outside.html", directory.path() / "root/link.html");
  const DocServer server({{"a.debian.example", directory.path() / "root"}});
  EXPECT_EQ(server.total_files(), 3);
  httplib::Client client("127.0.0.1", server.port());
  const auto get = [&](const std::string& target) {
    const auto response = client.Get(target.c_str(), httplib::Headers{{"Host", "a.debian.example"}});
    return response ? response->status == 200 ? response->body : std::to_string(response->status) : "none";
  };
  EXPECT_EQ(get("/a/"), "<p>a");
  EXPECT_EQ(get("/a/index.html"), "<p>a");
  EXPECT_EQ(get("/b%20c.html.gz"), "<p>packed");
  for (const char* path : {"/", "/secret.txt", "/link.html", "/../outside.html", "/%2e%2e/outside.html",
                           "/a/..%2f..%2foutside.html", "/a/index.html?x", "/a%00"})
    EXPECT_EQ(get(path), "404") << path;
  const auto other = client.Get("/", httplib::Headers{{"Host", "www.debian.org"}});
  ASSERT_TRUE(other);
  EXPECT_EQ(other->status, 403);
  const auto typed = client.Get("/a/x.html.ru.koi8-r", httplib::Headers{{"Host", "a.debian.example"}});
  ASSERT_TRUE(typed);
  EXPECT_EQ(typed->get_header_value("Content-Type"), "text/html; charset=koi8-r");
  EXPECT_EQ(typed->get_header_value("Content-Language"), "ru");
}

// Between fork and exec nothing may be called that takes a lock: another thread may hold it, and then the
// child stands still for ever.
TEST(ChildProcess, StartsWhileOtherThreadsAreAtWork) {
  const TempDirectory directory;
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {  // the locks of the heap, of time zones, of locales, of stdio
      while (!done) {
        std::vector<std::string> some(50, std::string(100, 'x'));
        const time_t now = std::time(nullptr);
        tm local{};
        ::localtime_r(&now, &local);
        if (FILE* file = std::fopen("/dev/null", "w")) std::fclose(file);
      }
    });
  for (int i = 0; i < 200; ++i)
    EXPECT_EQ(run_program({"sh", "-c", "exit 3"}, directory.path(), "/dev/null"), 3);
  done = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(ChildProcess, RunsWhereAndAsItIsTold) {
  const TempDirectory directory;
  const auto log = directory.path() / "log";
  EXPECT_EQ(run_program({"sh", "-c", "pwd -P; echo $LC_ALL; echo to stderr >&2"}, directory.path(), log), 0);
  EXPECT_EQ(last_lines(log), std::filesystem::canonical(directory.path()).string() + " C to stderr");
  EXPECT_EQ(run_program({"sh", "-c", "kill -9 $$"}, directory.path(), log), 128 + 9);
  EXPECT_EQ(run_program({"sh", "-c", "exit 0"}, directory.path() / "none", log), 127);
  EXPECT_THROW(run_program({"no-such-program"}, directory.path(), log), Error);
  EXPECT_THROW(run_program({"sh"}, directory.path(), directory.path() / "none" / "log"), Error);
  // It does not outlive its object.
  {
    const ChildProcess child({"sh", "-c", "echo $$ > pid; exec sleep 100"}, directory.path(), log);
    std::error_code none;
    while (std::filesystem::file_size(directory.path() / "pid", none) == 0 || none) std::this_thread::yield();
  }
  EXPECT_EQ(::kill(std::stoi(io::read_file(directory.path() / "pid")), 0), -1);
}

// A package made here, so that no network is needed.
std::filesystem::path make_deb(const TempDirectory& directory, std::string_view name,
                               const std::vector<std::pair<std::string, std::string>>& files) {
  const std::string root = fmt::format("build-{}", name);
  directory.write(
      root + "/DEBIAN/control",
      fmt::format(
          "Package: {}\nVersion: 1.0\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: t\n",
          name));
  for (const auto& [path, content] : files)
    directory.write(fmt::format("{}/usr/share/doc/{}/{}", root, name, path), content);
  std::filesystem::create_directories(directory.path() / "cache");
  const auto deb = directory.path() / "cache" / fmt::format("{}_1.0_all.deb", name);
  EXPECT_EQ(run_program({"dpkg-deb", "--build", "--root-owner-group", (directory.path() / root).string(),
                         deb.string()},
                        directory.path(), directory.path() / "log"),
            0);
  return deb;
}

class Crawl : public testing::Test {
 protected:
  void SetUp() override {
    if (!find_program("wget") || !find_program("dpkg-deb")) GTEST_SKIP() << "wget and dpkg-deb are needed";
    config_.cache = (directory_.path() / "cache").string();
  }
  TempDirectory directory_;
  CrawlConfig config_;
  Progress progress_;
};

TEST_F(Crawl, FindsEveryPageOnceAndIsNotRepeated) {
  make_deb(directory_, "one",
           {{"index.html", "<a href=sub/b.html>b</a><a href=http://www.debian.org/>out</a><img src=i.png>"},
            {"sub/b.html", "<p>b<a href=../gone.html>"},
            {"lonely.html", "<p>lonely"}});
  make_deb(directory_, "two",
           {{"x.html.fr", "<p>x"}, {"y.html.gz", test::deflated("<p>y")}, {"readme.txt", "no"}});
  config_.packages = {"one", "two"};
  const auto output = directory_.path() / "out";
  directory_.write("out/crawl-00007.warc.gz", "left by a crawl that was killed");
  directory_.write("out/.work.1/crawl-00000.warc.gz", "the same");
  const CrawlResult result = crawl_packages(config_, output, progress_);
  EXPECT_EQ(result.pages, 5);
  EXPECT_FALSE(result.already_there);
  EXPECT_FALSE(std::filesystem::exists(output / "crawl-00007.warc.gz"));
  EXPECT_FALSE(std::filesystem::exists(output / ".work.1"));
  std::map<std::string, std::string> pages;
  for (const std::string& file : result.files) {
    const auto reader = open_pages(output / file);
    while (auto page = reader->next()) {
      ASSERT_TRUE(*page) << page->reason().code;
      EXPECT_TRUE(pages.emplace((*page)->url, (*page)->content).second) << "twice: " << (*page)->url;
    }
  }
  EXPECT_EQ(pages.size(), 5u);
  EXPECT_EQ(pages["http://one.debian.example/usr/share/doc/one/lonely.html"], "<p>lonely");
  EXPECT_EQ(pages["http://two.debian.example/usr/share/doc/two/y.html.gz"], "<p>y");
  EXPECT_TRUE(crawl_packages(config_, output, progress_).already_there);
  std::filesystem::remove(output / result.files[0]);
  EXPECT_FALSE(crawl_packages(config_, output, progress_).already_there);
}

TEST_F(Crawl, NothingToCrawlIsAnError) {
  make_deb(directory_, "empty", {{"readme.txt", "no HTML"}});
  const auto output = directory_.path() / "out";
  EXPECT_THROW(crawl_packages(config_, output, progress_), Error);
  config_.packages = {"empty"};
  EXPECT_THROW(crawl_packages(config_, output, progress_), Error);
  for (const char* name : {"--flag", "../x", "A", ""}) {
    config_.packages = {name};
    EXPECT_THROW(crawl_packages(config_, output, progress_), Error) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(output / "manifest.json"));
}

}  // namespace
}  // namespace tumbler::crawl
