// A server of a tiny model, for tests.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <httplib.h>
#include <unistd.h>

#include "chat/server/json_request.h"
#include "chat/server/server.h"
#include "chat/tiny_model.h"

namespace tumbler::chat {

constexpr int64_t kTestContext = 1000;

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() /
                 fmt::format("server_{}_{}", ::testing::UnitTest::GetInstance()->current_test_info()->name(),
                             ::getpid());
    std::filesystem::remove_all(directory_);
    save_model("tiny", true);
  }
  void TearDown() override {
    stop();
    std::filesystem::remove_all(directory_);
  }
  void save_model(const std::string& name, bool chats) const {
    save_tiny_model(directory_ / "models" / name, chats, kTestContext);
  }
  void start(const std::function<void(ServerOptions&)>& change = {}) {
    ServerOptions options;
    options.port = 0;
    options.models = {(directory_ / "models/tiny").string()};
    options.folders = {(directory_ / "models").string()};
    options.version = "test";
    options.hosting.sequences = 4;
    if (change) change(options);
    server_ = std::make_unique<Server>(options);
    thread_ = std::thread([this] { server_->run(); });
  }
  void stop() {
    if (!server_) return;
    server_->stop();
    thread_.join();
    server_.reset();
  }
  httplib::Client client() const {
    httplib::Client client("127.0.0.1", server_->port());
    client.set_read_timeout(60);
    client.set_keep_alive(true);
    client.set_tcp_nodelay(true);
    return client;
  }
  struct Reply {
    int status;
    Json json;
    std::string body;
  };
  Reply post(const std::string& path, const std::string& body, const httplib::Headers& headers = {}) const {
    const auto result = client().Post(path, headers, body, "application/json");
    if (!result) return {0, {}, httplib::to_string(result.error())};
    return {result->status, Json::parse(result->body, nullptr, false), result->body};
  }
  Reply get(const std::string& path, const httplib::Headers& headers = {}) const {
    const auto result = client().Get(path, headers);
    if (!result) return {0, {}, httplib::to_string(result.error())};
    return {result->status, Json::parse(result->body, nullptr, false), result->body};
  }
  // Greedy and without an end, so that every prompt has one answer.
  static Json chat(const std::string& text, int max_tokens = 12) {
    return {{"messages", {{{"role", "user"}, {"content", text}}}},
            {"max_tokens", max_tokens},
            {"temperature", 0},
            {"logit_bias", {{"258", -100}}}};
  }
  std::string answer(const std::string& text) const {
    const Reply reply = post("/v1/chat/completions", dump(chat(text)));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.status == 200 ? reply.json["choices"][0]["message"]["content"].get<std::string>() : "";
  }
  // The chunks of a stream, without the last "[DONE]".
  std::vector<Json> stream(const std::string& path, Json body) const {
    body["stream"] = true;
    const Reply reply = post(path, dump(body));
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
    std::vector<Json> out;
    std::istringstream lines(reply.body);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("data: {")) out.push_back(Json::parse(line.substr(6)));
    return out;
  }

  std::filesystem::path directory_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

}  // namespace tumbler::chat
