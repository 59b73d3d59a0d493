// Tool calls in what a model writes: between <tool_call> and </tool_call> (Hermes, Qwen), or an answer that
// is one JSON object that names a tool (Llama 3.1's format without built-in tools).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace tumbler::chat {

struct ToolCall {
  std::string name;
  std::string arguments;  // JSON
};

// Tells calls from text in a stream.
class ToolCalls {
 public:
  // `tools`: OpenAI's list of {"type": "function", "function": {"name", …}}.
  explicit ToolCalls(const nlohmann::ordered_json& tools);
  // Text that is sure to be no part of a call; calls that are whole are added to calls().
  std::string push(std::string_view text);
  // What is left. A call that was cut off, or that names no tool, is text.
  std::string finish();
  const std::vector<ToolCall>& calls() const noexcept { return calls_; }

 private:
  bool add_call(std::string_view json);
  std::vector<std::string> names_;
  std::string held_;
  std::vector<ToolCall> calls_;
  bool at_start_ = true, bare_ = false;
};

// A grammar (GBNF) of one call or more, of `name` alone unless it is empty. Throws Error on a schema that
// cannot be followed.
std::string tool_call_grammar(const nlohmann::ordered_json& tools, const std::string& name);

}  // namespace tumbler::chat
