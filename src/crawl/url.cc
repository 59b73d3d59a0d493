#include "crawl/url.h"

#include <algorithm>

#include <libpsl.h>

#include "crawl/ascii.h"

namespace tumbler::crawl {

std::string url_host(std::string_view url) {
  const size_t scheme = url.find("://");
  // "x/a://b" is a path that has "://" in it.
  if (scheme != std::string_view::npos && url.find_first_of("/?#") > scheme)
    url.remove_prefix(scheme + 3);
  else if (url.starts_with("//"))
    url.remove_prefix(2);
  url = url.substr(0, url.find_first_of("/?#\\"));
  if (const size_t at = url.rfind('@'); at != std::string_view::npos) url.remove_prefix(at + 1);
  if (url.starts_with('[')) return to_lower(url.substr(0, std::min(url.size(), url.find(']') + 1)));  // IPv6
  url = trim(url.substr(0, url.find(':')));
  while (url.ends_with('.')) url.remove_suffix(1);
  return to_lower(url);
}

std::string_view registered_domain(const std::string& host) {
  const bool is_address = host.starts_with('[') || std::all_of(host.begin(), host.end(), [](char c) {
                            return is_digit(c) || c == '.';
                          });
  if (is_address || host.empty()) return host;
  const char* domain = psl_registrable_domain(psl_builtin(), host.c_str());
  return domain != nullptr ? std::string_view(domain) : std::string_view(host);
}

}  // namespace tumbler::crawl
