#include <chrono>
#include <filesystem>

#include <gtest/gtest.h>

#include "chat/server/server_testing.h"

namespace tumbler::chat {
namespace {

class ChatRoutesTest : public ServerTest {
 protected:
  void start_with_chats() {
    start([&](ServerOptions& o) { o.data = (directory_ / "data").string(); });
  }
  Reply send(const char* method, const std::string& path, const Json& body = Json::object()) const {
    httplib::Request request;
    request.method = method;
    request.path = path;
    if (request.method != "GET" && request.method != "DELETE") {
      request.body = dump(body);
      request.headers = {{"Content-Type", "application/json"}};
    }
    const auto result = client().send(request);
    if (!result) return {0, {}, httplib::to_string(result.error())};
    return {result->status, Json::parse(result->body, nullptr, false), result->body};
  }
  // A chat with one question.
  std::pair<int64_t, int64_t> ask(const std::string& question) const {
    const int64_t chat = send("POST", "/api/chats", {{"system", "be brief"}}).json["id"];
    const Reply message = send("POST", fmt::format("/api/chats/{}/messages", chat), {{"content", question}});
    EXPECT_EQ(message.status, 201) << message.body;
    return {chat, message.json["id"].get<int64_t>()};
  }
  static Json settings(int max_tokens) {
    return {{"temperature", 0}, {"max_tokens", max_tokens}, {"logit_bias", {{"258", -100}}}};
  }
  std::vector<Json> events(int64_t answer, int from = 0) const {
    std::vector<Json> out;
    std::istringstream lines(get(fmt::format("/api/answers/{}?from={}", answer, from)).body);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("data: ")) out.push_back(Json::parse(line.substr(6)));
    return out;
  }
};

TEST_F(ChatRoutesTest, AnAnswerIsWrittenFollowedAndKept) {
  start_with_chats();
  const auto [chat, question] = ask("what is the time?\nand where?");
  const Reply begun = send("POST", fmt::format("/api/chats/{}/answer", chat),
                           {{"parent", question}, {"settings", settings(20)}, {"probabilities", 3}});
  ASSERT_EQ(begun.status, 201) << begun.body;
  EXPECT_EQ(begun.json["state"], "writing");
  const int64_t answer = begun.json["id"];
  const std::vector<Json> all = events(answer);
  ASSERT_GT(all.size(), 20u);
  EXPECT_EQ(all.front()["type"], "prompt");
  EXPECT_EQ(all.back()["type"], "done");
  EXPECT_EQ(all.back()["finish"], "length");
  EXPECT_EQ(all.back()["stats"]["tokens"], 20);
  std::string text;
  for (const Json& event : all)
    if (event["type"] == "token") text += event["text"].get<std::string>();
  EXPECT_EQ(all[all.size() - 2]["top"].size(), 3u);
  EXPECT_TRUE(all[all.size() - 2]["top"][1]["sampled_log_prob"].is_null())
      << "greedy: nothing else could come";
  const std::vector<Json> later = events(answer, 5);
  EXPECT_EQ(later.size() + 5, all.size());
  const Json kept = get(fmt::format("/api/chats/{}", chat)).json;
  EXPECT_EQ(kept["title"], "what is the time?");
  EXPECT_EQ(kept["head"], answer);
  EXPECT_EQ(kept["messages"][1]["content"], text);
  EXPECT_EQ(kept["messages"][1]["state"], "done");
  // The same as OpenAI's API gives.
  Json body = ServerTest::chat("what is the time?\nand where?", 20);
  body["messages"].insert(body["messages"].begin(), Json{{"role", "system"}, {"content", "be brief"}});
  EXPECT_EQ(post("/v1/chat/completions", dump(body)).json["choices"][0]["message"]["content"], text);
  // From another candidate on: its token comes first.
  Json prefix = Json::array();
  for (const Json& event : all)
    if (event["type"] == "token" && prefix.size() < 3) prefix.push_back(event["id"]);
  prefix[2] = 65;
  const Reply branch = send("POST", fmt::format("/api/chats/{}/answer", chat),
                            {{"parent", question}, {"settings", settings(5)}, {"prefix_tokens", prefix}});
  const std::vector<Json> other = events(branch.json["id"]);
  EXPECT_EQ(other[3]["id"], 65);
  EXPECT_EQ(other[3]["given"], true);
  EXPECT_GT(other[0]["cached"], 0);
  EXPECT_EQ(get(fmt::format("/api/chats/{}", chat)).json["messages"].size(), 3u) << "a sibling";
  const Json tokens = get(fmt::format("/api/chats/{}/tokens?head={}", chat, question)).json;
  EXPECT_EQ(tokens["count"], all.front()["tokens"]);
  EXPECT_EQ(get("/api/chats?query=where").json["chats"].size(), 1u);
}

TEST_F(ChatRoutesTest, AnAnswerIsStoppedAndGoesOnWithoutAReader) {
  start_with_chats();
  const auto [chat, question] = ask("hello");
  const std::string path = fmt::format("/api/chats/{}/answer", chat);
  const Json body = {{"parent", question}, {"settings", settings(900)}};
  const int64_t stopped = send("POST", path, body).json["id"];
  EXPECT_EQ(send("POST", fmt::format("/api/answers/{}/stop", stopped)).status, 204);
  const std::vector<Json> all = events(stopped);
  EXPECT_TRUE(all.back()["finish"] == "stopped" || all.back()["finish"] == "length") << dump(all.back());
  // Nobody follows this one.
  const int64_t alone = send("POST", path, {{"parent", question}, {"settings", settings(30)}}).json["id"];
  const auto state = [&] {
    const Json whole = get(fmt::format("/api/chats/{}", chat)).json;
    for (const Json& message : whole["messages"])
      if (message["id"] == alone) return message["state"].get<std::string>();
    return std::string();
  };
  for (int i = 0; i < 500 && state() == "writing"; ++i) ::usleep(10'000);
  EXPECT_EQ(state(), "done");
  // A server that ends in the middle keeps what was written.
  send("POST", path, body);
  stop();
  start_with_chats();
  const Json whole = get(fmt::format("/api/chats/{}", chat)).json;
  ASSERT_EQ(whole["messages"].size(), 4u);
  for (const Json& message : whole["messages"]) EXPECT_NE(message["state"], "writing");
}

TEST_F(ChatRoutesTest, ChatsAreChangedExportedAndRemoved) {
  start_with_chats();
  const auto [chat, question] = ask("one");
  const std::string path = fmt::format("/api/chats/{}", chat);
  EXPECT_EQ(send("PATCH", path, {{"title", "renamed"}, {"system", ""}}).json["title"], "renamed");
  EXPECT_EQ(send("PATCH", path, {{"title", 7}}).status, 400);
  EXPECT_EQ(send("PATCH", path, {{"head", 999}}).status, 404);
  const std::string json = get(path + "/export").body, markdown = get(path + "/export?format=markdown").body;
  EXPECT_TRUE(markdown.starts_with("# renamed\n\n## User\n\none\n")) << markdown;
  EXPECT_EQ(send("POST", "/api/chats/import", Json::parse(json)).json["messages"][0]["content"], "one");
  EXPECT_EQ(send("POST", "/api/chats/import", {{"markdown", markdown}}).json["title"], "renamed");
  EXPECT_EQ(send("POST", "/api/chats/import", {{"markdown", "nothing"}}).status, 400);
  EXPECT_EQ(send("DELETE", fmt::format("{}/messages/{}", path, question)).status, 204);
  EXPECT_EQ(send("DELETE", path).status, 204);
  EXPECT_EQ(get(path).status, 404);
  EXPECT_EQ(get("/api/chats").json["chats"].size(), 2u);
  EXPECT_EQ(get("/api/chats?limit=x").status, 400);
  EXPECT_EQ(get("/api/answers/12345").status, 404);
  EXPECT_EQ(send("POST", "/api/chats/999/answer", {{"parent", 1}}).status, 404);
  EXPECT_EQ(send("POST", "/api/chats/99999999999999999999/answer", {{"parent", 1}}).status, 400);
}

}  // namespace
}  // namespace tumbler::chat
