#include "io/download.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>
#include <httplib.h>
#include <unistd.h>

#include "base/error.h"
#include "io/file.h"

namespace fs = std::filesystem;

namespace tumbler::io {
namespace {

std::string make_body(size_t size) {
  std::string body(size, '\0');
  for (size_t i = 0; i < size; ++i) body[i] = static_cast<char>(i * 2654435761u >> 13);
  return body;
}

// A server on loopback that gives `body` and cuts the connection after `cut` bytes of an answer.
class DownloadTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / fmt::format("tumbler_download_{}", ::getpid());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    server_.Get("/file", [this](const httplib::Request& request, httplib::Response& response) {
      serve(request, response);
    });
    server_.Get("/moved",
                [](const httplib::Request&, httplib::Response& response) { response.set_redirect("/file"); });
    server_.Get("/secret", [](const httplib::Request& request, httplib::Response& response) {
      response.status = request.get_header_value("Authorization") == "Bearer abc" ? 200 : 401;
      response.set_content("known", "text/plain");
    });
    server_.Get("/busy", [this](const httplib::Request&, httplib::Response& response) {
      if (++requests_ < 3) response.status = 503;
      response.set_content("at last", "text/plain");
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  void TearDown() override {
    server_.stop();
    thread_.join();
    fs::remove_all(directory_);
  }

  void serve(const httplib::Request& request, httplib::Response& response) {
    ++requests_;
    size_t first = 0;
    const std::string if_range = request.get_header_value("If-Range");
    if (ranges_ && request.has_header("Range") && (if_range.empty() || if_range == etag_)) {
      first = std::stoull(request.get_header_value("Range").substr(6));
      if (first >= body_.size()) {
        response.status = 416;
        return;
      }
      response.status = 206;
      response.set_header("Content-Range",
                          fmt::format("bytes {}-{}/{}", first, body_.size() - 1, body_.size()));
      first_bytes_.push_back(first);
    }
    response.set_header("ETag", etag_);
    // As one that answers with a range by itself would: httplib would cut the range out of the body again.
    const_cast<httplib::Request&>(request).ranges.clear();
    const size_t cut = cut_;
    response.set_content_provider(body_.size() - first, "application/octet-stream",
                                  [this, first, cut](size_t offset, size_t length, httplib::DataSink& sink) {
                                    if (offset >= cut) return false;
                                    const size_t n = std::min({length, cut - offset, size_t{10'000}});
                                    return sink.write(body_.data() + first + offset, n);
                                  });
  }

  std::string url(const std::string& path) const { return fmt::format("http://127.0.0.1:{}{}", port_, path); }
  fs::path target() const { return directory_ / "sub" / "file.bin"; }
  fs::path part() const { return target().string() + ".part"; }
  DownloadOptions options() const {
    return {.size_bytes = static_cast<int64_t>(body_.size()), .pause_ms = 1};
  }
  std::string message_of(const std::string& path, const DownloadOptions& o) {
    try {
      download(url(path), target(), o);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }

  httplib::Server server_;
  std::thread thread_;
  int port_ = 0;
  fs::path directory_;
  // Changed between requests only.
  std::string body_ = make_body(300'000), etag_ = "\"one\"";
  bool ranges_ = true;
  std::atomic<size_t> cut_ = SIZE_MAX;
  std::atomic<int> requests_ = 0;
  std::vector<size_t> first_bytes_;
};

TEST_F(DownloadTest, BringsAFileOnce) {
  EXPECT_TRUE(download(url("/moved"), target(), options()));
  EXPECT_EQ(read_file(target()), body_);
  EXPECT_FALSE(fs::exists(part()));
  const int requests = requests_;
  EXPECT_FALSE(download(url("/file"), target(), options()));
  EXPECT_EQ(requests_, requests);
}

TEST_F(DownloadTest, GoesOnAfterEachCut) {
  cut_ = 70'000;
  EXPECT_TRUE(download(url("/file"), target(), options()));
  EXPECT_EQ(read_file(target()), body_);
  EXPECT_EQ(first_bytes_, (std::vector<size_t>{70'000, 140'000, 210'000, 280'000}));
}

TEST_F(DownloadTest, GoesOnInAnotherCall) {
  fs::create_directories(target().parent_path());
  write_file(part(), body_.substr(0, 123'456));
  EXPECT_TRUE(download(url("/file"), target(), {}));
  EXPECT_EQ(read_file(target()), body_);
  EXPECT_EQ(first_bytes_, (std::vector<size_t>{123'456}));
}

TEST_F(DownloadTest, ServerWithoutRangesStartsAgain) {
  ranges_ = false;
  fs::create_directories(target().parent_path());
  write_file(part(), "something else");
  EXPECT_TRUE(download(url("/file"), target(), options()));
  EXPECT_EQ(read_file(target()), body_);
}

TEST_F(DownloadTest, AChangedFileIsNotGluedToTheOldPart) {
  cut_ = 50'000;
  EXPECT_NE(message_of("/file", {.size_bytes = 60'000, .attempts = 1, .pause_ms = 1}), "no error");
  ASSERT_TRUE(fs::exists(part()));
  etag_ = "\"two\"";
  body_ = make_body(200'000);
  for (char& c : body_) c = static_cast<char>(c + 1);
  cut_ = SIZE_MAX;
  EXPECT_TRUE(download(url("/file"), target(), {.pause_ms = 1}));
  EXPECT_EQ(read_file(target()), body_);
}

TEST_F(DownloadTest, WrongBytesAreThrownAway) {
  DownloadOptions o = options();
  o.sha256 = std::string(64, '0');
  EXPECT_NE(message_of("/file", o).find("expected 000"), std::string::npos);
  EXPECT_FALSE(fs::exists(target()));
  EXPECT_FALSE(fs::exists(part()));
  write_file(directory_ / "body", body_);
  o.sha256 = sha256_of_file(directory_ / "body");
  EXPECT_TRUE(download(url("/file"), target(), o));
}

TEST_F(DownloadTest, AnotherSizeIsAnError) {
  DownloadOptions o = options();
  o.size_bytes += 5;
  EXPECT_NE(message_of("/file", o).find("expected 300005"), std::string::npos);
  o.size_bytes = 1000;
  EXPECT_NE(message_of("/file", o).find("more than the 1000 bytes"), std::string::npos);
  EXPECT_FALSE(fs::exists(target()));
}

TEST_F(DownloadTest, RefusalsAreToldAndNotRepeated) {
  EXPECT_NE(message_of("/nothing", options()).find("no such file (HTTP 404)"), std::string::npos);
  EXPECT_NE(message_of("/secret", options()).find("HTTP 401"), std::string::npos);
  EXPECT_EQ(fetch(url("/secret"), 100, {.token = "abc"}), "known");
  EXPECT_THROW(fetch(url("/file"), 1000), Error);
  EXPECT_THROW(download("file:///etc/passwd", target(), {.attempts = 1, .pause_ms = 1}), Error);
}

TEST_F(DownloadTest, ABusyServerIsAskedAgain) {
  EXPECT_EQ(fetch(url("/busy"), 100, {.pause_ms = 1}), "at last");
}

TEST_F(DownloadTest, NobodyThereIsAnErrorAfterSomeAttempts) {
  server_.stop();
  const std::string message = message_of("/file", {.attempts = 2, .pause_ms = 1});
  EXPECT_NE(message.find("run it again to go on"), std::string::npos) << message;
}

TEST(Sha256, KnownValue) {
  const fs::path path = fs::temp_directory_path() / fmt::format("tumbler_sha_{}", ::getpid());
  write_file(path, "abc");
  EXPECT_EQ(sha256_of_file(path), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  fs::remove(path);
}

}  // namespace
}  // namespace tumbler::io
