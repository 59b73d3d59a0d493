// Error: this run cannot go on (a flag, a file, a recipe, a full disk). main() catches it once, prints one
// line, exits 1.
//
//   throw Error("tokens.build", "{}: got {} bytes, expected a multiple of 2; build the shard again", path,
//   size);
//
// The message reads `[where] what: got X, expected Y; do Z`.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace tumbler {

class Error : public std::runtime_error {
 public:
  template <class... Args>
  Error(std::string_view where, fmt::format_string<Args...> format, Args&&... args)
      : std::runtime_error(fmt::format("[{}] {}", where, fmt::format(format, std::forward<Args>(args)...))) {}
};

// " (No space left on device)" for the errno of a call that has just failed.
std::string errno_text();

}  // namespace tumbler
