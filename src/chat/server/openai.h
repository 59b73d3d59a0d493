// OpenAI's API over hosted models: /v1/chat/completions, /v1/completions, /v1/models.
#pragma once

#include <httplib.h>

#include "chat/server/metrics.h"
#include "chat/server/model_registry.h"

namespace tumbler::chat {

struct ApiOptions {
  double request_seconds = 600;  // the longest answer; then its finish_reason is "time"
};

// Handlers throw ApiError. All references must outlive the server.
void add_openai_routes(httplib::Server& server, ModelRegistry& models, Metrics& metrics,
                       const ApiOptions& options);

}  // namespace tumbler::chat
