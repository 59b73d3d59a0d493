// What goes on inside a model, over HTTP: /api/inspect.
#pragma once

#include <httplib.h>

#include "chat/server/model_registry.h"

namespace tumbler::chat {

void add_inspect_routes(httplib::Server& server, ModelRegistry& models);

}  // namespace tumbler::chat
