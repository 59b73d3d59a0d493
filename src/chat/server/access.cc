#include "chat/server/access.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <openssl/crypto.h>

namespace tumbler::chat {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// "[::1]:8080" → "::1", and whether the port is this one.
std::optional<std::string> name_at_port(std::string_view host, int port) {
  const std::string suffix = fmt::format(":{}", port);
  const size_t bracket = host.rfind(']');
  const size_t colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    if (host.substr(colon) != suffix) return std::nullopt;
    host = host.substr(0, colon);
  } else if (port != 80) {
    return std::nullopt;
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return lower(host);
}

bool is_open(std::string_view path) {
  return path == "/health" || (!path.starts_with("/v1/") && !path.starts_with("/api/") &&
                               path != "/metrics" && path != "/tokenize" && path != "/detokenize");
}

}  // namespace

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

Access::Access(const std::string& host, int port, std::vector<std::string> keys)
    : host_(lower(host)), port_(port), keys_(std::move(keys)), loopback_(is_loopback(host_)) {}

bool Access::knows_host(std::string_view host) const {
  const auto name = name_at_port(host, port_);
  if (!name) return !loopback_;
  return !loopback_ || *name == host_ || *name == "localhost" || *name == "127.0.0.1" || *name == "::1";
}

// Takes as long whatever a wrong key begins with.
bool Access::has_key(std::string_view authorization) const {
  constexpr std::string_view kBearer = "bearer ";
  if (authorization.size() < kBearer.size() || lower(authorization.substr(0, kBearer.size())) != kBearer)
    return false;
  const std::string_view given = authorization.substr(kBearer.size());
  bool found = false;
  for (const std::string& key : keys_)
    found |= given.size() == key.size() && CRYPTO_memcmp(given.data(), key.data(), key.size()) == 0;
  return found;
}

std::optional<ApiError> Access::check(const AccessRequest& r) const {
  if (!knows_host(r.host))
    return ApiError(403,
                    fmt::format("Host \"{}\" is not this server's name; open http://{}:{}",
                                r.host.substr(0, 100), host_, port_),
                    {}, "wrong_host");
  if (!r.origin.empty() && r.origin != fmt::format("http://{}", r.host) &&
      r.origin != fmt::format("https://{}", r.host))
    return ApiError(
        403, fmt::format("Origin \"{}\": pages of others may not use this server", r.origin.substr(0, 100)),
        {}, "wrong_origin");
  if (r.fetch_site == "cross-site" && !is_open(r.path))
    return ApiError(403, "pages of others may not use this server", {}, "wrong_origin");
  if (!keys_.empty() && !is_open(r.path) && !has_key(r.authorization))
    return ApiError(401, "an API key is needed: Authorization: Bearer KEY", {}, "invalid_api_key");
  // A form of another page can send text/plain without asking; JSON it cannot.
  if (r.has_body && !lower(r.content_type).starts_with("application/json"))
    return ApiError(415, fmt::format("Content-Type: got \"{}\", expected application/json",
                                     r.content_type.substr(0, 100)));
  return std::nullopt;
}

}  // namespace tumbler::chat
