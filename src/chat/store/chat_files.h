// Chats as files, to be kept, read and imported again.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "chat/store/chat_store.h"

namespace tumbler::chat {

// {"id", "parent", "role", "content", "thought"?, "model"?, "created", "state", "finish"?, "stats"?}
nlohmann::ordered_json to_json(const Message& message);
// {"id", "title", "system", "model", "settings", "head", "created", "updated", "found"?, "snippet"?}: without
// its messages.
nlohmann::ordered_json to_json(const StoredChat& chat);
// The same with "messages", as text: thousands of them are written in a fraction of the time that a tree of
// JSON values takes. Bytes that are not UTF-8 become U+FFFD.
std::string to_json_text(const StoredChat& chat);

// Of what to_json_text() makes. Ids may be numbers or texts, and messages without any follow one another.
// Throws Unfit, naming the key.
StoredChat chat_from_json(const nlohmann::ordered_json& json);

// The branch of head, to be read: "# title", then "## User", "## Assistant (model)" and so on before each
// message, and thoughts folded. Lines of messages that look like these get a \ in front, and a block of code
// that is not closed is.
std::string to_markdown(const StoredChat& chat, const std::vector<Message>& branch);
// A chat without branches, of what to_markdown() makes or somebody wrote by hand; but for blank lines around
// messages and code that was closed, texts come back as they were. Throws Unfit where there is no message, or
// text before the first.
StoredChat chat_from_markdown(std::string_view text);

}  // namespace tumbler::chat
