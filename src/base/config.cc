#include "base/config.h"

#include <algorithm>
#include <numeric>

namespace tumbler::config {
namespace {

// Levenshtein distance, to name the key that was probably meant.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

void detail::unknown_key(std::string_view where, std::string_view key,
                         const std::vector<std::string>& known) {
  const auto nearest = std::min_element(known.begin(), known.end(), [&](const auto& a, const auto& b) {
    return edit_distance(a, key) < edit_distance(b, key);
  });
  std::string hint;
  if (nearest != known.end() && edit_distance(*nearest, key) <= 1 + key.size() / 3)
    hint = fmt::format("; did you mean '{}'?", *nearest);
  throw Error(where, "unknown key '{}'{} Known keys: {}", key, hint.empty() ? "." : hint,
              fmt::join(known, ", "));
}

void detail::wrong_type(std::string_view where, std::string_view key, std::string_view expected,
                        const nlohmann::json& got) {
  throw Error(where, "{}: got {}, expected {}", key.empty() ? "value" : key, got.dump(), expected);
}

nlohmann::json parse_assignment(std::string_view assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0)
    throw Error("--set", "got '{}', expected key=value", assignment);
  const std::string text(assignment.substr(equals + 1));
  nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) value = text;
  std::string_view key = assignment.substr(0, equals);
  for (size_t dot; (dot = key.rfind('.')) != std::string_view::npos; key = key.substr(0, dot))
    value = nlohmann::json{{std::string(key.substr(dot + 1)), std::move(value)}};
  return nlohmann::json{{std::string(key), std::move(value)}};
}

std::string help_text(const std::vector<FieldInfo>& fields) {
  size_t width = 0;
  for (const FieldInfo& f : fields) width = std::max(width, f.name.size());
  std::string out;
  for (const FieldInfo& f : fields)
    out += fmt::format("  {:{}}  {}{} [{}]\n", f.name, width, f.help,
                       f.unit.empty() ? "" : " (" + f.unit + ")", f.default_value);
  return out;
}

}  // namespace tumbler::config
