// Chats as files, to be kept, read and imported again.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "chat/store/chat_store.h"

namespace tumbler::chat {

nlohmann::ordered_json to_json(const Message& message);
nlohmann::ordered_json to_json(const StoredChat& chat);  // with its messages, where it has any

// Of what to_json() makes. Throws Error, naming the key.
StoredChat chat_from_json(const nlohmann::ordered_json& json);

// The branch of head, to be read: "# title", then "## User" and so on before each message.
std::string to_markdown(const StoredChat& chat, const std::vector<Message>& branch);
// A chat without branches. Text before the first such heading is its title, or nothing. Throws Error where
// there is no message.
StoredChat chat_from_markdown(std::string_view text);

}  // namespace tumbler::chat
