#include "nn/profiler.h"

#include <algorithm>

namespace tumbler::nn {

void Profiler::add(std::string_view name, double flops, double seconds) {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; });
  Entry& entry = found != entries_.end() ? *found : entries_.emplace_back(Entry{.name = name});
  entry.seconds += seconds;
  entry.flops += flops;
  ++entry.calls;
}

std::vector<Profiler::Entry> Profiler::entries() const {
  std::vector<Entry> sorted = entries_;
  std::sort(sorted.begin(), sorted.end(),
            [](const Entry& a, const Entry& b) { return a.seconds > b.seconds; });
  return sorted;
}

}  // namespace tumbler::nn
