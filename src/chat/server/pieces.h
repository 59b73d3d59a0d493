// The exact tokens of a text or a conversation, one by one, as the page shows them.
#pragma once

#include <string>
#include <vector>

#include "chat/server/hosted_model.h"
#include "chat/server/json_request.h"
#include "tokens/tokenizer.h"

namespace tumbler::chat {

struct Pieces {
  std::vector<int32_t> ids;
  std::vector<std::string> roles;  // of each token: "template", "system", "user", …; empty: no conversation
};

// Of {"messages", "tools"?, "chat_template_kwargs"?}. A token's role is that of the message that its first
// byte comes from. Throws ApiError.
Pieces chat_pieces(const Json& body, const HostedModel& model);

// [{"id", "text", "bytes", "special", "role"?}]
Json pieces_json(const tokens::Tokenizer& tokenizer, const Pieces& pieces);

}  // namespace tumbler::chat
