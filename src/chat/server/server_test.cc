#include "chat/server/server.h"

#include <array>
#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/rng.h"
#include "chat/server/api_error.h"
#include "chat/server/server_testing.h"

namespace tumbler::chat {
namespace {

TEST(ParseBody, ObjectsAreOfBoundedSize) {
  std::string body = "{\"list\":[{\"a\":0}";
  for (int i = 0; i < 5000; ++i) body += ",{\"a\":0}";
  EXPECT_EQ(parse_body(body + "]}")["list"].size(), 5001u);
  body = "{\"bias\":{\"0\":{\"a\":0}";
  for (int i = 1; i < 4096; ++i) body += fmt::format(",\"{}\":{{\"a\":0}}", i);
  EXPECT_EQ(parse_body(body + "}}")["bias"].size(), 4096u);
  EXPECT_THROW(parse_body(body + ",\"x\":0}}"), ApiError);
}

TEST_F(ServerTest, SaysWhatIsThere) {
  start();
  EXPECT_EQ(get("/health").json["status"], "ok");
  const Json models = get("/v1/models").json;
  ASSERT_EQ(models["data"].size(), 1u);
  EXPECT_EQ(models["data"][0]["id"], "tiny");
  EXPECT_EQ(get("/v1/models/tiny").json["context_length"], kTestContext);
  EXPECT_EQ(get("/v1/models/other").status, 404);
  EXPECT_EQ(get("/nothing").json["error"]["type"], "not_found_error");
  answer("hello");
  const std::string line = "tumbler_generated_tokens_total{model=\"tiny\"} 12";
  const auto counted = [&] { return get("/metrics").body.find(line) != std::string::npos; };
  for (int i = 0; i < 200 && !counted(); ++i) ::usleep(10'000);
  EXPECT_TRUE(counted());
  const Json inside = get("/api/models/tiny").json;
  EXPECT_EQ(inside["config"]["family"], "qwen3");
  EXPECT_GT(inside["tensors"].size(), 10u);
}

TEST_F(ServerTest, StreamsSayWhatWholeAnswersSay) {
  start();
  Json body = chat("hello there");
  body["n"] = 3;
  body["temperature"] = 1;
  body["seed"] = 5;
  body["stream_options"] = {{"include_usage", true}};
  const Json whole = post("/v1/chat/completions", dump(body)).json;
  std::vector<std::string> streamed(3), finish(3);
  Json usage;
  for (const Json& chunk : stream("/v1/chat/completions", body)) {
    if (!chunk["usage"].is_null()) usage = chunk["usage"];
    for (const Json& choice : chunk["choices"]) {
      const size_t i = choice["index"];
      if (choice["delta"].contains("content")) streamed[i] += choice["delta"]["content"].get<std::string>();
      if (!choice["finish_reason"].is_null()) finish[i] = choice["finish_reason"];
    }
  }
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(streamed[i], whole["choices"][i]["message"]["content"]);
    EXPECT_EQ(finish[i], "length");
  }
  EXPECT_NE(streamed[0], streamed[1]);
  EXPECT_EQ(usage["completion_tokens"], 36);
  EXPECT_EQ(usage["prompt_tokens"], whole["usage"]["prompt_tokens"]);
  EXPECT_GT(usage["prompt_tokens_details"]["cached_tokens"], 0) << "read for the first of them";
}

TEST_F(ServerTest, WhatTheCacheHeldIsCounted) {
  start();
  const auto cached = [&] {
    const Reply reply = post("/v1/chat/completions", dump(chat(std::string(600, 'x'))));
    return reply.json["usage"]["prompt_tokens_details"]["cached_tokens"].get<int64_t>();
  };
  EXPECT_EQ(cached(), 0) << "read in several passes";
  EXPECT_GT(cached(), 600);
}

TEST_F(ServerTest, CompletionsEchoAndLogProbabilities) {
  start();
  const Json body = {{"prompt", {"one two", "three"}},
                     {"max_tokens", 3},
                     {"echo", true},
                     {"logprobs", 2},
                     {"grammar", "root ::= [a-z]*"},
                     {"temperature", 0},
                     {"logit_bias", {{"258", -100}}}};
  const Json whole = post("/v1/completions", dump(body)).json;
  ASSERT_EQ(whole["choices"].size(), 2u);
  const Json& first = whole["choices"][0];
  EXPECT_TRUE(first["text"].get<std::string>().starts_with("one two"));
  const Json& log_probs = first["logprobs"];
  const size_t count = log_probs["tokens"].size();
  ASSERT_GT(count, 5u);
  EXPECT_TRUE(log_probs["token_logprobs"][0].is_null());
  for (size_t i = 1; i < count; ++i) {
    EXPECT_LT(log_probs["token_logprobs"][i], 0);
    EXPECT_GE(log_probs["top_logprobs"][i].size(), 1u);
  }
  // The prompt's tokens are judged as they would be if the model had written them.
  Json longer = {{"prompt", first["text"]}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 0}};
  const Json judged = post("/v1/completions", dump(longer)).json["choices"][0]["logprobs"];
  ASSERT_EQ(judged["tokens"], log_probs["tokens"]) << "what is written is bytes here";
  for (size_t i = 1; i < count; ++i)
    EXPECT_NEAR(judged["token_logprobs"][i].get<double>(), log_probs["token_logprobs"][i].get<double>(),
                1e-4);
  EXPECT_EQ(post("/v1/completions", R"({"prompt":[72,101],"max_tokens":1})").status, 200);
  EXPECT_EQ(post("/v1/completions", R"({"prompt":[72,99999],"max_tokens":1})").status, 400);
}

TEST_F(ServerTest, WrongRequestsAreNamed) {
  start();
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {R"({"temperature":"hot"})", "temperature"},
      {R"({"temperature":-1})", "temperature"},
      {R"({"top_p":2})", "top_p"},
      {R"({"n":0})", "n"},
      {R"({"n":1.5})", "n"},
      {R"({"max_tokens":-5})", "max_tokens"},  // CVE-2026-21869: a negative count that was believed
      {R"({"stop":[1]})", "stop"},
      {R"({"messages":"hello"})", "messages"},
      {R"({"messages":[]})", "messages"},
      {R"({"messages":[{"content":"x"}]})", "messages"},
      {R"({"messages":[{"role":"user","content":7}]})", "messages"},
      {R"({"logit_bias":{"x":1}})", "logit_bias"},
      {R"({"logit_bias":{"99999":1}})", "logit_bias"},
      {R"({"stream":"yes"})", "stream"},
      {R"({"tools":[{"type":"function"}]})", "tools"},
      {R"({"tool_choice":"required"})", "tool_choice"},
      {R"({"response_format":{"type":"xml"}})", "response_format"},
      {R"({"top_logprobs":3})", "top_logprobs"},
      {R"({"model":"other"})", "model"},
  };
  for (const auto& [change, param] : wrong) {
    Json body = chat("hello");
    body.update(Json::parse(change));
    const Reply reply = post("/v1/chat/completions", dump(body));
    EXPECT_TRUE(reply.status == 400 || reply.status == 404) << change << reply.body;
    EXPECT_EQ(reply.json["error"]["param"], param) << reply.body;
  }
  for (const char* body :
       {"", "{", "[]", "null", "\"x\"", "{\"messages\": \xFF}", "{\"grammar\": \"root ::= \"}"})
    EXPECT_EQ(post("/v1/chat/completions", body).status, 400) << body;
  const Reply deep =
      post("/v1/chat/completions", "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}");
  EXPECT_EQ(deep.status, 400);
  Json with_unknown = chat("hello");
  with_unknown["something_new"] = {{"a", 1}};
  EXPECT_EQ(post("/v1/chat/completions", dump(with_unknown)).status, 200)
      << "clients send keys of later versions";
  const Reply longer = post("/v1/chat/completions", dump(chat(std::string(1500, 'x'))));
  EXPECT_EQ(longer.status, 400);
  EXPECT_EQ(longer.json["error"]["code"], "context_length_exceeded");
  EXPECT_NE(longer.body.find("holds 1000"), std::string::npos) << longer.body;
}

TEST_F(ServerTest, OnlyItsOwnPageAndKeysComeIn) {
  const std::string key = "k-0123456789";
  start([&](ServerOptions& o) { o.api_keys = {"another", key}; });
  const std::string host = fmt::format("127.0.0.1:{}", server_->port());
  const httplib::Headers with_key = {{"Authorization", "Bearer " + key}};
  const auto with = [&](const char* name, const std::string& value) {
    httplib::Headers headers = with_key;
    headers.emplace(name, value);
    return get("/v1/models", headers).status;
  };
  EXPECT_EQ(get("/v1/models").status, 401);
  EXPECT_EQ(get("/v1/models", {{"Authorization", "Bearer k-012345678"}}).status, 401);
  EXPECT_EQ(get("/v1/models", with_key).status, 200);
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_EQ(with("Origin", "http://" + host), 200);
  EXPECT_EQ(with("Origin", "http://evil.example"), 403);
  EXPECT_EQ(with("Origin", "null"), 403);
  EXPECT_EQ(with("Origin", "http://127.0.0.1:1"), 403);
  EXPECT_EQ(with("Sec-Fetch-Site", "cross-site"), 403);
  EXPECT_EQ(with("Host", "evil.example"), 403);
  EXPECT_EQ(with("Host", fmt::format("evil.example:{}", server_->port())), 403)
      << "a name bound anew to 127.0.0.1";
  EXPECT_EQ(with("Host", fmt::format("localhost:{}", server_->port())), 200);
  EXPECT_EQ(with("Host", "127.0.0.1:1"), 403);
  const auto form = client().Post("/v1/chat/completions", with_key, dump(chat("x")), "text/plain");
  EXPECT_EQ(form->status, 415);
  ServerOptions open_to_all;
  open_to_all.host = "0.0.0.0";
  EXPECT_THROW(Server{open_to_all}, Error) << "others can reach that, and there are no keys";
}

TEST_F(ServerTest, LimitsHold) {
  start([](ServerOptions& o) {
    o.hosting.sequences = 1;
    o.hosting.waiting = 1;
    o.max_body = 2000;
    o.request_seconds = 0.3;
  });
  EXPECT_EQ(post("/v1/chat/completions", dump(chat(std::string(3000, 'x')))).status, 413);
  EXPECT_EQ(post("/v1/chat/completions", dump([] {
                   Json body = chat("x");
                   body["n"] = 3;
                   return body;
                 }()))
                .status,
            429);
  // Bigger than what 0.3 s write, and so cut off by time.
  Json body = chat("x", 390);
  body["n"] = 2;
  const Reply reply = post("/v1/chat/completions", dump(body));
  EXPECT_EQ(reply.status, 200);
}

TEST_F(ServerTest, ToolsAreCalledAndForced) {
  start();
  Json body = chat("what is the weather?", 200);
  body["tools"] =
      Json::parse(R"([{"type":"function","function":{"name":"weather","parameters":{"type":"object",
      "properties":{"city":{"type":"string","maxLength":5}},"required":["city"],"additionalProperties":false}}}])");
  body["tool_choice"] = "required";
  const Reply reply = post("/v1/chat/completions", dump(body));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const Json& choice = reply.json["choices"][0];
  ASSERT_EQ(choice["finish_reason"], "tool_calls") << reply.body;
  const Json& call = choice["message"]["tool_calls"][0]["function"];
  EXPECT_EQ(call["name"], "weather");
  EXPECT_TRUE(Json::parse(call["arguments"].get<std::string>())["city"].is_string());
  std::string arguments;
  for (const Json& chunk : stream("/v1/chat/completions", body))
    for (const Json& delta : chunk["choices"])
      if (delta["delta"].contains("tool_calls"))
        arguments += delta["delta"]["tool_calls"][0]["function"]["arguments"].get<std::string>();
  EXPECT_EQ(arguments, call["arguments"]);
}

TEST_F(ServerTest, TokensOfATextAndOfAConversation) {
  start();
  const Json text = post("/tokenize", R"({"content":"hé <|im_end|>"})").json;
  EXPECT_EQ(text["count"], text["pieces"].size());
  EXPECT_FALSE(text["pieces"].back()["special"].get<bool>());
  EXPECT_EQ(post("/detokenize", dump({{"tokens", text["tokens"]}})).json["content"], "hé <|im_end|>");
  const Json talk =
      post("/tokenize",
           R"({"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"yo"}]})")
          .json;
  std::string user, said, all;
  for (const Json& piece : talk["pieces"]) {
    if (piece["role"] == "user") user += piece["text"].get<std::string>();
    if (piece["role"] == "assistant") said += piece["text"].get<std::string>();
    all += piece["text"].get<std::string>();
  }
  EXPECT_EQ(user, "hi") << all;
  EXPECT_EQ(said, "yo") << all;
  EXPECT_EQ(post("/detokenize", R"({"tokens":[-1]})").status, 400);
  EXPECT_EQ(post("/detokenize", R"({"tokens":[100000]})").status, 400);
}

TEST_F(ServerTest, ModelsAreLoadedAndEjected) {
  save_model("base", false);
  start();
  const std::string base = (directory_ / "models/base").string();
  EXPECT_EQ(post("/api/models/load", dump({{"path", "/etc"}})).status, 404) << "only what is listed";
  EXPECT_EQ(post("/api/models/load", dump({{"path", base}})).status, 202);
  const auto state = [&] {
    const Json all = get("/api/models").json;
    for (const Json& model : all["models"])
      if (model["id"] == "base") return model["state"].get<std::string>();
    return std::string("none");
  };
  for (int i = 0; i < 200 && state() != "loaded"; ++i) ::usleep(10'000);
  ASSERT_EQ(state(), "loaded");
  EXPECT_EQ(post("/v1/completions", R"({"model":"base","prompt":"x","max_tokens":2})").status, 200);
  Json body = chat("x");
  body["model"] = "base";
  const Reply no_template = post("/v1/chat/completions", dump(body));
  EXPECT_EQ(no_template.status, 400);
  EXPECT_NE(no_template.body.find("no chat template"), std::string::npos);
  EXPECT_EQ(post("/api/models/eject", R"({"id":"base"})").status, 200);
  EXPECT_EQ(state(), "here");
  EXPECT_EQ(post("/api/models/eject", R"({"id":"base"})").status, 404);
  EXPECT_EQ(post("/v1/completions", R"({"model":"base","prompt":"x"})").json["error"]["code"],
            "model_not_found");
}

TEST_F(ServerTest, EmbeddingsAreOfLengthOneAndOfTheirTextAlone) {
  start();
  const Json both = post("/v1/embeddings", R"({"input":["one two","three"]})").json;
  ASSERT_EQ(both["data"].size(), 2u);
  double length = 0;
  for (const Json& x : both["data"][0]["embedding"]) length += x.get<double>() * x.get<double>();
  EXPECT_NEAR(length, 1, 1e-5);
  EXPECT_EQ(post("/v1/embeddings", R"({"input":"three"})").json["data"][0]["embedding"],
            both["data"][1]["embedding"]);
  const size_t floats = both["data"][0]["embedding"].size();
  const Json packed = post("/v1/embeddings", R"({"input":"three","encoding_format":"base64"})").json;
  EXPECT_EQ(packed["data"][0]["embedding"].get<std::string>().size(), (floats * 4 + 2) / 3 * 4);
  EXPECT_EQ(post("/v1/embeddings", R"({"input":[]})").status, 400);
  EXPECT_EQ(post("/v1/embeddings", R"({"input":"x","encoding_format":"f16"})").status, 400);
}

int64_t resident_kilobytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6));
  return 0;
}

// 1,000 requests from 64 clients; a tenth of them go away in the middle.
TEST_F(ServerTest, ManyClientsAtOnceGetTheirOwnAnswers) {
  start();
  constexpr int kPrompts = 20, kClients = 64, kRequests = 1000;
  std::vector<std::string> expected;
  for (int i = 0; i < kPrompts; ++i) expected.push_back(answer(fmt::format("question {}", i)));
  std::atomic<int> next = 0, right = 0, cut = 0, wrong = 0;
  const auto run = [&] {
    httplib::Client own = client();
    for (int i; (i = next++) < kRequests;) {
      Json body = chat(fmt::format("question {}", i % kPrompts), i % 10 == 3 ? 300 : 12);
      body["stream"] = i % 3 != 0;
      if (i % 10 == 3) {
        httplib::Client leaving = client();
        body["stream"] = i % 20 == 3;
        leaving.set_read_timeout(0, 5000);
        httplib::Request request;
        request.method = "POST";
        request.path = "/v1/chat/completions";
        request.headers = {{"Content-Type", "application/json"}};
        request.body = dump(body);
        request.content_receiver = [](const char*, size_t, uint64_t, uint64_t) { return false; };
        leaving.send(request);
        ++cut;
        continue;
      }
      const auto result = own.Post("/v1/chat/completions", dump(body), "application/json");
      if (!result || result->status != 200) {
        ++wrong;
        ADD_FAILURE() << "request " << i << ": "
                      << (result ? result->body : httplib::to_string(result.error()));
        continue;
      }
      std::string text;
      if (body["stream"] == true) {
        std::istringstream lines(result->body);
        for (std::string line; std::getline(lines, line);) {
          if (!line.starts_with("data: {")) continue;
          const Json chunk = Json::parse(line.substr(6));
          for (const Json& choice : chunk["choices"])
            if (choice["delta"].contains("content")) text += choice["delta"]["content"].get<std::string>();
        }
      } else {
        text = Json::parse(result->body)["choices"][0]["message"]["content"];
      }
      EXPECT_EQ(text, expected[static_cast<size_t>(i % kPrompts)]) << body;
      ++(text == expected[static_cast<size_t>(i % kPrompts)] ? right : wrong);
    }
  };
  const auto round = [&] {
    next = right = cut = wrong = 0;
    std::vector<std::thread> clients;
    for (int i = 0; i < kClients; ++i) clients.emplace_back(run);
    for (std::thread& t : clients) t.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(right, kRequests - cut);
    EXPECT_EQ(cut, kRequests / 10);
  };
  round();
  const int64_t before = resident_kilobytes();
  round();
#ifdef __SANITIZE_ADDRESS__
  constexpr int64_t kMost = 400'000;  // it keeps what was freed
#else
  constexpr int64_t kMost = 20'000;
#endif
  EXPECT_LT(resident_kilobytes() - before, kMost) << "memory is flat";
  const auto active = [&] { return get("/api/models").json["models"][0]["loaded"]["active"].get<int>(); };
  for (int i = 0; i < 500 && active() > 0; ++i) ::usleep(10'000);
  EXPECT_EQ(active(), 0) << "what was left is ended";
}

// Bytes to the port, and what comes back until the server closes.
std::string send_raw(int port, const std::string& bytes) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string out;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0 &&
      ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) >= 0) {
    ::shutdown(fd, SHUT_WR);
    char buffer[4096];
    for (ssize_t n; (n = ::recv(fd, buffer, sizeof(buffer), 0)) > 0;)
      out.append(buffer, static_cast<size_t>(n));
  }
  ::close(fd);
  return out;
}

// 10,000 requests with something wrong in them: a reason each, and the server goes on.
TEST_F(ServerTest, MalformedRequestsGetAReason) {
  start();
  Rng rng(1, 0);
  const std::vector<std::string> paths = {"/v1/chat/completions", "/v1/completions",  "/tokenize",
                                          "/detokenize",          "/api/models/load", "/api/models/eject"};
  Json whole = chat("hello", 2);
  whole.update(
      Json::parse(R"({"prompt":"x","content":"x","tokens":[72],"stop":["a"],"seed":1,"n":1,"top_p":0.5,
    "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"logprobs":false,
    "response_format":{"type":"json_object"},"stream_options":{"include_usage":true}})"));
  const std::string good = dump(whole);
  httplib::Client own = client();
  std::array<int, 6> classes = {};
  for (int i = 0; i < 9'000; ++i) {
    std::string body = good;
    const auto changes = 1 + rng.below(4);
    for (uint64_t k = 0; k < changes; ++k) {
      const size_t at = rng.below(body.size());
      switch (rng.below(4)) {
        case 0:
          body[at] = static_cast<char>(rng.below(256));
          break;
        case 1:
          body.erase(at, 1 + rng.below(20));
          break;
        case 2:
          body.insert(at, body.substr(rng.below(body.size()), rng.below(40)));
          break;
        default:
          body.insert(at, std::string(1, "{}[]\",:0e-"[rng.below(10)]));
      }
    }
    const auto result = own.Post(paths[rng.below(paths.size())], body, "application/json");
    ASSERT_TRUE(result) << body;
    ASSERT_LT(result->status, 500) << body << "\n" << result->body;
    if (result->status >= 400) {
      EXPECT_FALSE(Json::parse(result->body)["error"]["message"].empty()) << result->body;
    }
    ++classes[static_cast<size_t>(result->status / 100)];
  }
  EXPECT_GT(classes[4], 4'000);
  const std::string head = fmt::format(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: "
      "application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
      server_->port(), good.size());
  for (int i = 0; i < 1'000; ++i) {
    std::string bytes = head + good;
    bytes[rng.below(head.size())] = static_cast<char>(rng.below(256));
    if (i % 3 == 0) bytes.resize(rng.below(bytes.size()));
    const std::string reply = send_raw(server_->port(), bytes);
    EXPECT_FALSE(reply.starts_with("HTTP/1.1 5")) << reply;
  }
  EXPECT_EQ(get("/health").status, 200);
}

}  // namespace
}  // namespace tumbler::chat
