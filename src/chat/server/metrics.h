// What the server counts, as Prometheus reads it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "chat/server/model_registry.h"

namespace tumbler::chat {

class Metrics {
 public:
  void count_request(int status) noexcept;
  void count_cancelled() noexcept { ++cancelled_; }
  // Seconds from a request's arrival to its first token, and between it and the last.
  void note_first_token(double seconds) noexcept { first_token_.note(seconds); }
  // Text format 0.0.4.
  std::string text(const ModelRegistry& models) const;

 private:
  struct Histogram {
    static constexpr std::array kBounds = {0.01, 0.025, 0.05, 0.1,  0.25, 0.5,
                                           1.0,  2.5,   5.0,  10.0, 30.0, 60.0};
    void note(double seconds) noexcept;
    void write(const char* name, const char* help, std::string& out) const;
    std::array<std::atomic<int64_t>, kBounds.size() + 1> counts = {};
    std::atomic<int64_t> microseconds = 0;
  };
  std::array<std::atomic<int64_t>, 6> by_class_ = {};  // 1xx … 5xx
  std::atomic<int64_t> cancelled_ = 0;
  Histogram first_token_;
};

}  // namespace tumbler::chat
