#include "crawl/http.h"

#include <gtest/gtest.h>

#include "crawl/test_files.h"
#include "crawl/warc.h"

namespace tumbler::crawl {
namespace {

using test::deflated;
using test::http_message;

constexpr int64_t kLimit = 1 << 20;
const std::string kPage =
    "<!doctype html><title>t</title><p>Some words, and some words, and some words again.";

std::string body_of(std::string_view message) {
  const Result<HttpResponse> response = parse_http_response(message, kLimit);
  return response ? response->body : "!" + response.reason().code;
}

TEST(Http, StatusHeadersAndBody) {
  const auto response = parse_http_response(
      "HTTP/1.1 200 OK\r\nContent-Type: text/html;\r\n\tcharset=utf-8\r\nX-Two:  b \r\nno "
      "colon\r\n\r\nbody\r\n\r\nmore",
      kLimit);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->header("content-type"), "text/html; charset=utf-8");
  EXPECT_EQ(response->header("x-two"), "b");
  EXPECT_EQ(response->header("absent"), "");
  EXPECT_EQ(response->body, "body\r\n\r\nmore");
}

TEST(Http, LineFeedsOnlyAndMissingParts) {
  EXPECT_EQ(body_of("HTTP/1.0 200\nA: b\n\nbody"), "body");
  EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\n\r\n"), "");
  EXPECT_EQ(body_of("HTTP/1.1 200 OK"), "");
  EXPECT_EQ(body_of("ICY 200 OK\r\n\r\nx"), "x");
  EXPECT_EQ(body_of(""), "!bad_http");
  EXPECT_EQ(body_of("<html>"), "!bad_http");
  EXPECT_EQ(body_of("HTTP/1.1 20"), "!bad_http");
  EXPECT_EQ(body_of("HTTP/1.1 abc OK\r\n\r\n"), "!bad_http");
  EXPECT_EQ(parse_http_response("HTTP/1.1 404 Not Found\r\n\r\n", kLimit)->status, 404);
}

TEST(Http, Chunks) {
  const std::string_view headers = "Transfer-Encoding: chunked\r\n";
  EXPECT_EQ(body_of(http_message(
                "4\r\nwiki\r\n6;a=b\r\npedia \r\nB\r\nin \r\nchunks\r\n0\r\nTrailer: x\r\n\r\n", headers)),
            "wikipedia in \r\nchunk"
            "s");
  // The archive took the chunks away and kept the header line.
  EXPECT_EQ(body_of(http_message(kPage, headers)), kPage);
  EXPECT_EQ(body_of(http_message("add\r\nthis is no chunk", headers)), "this is no chunk");
  EXPECT_EQ(body_of(http_message("4\r\nwikipedia", headers)), "4\r\nwikipedia");
  // Cut off in a chunk, in a chunk's header, and a later header that is none.
  EXPECT_EQ(body_of(http_message("4\r\nwiki\r\n6\r\nped", headers)), "wikiped");
  EXPECT_EQ(body_of(http_message("4\r\nwiki\r\n", headers)), "wiki");
  EXPECT_EQ(body_of(http_message("4\r\nwiki\r\nzz\r\nped", headers)), "wikizz\r\nped");
  EXPECT_EQ(body_of(http_message("FFFFFFFFFFFFFFFFFF\r\nwiki", headers)), "FFFFFFFFFFFFFFFFFF\r\nwiki");
}

TEST(Http, ContentEncodings) {
  EXPECT_EQ(body_of(http_message(deflated(kPage), "Content-Encoding: gzip\r\n")), kPage);
  EXPECT_EQ(body_of(http_message(deflated(kPage), "Content-Encoding: X-GZIP\r\n")), kPage);
  EXPECT_EQ(body_of(http_message(deflated(kPage, 15), "Content-Encoding: deflate\r\n")), kPage);
  EXPECT_EQ(body_of(http_message(deflated(kPage, -15), "Content-Encoding: deflate\r\n")), kPage);
  EXPECT_EQ(body_of(http_message(deflated(deflated(kPage, 15)), "Content-Encoding: deflate, gzip\r\n")),
            kPage);
  EXPECT_EQ(body_of(http_message(kPage, "Content-Encoding: gzip\r\n")), kPage);     // decoded by the crawler
  EXPECT_EQ(body_of(http_message(kPage, "Content-Encoding: deflate\r\n")), kPage);  // the same
  EXPECT_EQ(body_of(http_message(kPage, "Content-Encoding: br\r\n")), kPage);
  EXPECT_EQ(body_of(http_message(kPage, "Content-Encoding: utf-8\r\n")), kPage);
  EXPECT_EQ(body_of(http_message("\x1b\x0e", "Content-Encoding: br\r\n")), "!unsupported_encoding");
  EXPECT_EQ(body_of(http_message(deflated(kPage).substr(0, 40), "Content-Encoding: gzip\r\n")),
            "!bad_encoding");
  EXPECT_EQ(body_of(http_message(deflated(std::string(kLimit + 1, 'a')), "Content-Encoding: gzip\r\n")),
            "!too_large");
  EXPECT_EQ(body_of(http_message(deflated(std::string(kLimit, 'a')), "Content-Encoding: gzip\r\n")),
            std::string(kLimit, 'a'));
  EXPECT_EQ(body_of(http_message(std::string(kLimit + 1, 'a'))), "!too_large");
}

TEST(Http, ChunkedGzip) {
  const std::string packed = deflated(kPage);
  const std::string chunked = fmt::format("{:x}\r\n{}\r\n0\r\n\r\n", packed.size(), packed);
  EXPECT_EQ(body_of(http_message(chunked, "Content-Encoding: gzip\r\nTransfer-Encoding: Chunked\r\n")),
            kPage);
}

TEST(Http, SniffsHtml) {
  EXPECT_TRUE(sniff_html(" \n<!DOCTYPE HTML>"));
  EXPECT_TRUE(sniff_html("\xef\xbb\xbf<html >"));
  EXPECT_TRUE(sniff_html("<?xml version='1.0'?><!DOCTYPE html><html>"));
  EXPECT_TRUE(sniff_html("<!-- c --> x"));
  EXPECT_FALSE(sniff_html("<?xml version='1.0'?><rss>"));
  EXPECT_FALSE(sniff_html("<bogus>"));
  EXPECT_FALSE(sniff_html("{\"a\":1}"));
  EXPECT_FALSE(sniff_html(""));
}

}  // namespace
}  // namespace tumbler::crawl
