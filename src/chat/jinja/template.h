// Jinja templates as chat models bring them, in a sandbox of our own: a template sees the values it is given
// and nothing else, and its work, memory, depth and output are bounded. The language is that of Jinja 3.1
// with the settings of `transformers` (trim_blocks, lstrip_blocks, break and continue, raise_exception,
// strftime_now, tojson as json.dumps): all expressions, if, for, set, namespaces, macro, call, filter, with;
// not include, import, extends, block, recursive loops. docs/formats.md lists filters and tests.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/jinja/value.h"

namespace tumbler::jinja {

struct Limits {
  int64_t steps = 20'000'000;          // nodes evaluated and elements visited
  int64_t bytes = int64_t{256} << 20;  // of all strings and lists that are made
  int64_t output_bytes = int64_t{64} << 20;
  int depth = 300;  // of expressions, statements and macros in one another
};

class Template {
 public:
  // Throws Error, naming the line, where the source is no template.
  static Template parse(std::string_view source);

  // Throws Error, naming the line, where the template raises one, does what has no meaning, or passes a
  // limit. `now` is what strftime_now() prints.
  Text render(const std::vector<std::pair<std::string, Value>>& variables, const std::tm& now,
              const Limits& limits = {}) const;

 private:
  struct Impl;
  explicit Template(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace tumbler::jinja
