// /v1/embeddings: texts as vectors, the mean of what the model's head sees of their tokens, of length 1.
#pragma once

#include <httplib.h>

#include "chat/server/model_registry.h"
#include "chat/server/openai.h"

namespace tumbler::chat {

void add_embedding_routes(httplib::Server& server, ModelRegistry& models, Metrics& metrics,
                          const ApiOptions& options);

}  // namespace tumbler::chat
