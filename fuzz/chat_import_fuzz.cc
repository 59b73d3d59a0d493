// Chats from anywhere, as Markdown and as JSON: refused, or read, written and read again with the same
// result.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "chat/server/api_error.h"
#include "chat/server/json_request.h"
#include "chat/store/chat_files.h"
#include "chat/store/search_text.h"

namespace {

using namespace tumbler::chat;

void expect_same(const StoredChat& a, const StoredChat& b) {
  if (a.messages.size() != b.messages.size() || a.head != b.head || a.created != b.created) std::abort();
  for (size_t i = 0; i < a.messages.size(); ++i) {
    const Message &m = a.messages[i], &n = b.messages[i];
    if (m.id != n.id || m.parent != n.parent || m.role != n.role || m.content != n.content) std::abort();
    if (m.parent >= m.id || m.thought != n.thought || m.created != n.created || m.stats != n.stats)
      std::abort();
  }
}

void read_json(std::string_view text) {
  try {
    const StoredChat chat = chat_from_json(parse_body(text));
    expect_same(chat, chat_from_json(Json::parse(to_json_text(chat))));
  } catch (const Unfit&) {
  } catch (const ApiError&) {
  }
}

void read_markdown(std::string_view text) {
  try {
    // Once more: then code is closed, and blank lines are gone.
    const StoredChat first = chat_from_markdown(text),
                     chat = chat_from_markdown(to_markdown(first, first.messages));
    expect_same(chat, chat_from_markdown(to_markdown(chat, chat.messages)));
    if (first.messages.size() != chat.messages.size()) std::abort();
  } catch (const Unfit&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read_json(text);
  read_markdown(text);
  // What is found has a place in the text.
  const size_t half = size / 2;
  const FoldedText folded = fold_text(text.substr(half));
  if (const auto at = SearchQuery(text.substr(0, half)).find(folded))
    (void)snippet(text.substr(half), folded, *at);
  return 0;
}
