#include "chat/tool_calls.h"

#include <algorithm>

#include "base/error.h"
#include "engine/json_schema.h"

namespace tumbler::chat {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kBegin = "<tool_call>", kEnd = "</tool_call>", kBlanks = " \t\r\n";

std::vector<std::string> names_of(const Json& tools) {
  std::vector<std::string> names;
  for (const Json& tool : tools) names.push_back(tool.at("function").at("name").get<std::string>());
  return names;
}

// How many bytes at the end of `text` may be the start of `tag`.
size_t started(std::string_view text, std::string_view tag) {
  for (size_t n = std::min(text.size(), tag.size() - 1); n > 0; --n)
    if (text.ends_with(tag.substr(0, n))) return n;
  return 0;
}

}  // namespace

ToolCalls::ToolCalls(const Json& tools) : names_(names_of(tools)) {}

bool ToolCalls::add_call(std::string_view json) {
  const Json call = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!call.is_object() || !call.contains("name") || !call["name"].is_string()) return false;
  const std::string name = call["name"];
  if (std::find(names_.begin(), names_.end(), name) == names_.end()) return false;
  Json arguments = Json::object();
  for (const char* key : {"arguments", "parameters"})
    if (call.contains(key)) arguments = call[key];
  // Some models write the arguments as a text of JSON, as OpenAI's API has them.
  calls_.push_back({name, arguments.is_string() ? arguments.get<std::string>() : arguments.dump()});
  return true;
}

std::string ToolCalls::push(std::string_view text) {
  held_ += text;
  if (at_start_) {
    const size_t first = held_.find_first_not_of(kBlanks);
    if (first == std::string::npos) return {};
    at_start_ = false;
    bare_ = held_[first] == '{';
  }
  if (bare_) return {};  // known at the end only
  std::string out;
  for (;;) {
    const size_t begin = held_.find(kBegin);
    if (begin == std::string::npos) {
      const size_t keep = started(held_, kBegin);
      out += held_.substr(0, held_.size() - keep);
      held_.erase(0, held_.size() - keep);
      return out;
    }
    const size_t end = held_.find(kEnd, begin);
    if (end == std::string::npos) {
      out += held_.substr(0, begin);
      held_.erase(0, begin);
      return out;
    }
    const size_t body = begin + kBegin.size();
    const bool is_call = add_call(std::string_view(held_).substr(body, end - body));
    std::string_view before = std::string_view(held_).substr(0, is_call ? begin : end + kEnd.size());
    if (is_call && before.find_first_not_of(kBlanks) == std::string::npos) before = {};  // between calls
    out += before;
    held_.erase(0, end + kEnd.size());
  }
}

std::string ToolCalls::finish() {
  std::string rest = std::move(held_);
  held_.clear();
  std::string_view json = rest;
  if (json.starts_with(kBegin)) json.remove_prefix(kBegin.size());  // and the model stopped without the end
  if ((bare_ || json.size() < rest.size()) && add_call(json)) return {};
  const bool blank = rest.find_first_not_of(kBlanks) == std::string::npos;
  return blank && !calls_.empty() ? std::string() : rest;
}

std::string tool_call_grammar(const Json& tools, const std::string& name) {
  Json calls = Json::array();
  for (const Json& tool : tools) {
    const Json& function = tool.at("function");
    if (!name.empty() && function.at("name") != name) continue;
    const auto parameters = function.find("parameters");
    calls.push_back({{"type", "object"},
                     {"properties",
                      {{"name", {{"const", function.at("name")}}},
                       {"arguments", parameters == function.end() ? Json{{"type", "object"}} : *parameters}}},
                     {"required", {"name", "arguments"}},
                     {"additionalProperties", false}});
  }
  if (calls.empty()) throw Error("tools", "tool_choice: there is no tool \"{}\"", name);
  const std::string grammar = engine::json_schema_grammar(Json{{"anyOf", calls}}.dump());
  // The schema's root becomes a part of ours.
  const size_t root = grammar.find("root ::=");
  if (root == std::string::npos) throw Error("tools", "a schema without a root rule");
  std::string out = grammar;
  out.replace(root, 4, "tool-call-json");
  return out + "\nroot ::= \"<tool_call>\\n\" tool-call-json \"\\n</tool_call>\"\n";
}

}  // namespace tumbler::chat
