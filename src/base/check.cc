#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace tumbler {

void check_failed(const char* file, int line, const char* condition, std::string_view message) noexcept {
  std::fprintf(stderr, "%s:%d: bug: CHECK(%s) failed%s%.*s\n", file, line, condition,
               message.empty() ? "" : ": ", static_cast<int>(message.size()), message.data());
  std::abort();
}

}  // namespace tumbler
