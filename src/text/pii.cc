#include "text/pii.h"

#include <array>
#include <charconv>

#include <re2/re2.h>
#include <xxhash.h>

#include "base/check.h"

namespace tumbler::text {
namespace {

constexpr std::array<std::string_view, 2> kEmails = {"email@example.com", "firstname.lastname@example.org"};
// Addresses that answered nothing when FineWeb's authors drew them; theirs, so that texts compare.
constexpr std::array<std::string_view, 6> kIps = {"22.214.171.124", "126.96.36.199",  "188.8.131.52",
                                                  "184.108.40.206", "220.127.116.11", "18.104.22.168"};
constexpr std::string_view kOctet = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)";

// RFC 5322's address in the usual short form: a dotted atom, @, a host name or an address literal. L: the
// letters allowed.
std::string email_pattern(bool upper_case) {
  const std::string l = upper_case ? "A-Za-z" : "a-z";
  const std::string atom = "[" + l + "0-9!#$%&'*+/=?^_`{|}~-]+",
                    label = "[" + l + "0-9](?:[" + l + "0-9-]*[" + l + "0-9])?";
  const std::string octet(kOctet);
  return "(\\b" + atom + "(?:\\." + atom + ")*@(?:(?:" + label + "\\.)+" + label + "|\\[(?:" + octet +
         "\\.){3}(?:" + octet + "|[" + l + "0-9-]*[" + l + "0-9]:)\\]))";
}

struct Range {
  uint32_t base;
  int bits;
};
// IANA's special-purpose registry: not globally reachable.
constexpr Range kNotGlobal[] = {{0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},
                                {0xa9fe0000, 16}, {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24},
                                {0xc0a80000, 16}, {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24},
                                {0xf0000000, 4}};

template <size_t N, class Accept>
int64_t replace_all(std::string& text, const re2::RE2& pattern,
                    const std::array<std::string_view, N>& replacements, uint64_t seed, Accept accept) {
  std::string out;
  re2::StringPiece input(text), match;
  size_t copied = 0, turn = seed % N;
  int64_t count = 0;
  while (re2::RE2::FindAndConsume(&input, pattern, &match)) {
    const std::string_view found(match.data(), match.size());
    if (!accept(found)) continue;
    const auto at = static_cast<size_t>(match.data() - text.data());
    out.append(text, copied, at - copied);
    out.append(replacements[turn]);
    turn = (turn + 1) % N;
    copied = at + match.size();
    ++count;
  }
  if (count == 0) return 0;
  out.append(text, copied);
  text = std::move(out);
  return count;
}

}  // namespace

struct PiiReplacer::Patterns {
  PiiOptions options;
  re2::RE2 email, ip;
  explicit Patterns(const PiiOptions& o)
      : options(o),
        email(email_pattern(o.upper_case_emails)),
        ip("((?:" + std::string(kOctet) + "\\.){3}" + std::string(kOctet) + ")") {}
};

PiiReplacer::PiiReplacer(const PiiOptions& options) : patterns_(std::make_unique<Patterns>(options)) {
  CHECK(patterns_->email.ok() && patterns_->ip.ok());
}
PiiReplacer::~PiiReplacer() = default;

PiiReplacer::Counts PiiReplacer::replace(std::string& text, std::string_view document_id) const {
  const uint64_t seed = XXH3_64bits(document_id.data(), document_id.size());
  Counts counts;
  if (patterns_->options.emails && text.find('@') != std::string::npos)
    counts.emails = replace_all(text, patterns_->email, kEmails, seed, [](std::string_view) { return true; });
  if (patterns_->options.ips) counts.ips = replace_all(text, patterns_->ip, kIps, seed, is_public_ipv4);
  return counts;
}

bool is_public_ipv4(std::string_view address) {
  uint32_t value = 0;
  for (int octet = 0; octet < 4; ++octet) {
    const std::string_view part = address.substr(0, address.find('.'));
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (error != std::errc() || end != part.data() + part.size() || number > 255 ||
        (part.size() > 1 && part[0] == '0'))
      return false;
    value = value << 8 | number;
    if (octet < 3 && part.size() == address.size()) return false;
    address.remove_prefix(octet < 3 ? part.size() + 1 : part.size());
  }
  if (!address.empty()) return false;
  for (const Range range : kNotGlobal)
    if ((value ^ range.base) >> (32 - range.bits) == 0) return value == 0xc0000009 || value == 0xc000000a;
  return true;
}

}  // namespace tumbler::text
