// The page's chats over HTTP: /api/chats, /api/answers.
#pragma once

#include <httplib.h>

#include "chat/server/answers.h"

namespace tumbler::chat {

void add_chat_routes(httplib::Server& server, ChatStore& store, Answers& answers, ModelRegistry& models);

}  // namespace tumbler::chat
