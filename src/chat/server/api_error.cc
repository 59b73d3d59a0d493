#include "chat/server/api_error.h"

#include <nlohmann/json.hpp>

namespace tumbler::chat {

std::string ApiError::json() const {
  const char* type = status_ == 401   ? "authentication_error"
                     : status_ == 403 ? "permission_error"
                     : status_ == 404 ? "not_found_error"
                     : status_ == 429 ? "rate_limit_error"
                     : status_ >= 500 ? "server_error"
                                      : "invalid_request_error";
  const auto text = [](const std::string& s) {
    return s.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(s);
  };
  const nlohmann::ordered_json body = {
      {"error", {{"message", what()}, {"type", type}, {"param", text(param_)}, {"code", text(code_)}}}};
  return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace tumbler::chat
