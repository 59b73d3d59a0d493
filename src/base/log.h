// Logs go to stderr through spdlog; results go to stdout and are cli/'s business.
//   log::info("{} pages", n);   log::warn(…);   log::debug(…)
#pragma once

#include <spdlog/spdlog.h>

namespace tumbler::log {

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

// Plain lines on stderr; `TUMBLER_LOG=debug` for more. Called once by main() and by tests that want it.
void init();

}  // namespace tumbler::log
