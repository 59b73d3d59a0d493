// tumbler pull against a hub on loopback that cuts connections.
#include <atomic>
#include <filesystem>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include "io/download.h"
#include "io/file.h"
#include "program.h"

namespace fs = std::filesystem;

namespace tumbler {
namespace {

class SlowPull : public testing::Test {
 protected:
  SlowPull() : tumbler_("pull") {
    for (int i = 0; i < 500'000; ++i) weights_ += static_cast<char>(i * 7 % 251);
    io::write_file(tumbler_.directory() / "weights", weights_);
    const std::string tree = fmt::format(
        R"([{{"type":"file","path":"config.json","size":{}}},{{"type":"file","path":"README.md","size":1}},)"
        R"({{"type":"file","path":"model.safetensors","size":{},"lfs":{{"oid":"{}"}}}}])",
        kConfig.size(), weights_.size(), io::sha256_of_file(tumbler_.directory() / "weights"));
    server_.Get("/api/models/a/b/tree/main", [tree](const httplib::Request&, httplib::Response& response) {
      response.set_content(tree, "application/json");
    });
    server_.Get("/a/b/resolve/main/config.json", [](const httplib::Request&, httplib::Response& response) {
      response.set_content(kConfig.data(), kConfig.size(), "application/json");
    });
    server_.Get("/a/b/resolve/main/model.safetensors",
                [this](const httplib::Request& request, httplib::Response& response) {
                  ++asked_;
                  const bool part = request.has_header("Range");
                  const size_t first = part ? std::stoull(request.get_header_value("Range").substr(6)) : 0;
                  if (part) response.status = 206;
                  const_cast<httplib::Request&>(request).ranges.clear();  // the range is cut out here
                  response.set_content_provider(
                      weights_.size() - first, "application/octet-stream",
                      [this, first](size_t offset, size_t length, httplib::DataSink& sink) {
                        if (offset >= 200'000) return false;
                        std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms_));
                        return sink.write(weights_.data() + first + offset, std::min<size_t>(length, 20'000));
                      });
                });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~SlowPull() override {
    server_.stop();
    thread_.join();
  }
  int pull(const std::string& arguments, int kill_after_ms = -1) {
    return tumbler_.run(fmt::format("pull {} --endpoint http://127.0.0.1:{}", arguments, port_),
                        kill_after_ms);
  }

  static constexpr std::string_view kConfig = "{\"a\": 1}";
  tests::Program tumbler_;
  httplib::Server server_;
  std::thread thread_;
  int port_ = 0;
  std::string weights_;
  std::atomic<int> asked_ = 0, pause_ms_ = 0;
};

TEST_F(SlowPull, CutAndKilledItGoesOnAndIsWhole) {
  pause_ms_ = 20;  // half a second in all
  EXPECT_EQ(pull("hf:a/b", 250), 128 + 9);
  pause_ms_ = 0;
  ASSERT_EQ(pull("hf:a/b"), 0) << tumbler_.errors();
  EXPECT_EQ(tumbler_.output(), "models/a/b\n");
  EXPECT_EQ(io::read_file(tumbler_.directory() / "models/a/b/model.safetensors"), weights_);
  EXPECT_EQ(io::read_file(tumbler_.directory() / "models/a/b/config.json"), kConfig);
  EXPECT_FALSE(fs::exists(tumbler_.directory() / "models/a/b/README.md"));
  const int asked = asked_;
  EXPECT_EQ(pull("hf:a/b"), 0);
  EXPECT_EQ(asked_, asked) << "what is whole is not brought again";
}

TEST_F(SlowPull, SaysWhatIsWrong) {
  EXPECT_EQ(pull("hf:a/none"), 1);
  EXPECT_NE(tumbler_.errors().find("HTTP 404"), std::string::npos) << tumbler_.errors();
  EXPECT_EQ(pull("hf:a/b:model.gguf"), 1);
  EXPECT_NE(tumbler_.errors().find("it has no file model.gguf"), std::string::npos) << tumbler_.errors();
  EXPECT_EQ(pull("hf:../b"), 1);
  const std::string url = fmt::format("http://127.0.0.1:{}/a/b/resolve/main/config.json", port_);
  EXPECT_EQ(pull(url + " --sha256 " + std::string(64, '0')), 1);
  EXPECT_FALSE(fs::exists(tumbler_.directory() / "models/config.json"));
  EXPECT_EQ(pull(url), 0) << tumbler_.errors();
  EXPECT_EQ(io::read_file(tumbler_.directory() / "models/config.json"), kConfig);
}

}  // namespace
}  // namespace tumbler
