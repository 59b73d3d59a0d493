#include "crawl/url_filter.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "crawl/test_files.h"
#include "crawl/url.h"

namespace tumbler::crawl {
namespace {

std::string why(const UrlFilter& filter, std::string_view url) {
  const auto reason = filter.check(url);
  return reason ? reason->code + ":" + reason->detail : "";
}

TEST(Url, Hosts) {
  EXPECT_EQ(url_host("http://me:pw@WWW.Example.CO.uk.:80/x?y#z"), "www.example.co.uk");
  EXPECT_EQ(url_host("https://example.com"), "example.com");
  EXPECT_EQ(url_host("//example.com/a"), "example.com");
  EXPECT_EQ(url_host("example.com/a://b"), "example.com");
  EXPECT_EQ(url_host("http://[::1]:80/"), "[::1]");
  EXPECT_EQ(url_host("http://"), "");
  EXPECT_EQ(url_host(""), "");
}

TEST(Url, RegisteredDomains) {
  EXPECT_EQ(registered_domain("www.example.co.uk"), "example.co.uk");
  EXPECT_EQ(registered_domain("a.b.example.com"), "example.com");
  EXPECT_EQ(registered_domain("co.uk"), "co.uk");
  EXPECT_EQ(registered_domain("127.0.0.1"), "127.0.0.1");
  EXPECT_EQ(registered_domain(""), "");
}

class Lists : public testing::Test {
 protected:
  void SetUp() override {
    directory_.write("domains", "# comment\nbad.example\nsub.half.example\n");
    directory_.write("urls", "http://fine.example/bad-page\nother.example/listed\n");
    directory_.write("banned_words.txt", "Foul\n#ignored\nx-y\n");
    directory_.write("soft_banned_words.txt", "mild\nmedium\n");
    directory_.write("banned_subwords.txt", "nastyword\nstyle\n");
  }
  test::TempDirectory directory_;
};

TEST_F(Lists, EachCheckInItsOrder) {
  const UrlFilter filter(directory_.path());
  EXPECT_EQ(why(filter, "http://www.bad.example/foul"), "url_domain:bad.example");
  EXPECT_EQ(why(filter, "http://sub.half.example/"), "url_domain:sub.half.example");
  EXPECT_EQ(why(filter, "http://half.example/"), "");
  EXPECT_EQ(why(filter, "http://notbad.example/"), "");
  EXPECT_EQ(why(filter, "http://fine.example/bad-page"), "url_listed:http://fine.example/bad-page");
  EXPECT_EQ(why(filter, "https://other.example/listed/"), "url_listed:other.example/listed");
  EXPECT_EQ(why(filter, "http://a.example/some-foul_words"), "url_banned_word:foul");
  EXPECT_EQ(why(filter, "http://a.example/foulest"), "");
  EXPECT_EQ(why(filter, "http://a.example/Foul"), "");  // words are not put in lower case, as in datatrove
  EXPECT_EQ(why(filter, "http://a.example/ignored"), "");
  EXPECT_EQ(why(filter, "http://a.example/xy"),
            "url_banned_word:xy");  // list entries lose what is no letter or digit
  EXPECT_EQ(why(filter, "http://a.example/mild-and-mild"), "");  // two different ones are needed
  EXPECT_EQ(why(filter, "http://a.example/mild.medium"), "url_soft_words:mild, medium");
  EXPECT_EQ(why(filter, "http://a.example/mild-foul-medium"), "url_banned_word:foul");
  EXPECT_EQ(why(filter, "http://a.example/NAS-ty_W%ord/x"), "url_subword:nastyword");
  EXPECT_EQ(why(filter, "http://a.example/lifestyle.html"), "url_subword:style");
  EXPECT_EQ(why(filter, "http://a.example/nastywor/d"), "url_subword:nastyword");
  EXPECT_EQ(why(filter, "http://a.example/nast/yl"), "");
  EXPECT_EQ(why(filter, ""), "");
  EXPECT_EQ(why(filter, std::string(100000, '%')), "");
}

TEST(UrlFilter, Ut1DirectoriesOfBadPagesOnly) {
  const test::TempDirectory directory;
  directory.write("adult/domains", "bad.example\n");
  directory.write("gambling/urls", "half.example/game\n");
  directory.write("press/domains", "news.example\n");
  const UrlFilter filter(directory.path());
  EXPECT_EQ(why(filter, "http://bad.example/"), "url_domain:bad.example");
  EXPECT_EQ(why(filter, "http://half.example/game"), "url_listed:half.example/game");
  EXPECT_EQ(why(filter, "http://news.example/"), "");
}

TEST(UrlFilter, WrongDirectoriesAreErrors) {
  const test::TempDirectory directory;
  EXPECT_THROW(UrlFilter{directory.path()}, Error);
  EXPECT_THROW(UrlFilter{directory.path() / "absent"}, Error);
}

TEST(UrlFilter, BuiltInLists) {
  const UrlFilter filter{{}};
  for (const char* bad : {"http://a.example/free-porn/", "http://best-casino.example/",
                          "http://x.example/FreePorn.html", "http://a.example/cheap-pills"})
    EXPECT_NE(why(filter, bad), "") << bad;
  for (const char* good :
       {"http://sussex.ac.uk/", "http://essex.gov.uk/adult-learning",
        "http://doc.example/qt/signals-and-slots.html", "http://a.example/tits-and-finches",
        "http://man.example/ssh-keygen.1.html", "http://a.example/wiki/Sildenafil",
        "http://sqlite3-doc.debian.example/usr/share/doc/sqlite3/index.html"})
    EXPECT_EQ(why(filter, good), "") << good;
}

TEST(UrlFilterData, ReadsPublishedLists) {
  if (test::test_data("lists-datatrove-assets").empty())
    GTEST_SKIP() << "no real data: set TUMBLER_TEST_DATA";
  const UrlFilter filter(test::test_data("lists-datatrove-assets"));
  EXPECT_EQ(why(filter, "http://a.example/2g1c"), "url_banned_word:2g1c");
  EXPECT_EQ(why(filter, "http://www.debian.org/doc/"), "");
}

}  // namespace
}  // namespace tumbler::crawl
