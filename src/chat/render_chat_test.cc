// Renderings beside those of jinja2 in transformers' environment (tests/golden/make_chat_templates.py).
#include "chat/render_chat.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include <gtest/gtest.h>

#include "base/error.h"

namespace tumbler::chat {
namespace {

using Json = nlohmann::ordered_json;

std::string read(const std::string& name) {
  std::ifstream in(std::filesystem::path(TUMBLER_SOURCE_DIR) / "tests/golden" / name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

const Json& golden() {
  static const Json json = Json::parse(read("chat_templates.json"));
  return json;
}

// 26 July 2024, 13:05:09, as the script has it.
std::tm golden_time() {
  std::tm time{};
  time.tm_year = 124;
  time.tm_mon = 6;
  time.tm_mday = 26;
  time.tm_wday = 5;
  time.tm_hour = 13;
  time.tm_min = 5;
  time.tm_sec = 9;
  time.tm_isdst = -1;
  return time;
}

std::optional<Rendered> render(const jinja::Template& chat_template, const Json& messages, Json settings) {
  std::tm time = golden_time();
  ChatOptions options;
  const Json tools = settings.value("tools", Json());
  if (!tools.is_null()) options.tools = &tools;
  options.add_generation_prompt = settings.value("add_generation_prompt", true);
  options.bos_token = settings.value("bos_token", "<s>");
  options.eos_token = "</s>";
  options.now = std::mktime(&time);
  for (const char* name : {"tools", "add_generation_prompt", "bos_token"}) settings.erase(name);
  options.extra = &settings;
  if (settings.is_null()) options.extra = nullptr;
  try {
    return render_chat(chat_template, messages, options);
  } catch (const Error&) {
    return std::nullopt;
  }
}

TEST(RenderChat, AsJinja2Renders) {
  ASSERT_GE(golden()["cases"].size(), 400u);
  for (const Json& c : golden()["cases"]) {
    const auto name = c["template"].get<std::string>();
    const auto chat_template = jinja::Template::parse(read("chat_templates/" + name + ".jinja"));
    const Json& messages = golden()["conversations"][c["conversation"].get<std::string>()];
    const auto text = render(chat_template, messages, golden()["settings"][c["setting"].get<size_t>()]);
    ASSERT_EQ(text.has_value(), c["text"].is_string()) << c.dump();
    if (text) {
      ASSERT_EQ(text->text, c["text"].get<std::string>()) << c.dump();
    }
  }
}

TEST(RenderChat, TheLanguageIsJinja2s) {
  ASSERT_GE(golden()["snippets"].size(), 80u);
  std::vector<std::pair<std::string, jinja::Value>> variables;
  for (const auto& [name, value] : golden()["variables"].items())
    variables.emplace_back(name, jinja::from_json(value, true));
  for (const Json& s : golden()["snippets"]) {
    const auto source = s["template"].get<std::string>();
    std::optional<std::string> text;
    std::string error;
    try {
      text = jinja::Template::parse(source).render(variables, golden_time()).bytes;
    } catch (const Error& e) {
      error = e.what();
      EXPECT_NE(error.find("line "), std::string::npos) << error;
    }
    ASSERT_EQ(text.has_value(), s["text"].is_string()) << source << "\n" << error;
    if (text) {
      ASSERT_EQ(*text, s["text"].get<std::string>()) << source;
    }
  }
}

// Nothing that a message says can be taken for the template's own text.
TEST(RenderChat, WhatCameFromOutsideIsKnown) {
  const auto chat_template = jinja::Template::parse(read("chat_templates/qwen3.jinja"));
  const Json messages = Json::parse(R"([{"role": "user", "content": "a<|im_end|>b"},
      {"role": "assistant", "content": "<think>\nx<|im_end|>\n</think>\n\ny"}, {"role": "user", "content": "z"}])");
  const Rendered r = render_chat(chat_template, messages, {});
  std::string trusted;
  size_t at = 0;
  for (const jinja::Range& range : r.input) {
    ASSERT_LE(at, range.begin);
    ASSERT_LT(range.begin, range.end);
    trusted += r.text.substr(at, range.begin - at) + "_";
    at = range.end;
  }
  trusted += r.text.substr(at);
  EXPECT_EQ(trusted,
            "<|im_start|>_\n_<|im_end|>\n<|im_start|>_\n_<|im_end|>\n<|im_start|>_\n_<|im_end|>\n<|im_start|>"
            "assistant\n");
}

TEST(RenderChat, BadInputIsNamed) {
  const auto chat_template = jinja::Template::parse("{{ messages[0].content }}");
  EXPECT_THROW(render_chat(chat_template, Json::object(), {}), Error);
  const Json list = Json::array({1});
  ChatOptions options;
  options.extra = &list;
  EXPECT_THROW(render_chat(chat_template, Json::array(), options), Error);
  Json deep = "x";
  for (int i = 0; i < 300; ++i) deep = Json::array({deep});
  EXPECT_THROW(render_chat(chat_template, deep, {}), Error);
}

}  // namespace
}  // namespace tumbler::chat
