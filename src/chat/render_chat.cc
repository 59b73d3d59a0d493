#include "chat/render_chat.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace tumbler::chat {

Rendered render_chat(const jinja::Template& chat_template, const nlohmann::ordered_json& messages,
                     const ChatOptions& options) {
  if (!messages.is_array())
    throw Error("chat_template", "messages: got {}, expected a list of objects", messages.type_name());
  std::vector<std::pair<std::string, jinja::Value>> variables;
  const auto set = [&](const char* name, jinja::Value value) {
    variables.emplace_back(name, std::move(value));
  };
  const auto set_json = [&](const char* name, const nlohmann::ordered_json* json) {
    set(name, json == nullptr ? jinja::Value(jinja::None{}) : jinja::from_json(*json, true));
  };
  set("messages", jinja::from_json(messages, true));
  set_json("tools", options.tools);
  set_json("documents", options.documents);
  set("add_generation_prompt", options.add_generation_prompt);
  if (!options.bos_token.empty()) set("bos_token", jinja::Value(options.bos_token));
  if (!options.eos_token.empty()) set("eos_token", jinja::Value(options.eos_token));
  if (options.extra != nullptr) {
    if (!options.extra->is_object())
      throw Error("chat_template", "extra variables: got {}, expected an object", options.extra->type_name());
    for (const auto& [name, value] : options.extra->items())
      variables.emplace_back(name, jinja::from_json(value, true));
  }
  const std::time_t now = options.now != 0 ? options.now : std::time(nullptr);
  std::tm local{};
  if (localtime_r(&now, &local) == nullptr) throw Error("chat_template", "the time {} is no date", now);
  jinja::Text text = chat_template.render(variables, local, options.limits);
  return {std::move(text.bytes), std::move(text.input)};
}

}  // namespace tumbler::chat
