// AnswerText: the tokens of one choice as what a client sees: text, thoughts, tool calls.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/text_stream.h"
#include "chat/thoughts.h"
#include "chat/tool_calls.h"

namespace tumbler::chat {

struct AnswerTextOptions {
  std::vector<int32_t> stop_tokens = {};
  std::vector<std::string> stop = {};
  bool thinking = false;                          // the prompt ended in <think>
  bool thoughts = true;                           // told apart; else they are text
  bool goes_on = false;                           // the text continues another
  const nlohmann::ordered_json* tools = nullptr;  // calls are told apart, if there are
};

class AnswerText {
 public:
  struct Part {
    std::string content, thought;
    bool empty() const { return content.empty() && thought.empty(); }
  };
  AnswerText(const tokens::Tokenizer& tokenizer, AnswerTextOptions options);
  Part push(int32_t token);
  Part finish();
  bool stopped() const noexcept { return stream_.stopped(); }
  const std::vector<ToolCall>& calls() const;  // those that are whole

 private:
  Part split(const std::string& text, bool last);
  TextStream stream_;
  Thoughts thoughts_;
  bool split_thoughts_;
  std::optional<ToolCalls> calls_;
};

}  // namespace tumbler::chat
