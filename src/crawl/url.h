// URLs as far as the filters need them: the host, and the domain that somebody has registered.
#pragma once

#include <string>
#include <string_view>

namespace tumbler::crawl {

// The host of a URL in lower case, without user, port and final dot: "http://me@WWW.Example.co.uk.:80/x" →
// "www.example.co.uk". A URL without scheme is taken to start with its host. Empty where there is none.
std::string url_host(std::string_view url);

// The part of `host` below its public suffix (publicsuffix.org, the list built into libpsl):
// "www.example.co.uk" → "example.co.uk". The host itself where it is an IP address or has no such part. A
// view into `host`.
std::string_view registered_domain(const std::string& host);

}  // namespace tumbler::crawl
