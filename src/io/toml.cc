#include "io/toml.h"

#include <sstream>

#include <toml++/toml.h>

#include "base/error.h"
#include "io/file.h"

namespace tumbler::io {
namespace {

nlohmann::json to_json(const toml::node& node) {
  if (const auto* table = node.as_table()) {
    nlohmann::json out = nlohmann::json::object();
    for (const auto& [key, value] : *table) out[std::string(key.str())] = to_json(value);
    return out;
  }
  if (const auto* array = node.as_array()) {
    nlohmann::json out = nlohmann::json::array();
    for (const toml::node& value : *array) out.push_back(to_json(value));
    return out;
  }
  if (const auto* value = node.as_string()) return value->get();
  if (const auto* value = node.as_integer()) return value->get();
  if (const auto* value = node.as_floating_point()) return value->get();
  if (const auto* value = node.as_boolean()) return value->get();
  std::ostringstream text;
  text << toml::node_view(node);
  return text.str();
}

}  // namespace

nlohmann::json parse_toml(std::string_view text, std::string_view where) {
  try {
    return to_json(toml::parse(text));
  } catch (const toml::parse_error& error) {
    throw Error(where, "line {}, column {}: {}", error.source().begin.line, error.source().begin.column,
                error.description());
  }
}

nlohmann::json read_toml(const std::filesystem::path& path) {
  return parse_toml(read_file(path), path.string());
}

}  // namespace tumbler::io
