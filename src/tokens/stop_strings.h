// StopStrings: ends a stream of text where one of some strings begins in it. A string may come in pieces, so
// what may be its beginning is held back until more text decides.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tumbler::tokens {

class StopStrings {
 public:
  // Empty strings are left out. With none, all text passes at once.
  explicit StopStrings(std::vector<std::string> stops);
  // Text that is sure to come before any stop string; valid until the next call. Nothing once stopped().
  std::string_view push(std::string_view text);
  // What is still held back: the stream has ended without a stop string.
  std::string_view flush();
  bool stopped() const noexcept { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_, out_;
  bool stopped_ = false;
};

}  // namespace tumbler::tokens
