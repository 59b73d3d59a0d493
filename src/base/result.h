// Result<T>: a value, or the reason why one record or request is bad. The stage counts reasons and goes on.
//
//   Result<Page> page = parse(bytes);
//   if (!page) { ++dropped[page.reason().code]; continue; }
//   use(*page);
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace tumbler {

// `code` is a stable snake_case name that is counted ("truncated_gzip"); `detail` is for the person who asks
// why.
struct Reason {
  std::string code;
  std::string detail;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}         // NOLINT: implicit by design
  Result(Reason reason) : state_(std::in_place_index<1>, std::move(reason)) {}  // NOLINT: implicit by design

  bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return const_cast<Result*>(this)->value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &**this; }
  const Reason& reason() const {
    CHECK(!ok());
    return std::get<1>(state_);
  }

 private:
  T& value() {
    CHECK(ok(), "{}: {}", std::get<1>(state_).code, std::get<1>(state_).detail);
    return std::get<0>(state_);
  }
  std::variant<T, Reason> state_;
};

}  // namespace tumbler
