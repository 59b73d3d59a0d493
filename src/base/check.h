// CHECK(cond) and CHECK(cond, "fmt", ...): stops the program on a bug, in release builds too.
// Never for outside data: bad files and flags throw Error (error.h), bad records are a Result (result.h).
#pragma once

#include <string_view>

#include <fmt/format.h>

namespace tumbler {

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               std::string_view message) noexcept;

}  // namespace tumbler

#define CHECK(condition, ...)                                                                 \
  do {                                                                                        \
    if (!(condition)) [[unlikely]]                                                            \
      ::tumbler::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
