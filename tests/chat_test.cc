// tumbler chat and tumbler models as a user meets them, with a tiny model of random weights.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chat/tiny_model.h"
#include "io/file.h"
#include "program.h"
#include "tokens/tokenizer_json.h"

namespace tumbler {
namespace {

namespace fs = std::filesystem;

class SlowChat : public testing::Test {
 protected:
  fs::path path(const std::string& name) const { return tumbler_.directory() / name; }
  int talk(const std::string& lines, const std::string& flags = "") {
    io::write_file(path("lines"), lines);
    return tumbler_.run("chat --model m --max-tokens 12 --temperature 0 --logit-bias 258=-100 " + flags +
                        " < lines");
  }
  tests::Program tumbler_{"chat"};
};

TEST_F(SlowChat, LinesInAnswersOut) {
  chat::save_tiny_model(path("m"), true);
  ASSERT_EQ(talk("hello\n"), 0) << tumbler_.errors();
  const std::string first = tumbler_.output();
  EXPECT_GT(first.size(), 4u);
  EXPECT_TRUE(first.ends_with('\n'));
  // The same question again after /undo, after /clear, and by /retry: greedy answers are the same.
  for (const char* lines : {"hello\n/undo\nhello\n", "hello\n/clear\n\nhello\r\n", "hello\n/retry\n"}) {
    ASSERT_EQ(talk(lines), 0) << tumbler_.errors();
    EXPECT_EQ(tumbler_.output(), first + first) << lines;
  }
  ASSERT_EQ(talk("hello\n/exit\nhello\n"), 0);
  EXPECT_EQ(tumbler_.output(), first);
  ASSERT_EQ(talk("//help\n/help\n/stats\n/no\n/system x\n/system\n"), 0);
  EXPECT_NE(tumbler_.errors().find("/retry"), std::string::npos);
  EXPECT_NE(tumbler_.errors().find("1 message;"), std::string::npos) << tumbler_.errors();
  EXPECT_NE(tumbler_.errors().find("/no: no such command"), std::string::npos);
  ASSERT_EQ(talk("hello\n", "--system 'speak otherwise'"), 0);
  const std::string with_system = tumbler_.output();
  EXPECT_NE(with_system, first);
  ASSERT_EQ(talk("/system speak otherwise\nhello\n"), 0);
  EXPECT_EQ(tumbler_.output(), with_system);
}

TEST_F(SlowChat, WhatCannotBeIsSaid) {
  chat::save_tiny_model(path("m"), false);
  EXPECT_EQ(talk("hello\n"), 1);
  EXPECT_NE(tumbler_.errors().find("no chat template"), std::string::npos) << tumbler_.errors();
  EXPECT_NE(tumbler_.errors().find("tumbler generate"), std::string::npos);
  io::write_file(path("m/chat_template.jinja"), "{{ raise_exception('never') }}");
  EXPECT_EQ(talk("hello\n"), 1);
  EXPECT_NE(tumbler_.errors().find("never"), std::string::npos) << tumbler_.errors();
  io::write_file(path("m/chat_template.jinja"), "{% for %}");
  EXPECT_EQ(talk("hello\n"), 1);
  io::write_file(path("m/chat_template.jinja"), std::string(tokens::chat_template()));
  EXPECT_EQ(talk(std::string(500, 'x') + "\n"), 1);
  EXPECT_NE(tumbler_.errors().find("the context holds 400"), std::string::npos) << tumbler_.errors();
}

TEST_F(SlowChat, GenerationConfigCountsWhereNoFlagIsGiven) {
  chat::save_tiny_model(path("m"), true);
  io::write_file(path("m/generation_config.json"), R"({"eos_token_id":258,"repetition_penalty":-3})");
  EXPECT_EQ(talk("hello\n"), 1);  // checked as the flag is
  EXPECT_EQ(talk("hello\n", "--repetition-penalty 1.1"), 0) << tumbler_.errors();
}

// The program on a terminal.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& arguments) {
    pid_ = forkpty(&fd_, nullptr, nullptr, nullptr);
    if (pid_ == 0) {
      ::setenv("TERM", "xterm", 1);
      ::setenv("LC_ALL", "C.UTF-8", 1);
      std::vector<char*> argv;
      for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  ~Terminal() {
    if (!ended_) ::kill(pid_, SIGKILL), ::waitpid(pid_, nullptr, 0);
    ::close(fd_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  void type(const std::string& keys) {
    ASSERT_EQ(::write(fd_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  // Reads until `text` was shown behind what was found last; false after a minute without.
  bool shows(const std::string& text) {
    for (;;) {
      const size_t at = screen_.find(text, seen_);
      if (at != std::string::npos) {
        seen_ = at + text.size();
        return true;
      }
      if (!read_more()) return false;
    }
  }
  // Reads until so many bytes were shown behind what was found last.
  bool shows_more(size_t bytes) {
    while (screen_.size() < seen_ + bytes)
      if (!read_more()) return false;
    return true;
  }
  int exit_code() {
    while (read_more()) {
    }
    int status = -1;
    ::waitpid(pid_, &status, 0);
    ended_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  const std::string& screen() const { return screen_; }

 private:
  bool read_more() {
    pollfd ready{fd_, POLLIN, 0};
    if (::poll(&ready, 1, 60'000) <= 0) return false;
    char buffer[4096];
    const ssize_t n = ::read(fd_, buffer, sizeof(buffer));
    if (n <= 0) return false;
    screen_.append(buffer, static_cast<size_t>(n));
    return true;
  }
  int fd_ = -1;
  pid_t pid_ = -1;
  bool ended_ = false;
  std::string screen_;
  size_t seen_ = 0;
};

TEST_F(SlowChat, ControlCStopsTheAnswerAndNotTheProgram) {
  chat::save_tiny_model(path("m"), true, int64_t{1} << 20);
  Terminal terminal({TUMBLER_BINARY, "chat", "--model", path("m").string(), "--context", "1000000",
                     "--logit-bias", "258=-100", "--logit-bias", "256=-100", "--stop",
                     "never said by anyone"});
  ASSERT_TRUE(terminal.shows("> ")) << terminal.screen();
  terminal.type("hello\r");
  ASSERT_TRUE(terminal.shows("hello"));
  // Of an answer that has no end: more than echoes of what was typed, which a slow machine shows twice.
  ASSERT_TRUE(terminal.shows_more(1000)) << terminal.screen();
  terminal.type("\x03");
  ASSERT_TRUE(terminal.shows("[stopped]")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("/stats\r");
  ASSERT_TRUE(terminal.shows("1 message;")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> "));
  // Pasted: one message of two lines.
  terminal.type("\x1b[200~/system two\rlines\x1b[201~\r");
  ASSERT_TRUE(terminal.shows("said;")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("/system\r");
  ASSERT_TRUE(terminal.shows("two\r\nlines")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("left\x03");
  ASSERT_TRUE(terminal.shows("> ")) << "a line that is left";
  terminal.type("\x03");
  ASSERT_TRUE(terminal.shows("leaves")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("\x03");
  EXPECT_EQ(terminal.exit_code(), 0) << terminal.screen();
}

TEST_F(SlowChat, ModelsAreListed) {
  ASSERT_EQ(tumbler_.run("models"), 0);
  EXPECT_NE(tumbler_.output().find("tumbler pull"), std::string::npos);
  chat::save_tiny_model(path("models/a/base"), false);
  chat::save_tiny_model(path("models/a/chat"), true);
  ASSERT_EQ(tumbler_.run("convert models/a/chat models/small.gguf"), 0) << tumbler_.errors();
  io::write_file(path("models/broken.gguf"), "GGUF and no more");
  ASSERT_EQ(tumbler_.run("models --json"), 0) << tumbler_.errors();
  const auto all = nlohmann::json::parse(tumbler_.output());
  EXPECT_GT(all["memory_available_bytes"].get<int64_t>(), 0);
  ASSERT_EQ(all["models"].size(), 4u);
  const auto& base = all["models"][0];
  const auto& broken = all["models"][2];
  const auto& gguf = all["models"][3];
  EXPECT_EQ(base["path"], "models/a/base");
  EXPECT_EQ(base["chat"], false);
  EXPECT_EQ(base["family"], "qwen3");
  EXPECT_EQ(base["weights"], "F32");
  EXPECT_EQ(base["context"], 400);
  EXPECT_TRUE(broken["error"].is_string());
  EXPECT_EQ(gguf["parameters"], base["parameters"]);
  EXPECT_EQ(gguf["recommended"], true) << "of equals the smaller one";
  EXPECT_EQ(all["models"][1]["recommended"], false);
  ASSERT_EQ(tumbler_.run("models"), 0);
  EXPECT_NE(tumbler_.output().find("tumbler chat --model models/small.gguf"), std::string::npos)
      << tumbler_.output();
  EXPECT_NE(tumbler_.output().find("models/broken.gguf: cannot be opened"), std::string::npos);
  EXPECT_EQ(tumbler_.run("models nowhere"), 1);
}

}  // namespace
}  // namespace tumbler
