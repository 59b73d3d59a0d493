#include "base/error.h"

#include <cerrno>
#include <system_error>

namespace tumbler {

std::string errno_text() {
  return fmt::format(" ({})", std::generic_category().message(errno));
}

}  // namespace tumbler
