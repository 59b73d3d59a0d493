// A chat template from anywhere, on a conversation that comes with it: an Error or a text within the limits,
// whose marked ranges are in order.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "chat/render_chat.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tumbler;
  std::string_view source(reinterpret_cast<const char*>(data), size);
  static const auto kMessages = nlohmann::ordered_json::parse(R"([
    {"role": "system", "content": " a\n"}, {"role": "user", "content": [{"type": "text", "text": "b é石"}]},
    {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"x": 1.5}}}]},
    {"role": "tool", "content": "<think>c</think>", "n": [1, -2, true, null]}])");
  static const auto kTools =
      nlohmann::ordered_json::parse(R"([{"type": "function", "function": {"name": "f"}}])");
  chat::ChatOptions options;
  options.tools = &kTools;
  options.bos_token = "<s>";
  options.eos_token = "</s>";
  options.now = 1722000000;
  options.limits = {.steps = 20'000, .bytes = 1 << 20, .output_bytes = 1 << 16, .depth = 300};
  try {
    const chat::Rendered r = chat::render_chat(jinja::Template::parse(source), kMessages, options);
    size_t at = 0;
    for (const auto& range : r.input) {
      if (range.begin < at || range.end <= range.begin || range.end > r.text.size()) std::abort();
      at = range.end;
    }
    if (r.text.size() > 1 << 16 || !jinja::is_utf8(r.text)) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
