// Trainings over HTTP: /api/runs.
#pragma once

#include <httplib.h>

#include "chat/server/runs.h"

namespace tumbler::chat {

void add_run_routes(httplib::Server& server, Runs& runs);

}  // namespace tumbler::chat
