// Progress: how a stage reports how far it is. Library folders report; only cli/ draws (cli/progress_bar.h).
#pragma once

#include <cstdint>
#include <string_view>

namespace tumbler {

class Progress {
 public:
  virtual ~Progress() = default;
  // A new bar. `total` in `unit` ("pages", "MB", "steps"); 0 when it is not known.
  virtual void start(std::string_view /*label*/, int64_t /*total*/, std::string_view /*unit*/) {}
  // `done` so far, in `unit`. `note` is a few words beside the bar ("loss 3.21"). May be called from any
  // thread.
  virtual void update(int64_t /*done*/, std::string_view /*note*/ = {}) {}
  virtual void finish() {}
};

}  // namespace tumbler
