// One struct per program or model; each field is declared once, with name, default, unit and help. The same
// declaration reads TOML and `--set key=value`, prints help, and is written into checkpoints and run logs.
//
//   struct TrainConfig {
//     double lr = 3e-4;
//     std::string optimizer = "adamw";
//     template <class V> void visit_fields(V& v) {
//       v("lr", lr, "", "peak learning rate");
//       v("optimizer", optimizer, "adamw|muon", "who updates the matrices");
//     }
//   };
//   TrainConfig c;  config::from_json(c, table, "recipe.toml [pretrain]");  config::set(c, "lr=1e-3");
//
// Field types: bool, int64_t, double, std::string, std::vector<std::string>, std::vector<double>, nested
// config structs. An unknown key is an Error that lists the nearest known one.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tumbler::config {

struct FieldInfo {
  std::string name, type, default_value, unit, help;
};

namespace detail {
struct ProbeVisitor {
  template <class T>
  void operator()(const char*, T&, const char*, const char*) {}
};
template <class T>
concept Nested = requires(T& t, ProbeVisitor& v) {
  t.visit_fields(v);
};

[[noreturn]] void unknown_key(std::string_view where, std::string_view key,
                              const std::vector<std::string>& known);
[[noreturn]] void wrong_type(std::string_view where, std::string_view key, std::string_view expected,
                             const nlohmann::json& got);

template <class T>
constexpr std::string_view type_name() {
  if constexpr (std::same_as<T, bool>)
    return "true or false";
  else if constexpr (std::same_as<T, int64_t>)
    return "a whole number";
  else if constexpr (std::same_as<T, double>)
    return "a number";
  else if constexpr (std::same_as<T, std::string>)
    return "a string";
  else if constexpr (std::same_as<T, std::vector<std::string>>)
    return "a list of strings";
  else
    return "a list of numbers";
}

template <class T>
bool fits(const nlohmann::json& j) {
  if constexpr (std::same_as<T, bool>)
    return j.is_boolean();
  else if constexpr (std::same_as<T, int64_t>)
    return j.is_number_integer();
  else if constexpr (std::same_as<T, double>)
    return j.is_number();
  else if constexpr (std::same_as<T, std::string>)
    return j.is_string();
  else {
    if (!j.is_array()) return false;
    for (const auto& item : j)
      if (!fits<typename T::value_type>(item)) return false;
    return true;
  }
}

struct NameVisitor {
  std::vector<std::string> names;
  template <class T>
  void operator()(const char* name, T&, const char*, const char*) {
    names.emplace_back(name);
  }
};

struct ReadVisitor {
  const nlohmann::json& json;
  std::string where;
  template <class T>
  void operator()(const char* name, T& value, const char*, const char*);
};

struct WriteVisitor {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  template <class T>
  void operator()(const char* name, T& value, const char*, const char*) {
    if constexpr (Nested<T>) {
      WriteVisitor inner;
      value.visit_fields(inner);
      json[name] = std::move(inner.json);
    } else {
      json[name] = value;
    }
  }
};

struct HelpVisitor {
  std::string prefix;
  std::vector<FieldInfo> fields;
  template <class T>
  void operator()(const char* name, T& value, const char* unit, const char* help) {
    if constexpr (Nested<T>) {
      HelpVisitor inner{prefix + name + ".", {}};
      value.visit_fields(inner);
      fields.insert(fields.end(), inner.fields.begin(), inner.fields.end());
    } else {
      fields.push_back(
          {prefix + name, std::string(type_name<T>()), nlohmann::json(value).dump(), unit, help});
    }
  }
};
}  // namespace detail

// Overwrites the fields that `json` (an object) names. Throws Error on an unknown key or a value of the wrong
// type.
template <class Config>
void from_json(Config& config, const nlohmann::json& json, std::string_view where) {
  if (!json.is_object()) detail::wrong_type(where, "", "a table", json);
  detail::NameVisitor names;
  config.visit_fields(names);
  for (const auto& [key, value] : json.items())
    if (std::find(names.names.begin(), names.names.end(), key) == names.names.end())
      detail::unknown_key(where, key, names.names);
  detail::ReadVisitor read{json, std::string(where)};
  config.visit_fields(read);
}

template <class T>
void detail::ReadVisitor::operator()(const char* name, T& value, const char*, const char*) {
  const auto found = json.find(name);
  if (found == json.end()) return;
  if constexpr (Nested<T>) {
    from_json(value, *found, where + "." + name);
  } else {
    if (!fits<T>(*found)) wrong_type(where, name, type_name<T>(), *found);
    value = found->template get<T>();
  }
}

template <class Config>
nlohmann::ordered_json to_json(const Config& config) {
  detail::WriteVisitor write;
  const_cast<Config&>(config).visit_fields(write);
  return std::move(write.json);
}

template <class Config>
std::vector<FieldInfo> fields(const Config& config) {
  detail::HelpVisitor help;
  const_cast<Config&>(config).visit_fields(help);
  return std::move(help.fields);
}

// Turns `a.b=value` into {"a":{"b":value}}: value is JSON where it parses as JSON, a string otherwise.
nlohmann::json parse_assignment(std::string_view assignment);

// `--set key=value`.
template <class Config>
void set(Config& config, std::string_view assignment) {
  from_json(config, parse_assignment(assignment), "--set");
}

// One line a field: name, default, unit, help.
std::string help_text(const std::vector<FieldInfo>& fields);

}  // namespace tumbler::config
