// Who may talk to the server: by the names it is called by (Host), the page that asks (Origin) and API keys.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/server/api_error.h"

namespace tumbler::chat {

struct AccessRequest {
  std::string_view method, path, host, origin, authorization, content_type, fetch_site;
  bool has_body = false;
};

class Access {
 public:
  // `host`: the address that is listened on. With one that is not loopback every Host passes, as its names
  // are not known here, and keys are what keeps others out.
  Access(const std::string& host, int port, std::vector<std::string> keys);
  // What is wrong with the request, if something is.
  std::optional<ApiError> check(const AccessRequest& request) const;

 private:
  bool knows_host(std::string_view host) const;
  bool has_key(std::string_view authorization) const;
  std::string host_;
  int port_;
  std::vector<std::string> keys_;
  bool loopback_;
};

// 127.0.0.0/8, ::1 or localhost.
bool is_loopback(std::string_view host);

}  // namespace tumbler::chat
