#include "base/log.h"

#include <cstdlib>
#include <string>

#include <spdlog/sinks/stdout_sinks.h>

#include "base/error.h"

namespace tumbler::log {

void init() {
  auto logger =
      std::make_shared<spdlog::logger>("tumbler", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%v");
  spdlog::set_default_logger(logger);
  const char* level = std::getenv("TUMBLER_LOG");
  if (level == nullptr) return;
  const spdlog::level::level_enum parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && std::string(level) != "off")
    throw Error("log", "TUMBLER_LOG: got '{}', expected debug, info, warn, error or off", level);
  spdlog::set_level(parsed);
}

}  // namespace tumbler::log
