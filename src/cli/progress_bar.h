// Progress on stderr: a bar with rate and time left on a terminal, plain lines now and then elsewhere (logs,
// CI).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/progress.h"

namespace tumbler::cli {

// Draws on stderr: a bar where it is a terminal, else a line at most every ten seconds and one at the end.
std::unique_ptr<Progress> make_progress();

// The pieces, for the tests: "1,234,567", "3.14 MB/s", "1:02:03".
std::string with_separators(int64_t n);
std::string format_rate(double per_second, std::string_view unit);
std::string format_duration(double seconds);

}  // namespace tumbler::cli
