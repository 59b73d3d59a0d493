// /tokenize and /detokenize, and /v1/embeddings' neighbours: what a model's tokenizer makes of a text.
#pragma once

#include <httplib.h>

#include "chat/server/model_registry.h"

namespace tumbler::chat {

void add_token_routes(httplib::Server& server, ModelRegistry& models);

}  // namespace tumbler::chat
