#include "chat/server/pieces.h"

#include <algorithm>
#include <string_view>

#include "chat/server/openai_json.h"
#include "tokens/streaming_decoder.h"

namespace tumbler::chat {
namespace {

struct Said {
  size_t begin, end;  // bytes of the rendered text
  std::string role;
};

// Whose words the stretches from outside are: those of the messages, in their order. The names of roles,
// which templates take from the messages too, are the template's.
std::vector<Said> who_said(const std::string& text, const std::vector<std::pair<size_t, size_t>>& input,
                           const Json& messages) {
  std::vector<Said> out;
  size_t at = 0;
  bool role_named = false;
  for (const auto& [begin, end] : input) {
    const std::string_view words = std::string_view(text).substr(begin, end - begin);
    for (size_t i = at; i < messages.size(); ++i) {
      const std::string& role = messages[i]["role"].get_ref<const std::string&>();
      const bool names_role = words == role && !(i == at && role_named);
      if (!names_role &&
          messages[i]["content"].get_ref<const std::string&>().find(words) == std::string::npos)
        continue;
      if (i != at) role_named = false;
      at = i;
      role_named |= names_role;
      if (!names_role) out.push_back({begin, end, role});
      break;
    }
  }
  return out;
}

std::string hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

}  // namespace

Pieces chat_pieces(const Json& body, const HostedModel& model) {
  const Json* tools = Keys(body).array("tools");
  const Prompt prompt = read_prompt(body, tools == nullptr ? Json::array() : *tools, model);
  const std::vector<Said> said = who_said(prompt.text, prompt.input, read_messages(body));
  const tokens::Tokenizer& tokenizer = model.open().tokenizer;
  Pieces out{prompt.tokens, {}};
  size_t offset = 0, next = 0;
  for (const int32_t id : prompt.tokens) {
    while (next < said.size() && said[next].end <= offset) ++next;
    const bool outside = next < said.size() && offset >= said[next].begin && !tokenizer.is_special(id);
    out.roles.push_back(outside ? said[next].role : "template");
    offset += tokenizer.token_bytes(id).size();
  }
  return out;
}

Json pieces_json(const tokens::Tokenizer& tokenizer, const Pieces& pieces) {
  Json out = Json::array();
  for (size_t i = 0; i < pieces.ids.size(); ++i) {
    const int32_t id = pieces.ids[i];
    const std::string_view bytes = tokenizer.has(id) ? tokenizer.token_bytes(id) : std::string_view();
    std::string text;
    if (tokens::append_utf8(bytes, text) > 0) text += "\uFFFD";
    Json piece = {{"id", id}, {"text", text}, {"bytes", hex(bytes)}, {"special", tokenizer.is_special(id)}};
    if (!pieces.roles.empty()) piece["role"] = pieces.roles[i];
    out.push_back(std::move(piece));
  }
  return out;
}

}  // namespace tumbler::chat
