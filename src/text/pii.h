// Personal data: e-mail addresses and public IPv4 addresses are replaced, as in FineWeb (datatrove's
// PIIFormatter).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "text/recipe.h"

namespace tumbler::text {

class PiiReplacer {
 public:
  explicit PiiReplacer(const PiiOptions& options);
  ~PiiReplacer();
  struct Counts {
    int64_t emails = 0, ips = 0;
  };
  // Replaces in `text`. The replacements take turns, beginning with one that hangs on `document_id` alone, so
  // that the output is the same however documents are spread over processes (the original goes on counting
  // from document to document). Safe from many threads.
  Counts replace(std::string& text, std::string_view document_id) const;

 private:
  struct Patterns;
  std::unique_ptr<Patterns> patterns_;
};

// Whether "a.b.c.d" is an address that the IANA registries call globally reachable. Octets with leading zeros
// are not addresses.
bool is_public_ipv4(std::string_view address);

}  // namespace tumbler::text
