// The page's view of models: what there is, loading and ejecting, what is inside.
#pragma once

#include <httplib.h>

#include "chat/server/model_registry.h"

namespace tumbler::chat {

void add_model_routes(httplib::Server& server, ModelRegistry& models, const std::string& version);

}  // namespace tumbler::chat
