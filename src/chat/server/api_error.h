// What a request is told that cannot be served, in the form of OpenAI's API.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace tumbler::chat {

class ApiError : public std::runtime_error {
 public:
  ApiError(int status, const std::string& message, std::string param = {}, std::string code = {})
      : std::runtime_error(message), status_(status), param_(std::move(param)), code_(std::move(code)) {}
  int status() const noexcept { return status_; }
  // {"error": {"message", "type", "param", "code"}}
  std::string json() const;

 private:
  int status_;
  std::string param_, code_;
};

// 400, about one key of the request.
template <class... Args>
ApiError wrong(std::string_view param, fmt::format_string<Args...> format, Args&&... args) {
  return {400, fmt::format("{}: {}", param, fmt::format(format, std::forward<Args>(args)...)),
          std::string(param)};
}

}  // namespace tumbler::chat
