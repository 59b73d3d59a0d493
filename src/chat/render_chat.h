// A conversation as the text that a model was trained to read: its chat template on its messages, with the
// variables and settings of transformers' apply_chat_template.
//
//   const auto chat = jinja::Template::parse(source);
//   const Rendered prompt = render_chat(chat, messages, {.tools = &tools, .bos_token = "<s>"});
//   ids = tokenizer.encode(prompt.text, prompt.input);  // special tokens only where the template wrote them
#pragma once

#include <ctime>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "chat/jinja/template.h"

namespace tumbler::chat {

struct ChatOptions {
  const nlohmann::ordered_json* tools = nullptr;      // a list of JSON schemas of functions; null: none
  const nlohmann::ordered_json* documents = nullptr;  // for templates that know them
  const nlohmann::ordered_json* extra = nullptr;  // an object of more variables: {"enable_thinking": false}
  bool add_generation_prompt = true;
  std::string bos_token = {}, eos_token = {};  // empty: not defined
  std::time_t now = 0;                         // of strftime_now(), in local time; 0: the clock's
  jinja::Limits limits = {};
};

struct Rendered {
  std::string text;
  // The bytes that came from messages, tools, documents and extra variables, sorted: names of special tokens
  // in them are text.
  std::vector<jinja::Range> input;
};

// `messages`: a list of {"role", "content", …}. Throws Error, naming the template's line, where the template
// refuses them or is faulty.
Rendered render_chat(const jinja::Template& chat_template, const nlohmann::ordered_json& messages,
                     const ChatOptions& options);

}  // namespace tumbler::chat
