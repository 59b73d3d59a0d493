#include "tokens/stop_strings.h"

#include <algorithm>

namespace tumbler::tokens {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
}

std::string_view StopStrings::push(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  size_t end = held_.size();
  for (const std::string& stop : stops_) {
    const size_t found = held_.find(stop);
    if (found == std::string::npos) continue;
    stopped_ = true;
    end = std::min(end, found);
  }
  if (!stopped_) {
    // The longest end of the text that a stop string begins with.
    for (const std::string& stop : stops_)
      for (size_t n = std::min(stop.size() - 1, held_.size()); n > 0; --n)
        if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) {
          end = std::min(end, held_.size() - n);
          break;
        }
  }
  out_ = held_.substr(0, end);
  held_.erase(0, stopped_ ? held_.size() : end);
  return out_;
}

std::string_view StopStrings::flush() {
  out_ = std::move(held_);
  held_.clear();
  return out_;
}

}  // namespace tumbler::tokens
