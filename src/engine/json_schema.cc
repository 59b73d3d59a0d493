#include "engine/json_schema.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "base/error.h"
#include "engine/json_numbers.h"
#include "engine/json_pattern.h"

namespace tumbler::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxSchema = 1 << 20, kMaxName = 200;
constexpr int kMaxDepth = 64, kMaxRules = 200;

constexpr const char* kCommonRules = R"gbnf(blank ::= (" " | "\n" " "{0,20})?
json-character ::= [^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" ([0-9a-cefA-CEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}))
json-string ::= "\"" json-character* "\""
json-number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,16})? ([eE] [+-]? [1-9] [0-9]?)?
json-object ::= "{" (blank json-member ("," blank json-member)*)? blank "}"
json-member ::= json-string ":" " "? json-value
json-array ::= "[" (blank json-value ("," blank json-value)*)? blank "]"
json-value ::= json-object | json-array | json-string | json-number | "true" | "false" | "null"
)gbnf";

const std::set<std::string>& notes() {
  static const std::set<std::string> names = {
      "title",       "description", "default",          "examples",        "example", "$schema",     "$id",
      "$comment",    "deprecated",  "readOnly",         "writeOnly",       "$anchor", "$vocabulary", "$defs",
      "definitions", "format",      "contentMediaType", "contentEncoding", "nullable"};
  return names;
}

// What each type's schemas may say.
const std::map<std::string, std::set<std::string>>& keywords_of_types() {
  static const std::map<std::string, std::set<std::string>> keywords = {
      {"object", {"properties", "required", "additionalProperties"}},
      {"array", {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}},
      {"string", {"minLength", "maxLength", "pattern"}},
      {"integer", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}},
      {"number", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}},
      {"boolean", {}},
      {"null", {}}};
  return keywords;
}

class Schema {
 public:
  explicit Schema(std::string_view text) {
    if (text.size() > kMaxSchema)
      throw Error("json-schema", "got {} bytes, expected at most {}; shorten it", text.size(), kMaxSchema);
    const auto too_deep = [](int depth, Json::parse_event_t, Json&) {
      if (depth > kMaxDepth)
        throw Error("json-schema", "got values in values more than {} deep, expected fewer; use $defs",
                    kMaxDepth);
      return true;
    };
    root_ = Json::parse(text, too_deep, /*allow_exceptions=*/false);
    if (root_.is_discarded())
      throw Error("json-schema", "got text that is no JSON, expected a schema; correct it");
  }

  std::string grammar() {
    const std::string body = rule_of(root_, "#");
    std::string out = "root ::= " + body + "\n";
    for (const auto& [name, right] : rules_) out += name + " ::= " + right + "\n";
    return out + kCommonRules;
  }

 private:
  [[noreturn]] static void fail(const std::string& where, const std::string& what, const std::string& got,
                                const std::string& expected) {
    throw Error("json-schema", "{} {}: got {}, expected {}; correct the schema", where, what, got, expected);
  }

  std::string add_rule(std::string right) {
    rules_.emplace_back(fmt::format("s{}", rules_.size()), std::move(right));
    return rules_.back().first;
  }

  // The rule of a schema at a place. Made once, so that it may refer to itself.
  std::string rule_of(const Json& schema, const std::string& where) {
    if (const auto found = made_.find(&schema); found != made_.end()) return rules_[found->second].first;
    if (++depth_ > kMaxRules)
      fail(where, "$ref", "references to references, too many", "fewer than 200 in a row");
    const size_t number = rules_.size();
    made_[&schema] = number;
    const std::string name = add_rule("");
    std::string right = value(schema, where);
    rules_[number].second = std::move(right);
    --depth_;
    return name;
  }

  std::string value(const Json& schema, const std::string& where) {
    if (schema.is_boolean() && schema.get<bool>()) return "json-value";
    if (!schema.is_object()) fail(where, "schema", schema.dump(), "an object or true");
    std::string right = not_null(schema, where);
    return schema.value("nullable", Json(false)) == true ? right + " | \"null\"" : right;
  }

  std::string not_null(const Json& schema, const std::string& where) {
    for (const char* keyword : {"$ref", "enum", "const", "anyOf", "oneOf", "allOf"})
      if (schema.contains(keyword)) {
        const std::string place = where + "/" + keyword;
        const Json& what = schema.at(keyword);
        const std::string name = keyword;
        if (name == "allOf") return all_of(schema, what, where);
        // A type beside constants says nothing new where they fit it.
        only(schema, where,
             name == "enum" || name == "const" ? std::set<std::string>{name, "type"} : std::set{name});
        if (name == "$ref") return rule_of(find(what, place), place);
        if (name == "const") return constants(schema, Json::array({what}), place);
        if (!what.is_array() || what.empty()) fail(where, name, what.dump(), "a list with something in it");
        if (name == "enum") return constants(schema, what, place);
        if (name == "oneOf") check_disjoint(what, place);
        return ways(what, place);
      }
    return by_type(schema, where);
  }

  // Refuses every keyword that is neither a note nor one of `known`.
  static void only(const Json& schema, const std::string& where, const std::set<std::string>& known) {
    for (const auto& [key, what] : schema.items())
      if (!notes().contains(key) && !known.contains(key))
        fail(where, "keyword '" + key + "'", "it", "one of those that can be obeyed here (see the help)");
  }

  const Json& find(const Json& reference, const std::string& where) const {
    if (!reference.is_string() || !reference.get<std::string>().starts_with('#'))
      fail(where, "reference", reference.dump(), "one within the schema (#/...)");
    try {
      return root_.at(Json::json_pointer(reference.get<std::string>().substr(1)));
    } catch (const Json::exception&) {
      fail(where, "reference", reference.dump(), "the place of a schema");
    }
  }

  std::string ways(const Json& list, const std::string& where) {
    std::string out;
    for (size_t i = 0; i < list.size(); ++i)
      out += (i > 0 ? " | " : "") + rule_of(list[i], fmt::format("{}/{}", where, i));
    return out;
  }

  std::string constants(const Json& schema, const Json& list, const std::string& where) {
    std::string out;
    for (const Json& one : list) {
      if (schema.contains("type") && !has_type(one, schema.at("type"))) continue;
      out += (out.empty() ? "" : " | ") + gbnf_literal(one.dump());
    }
    if (out.empty()) fail(where, "values", list.dump(), "one of the schema's type");
    return out;
  }

  static bool has_type(const Json& value, const Json& type) {
    if (type.is_array()) return std::ranges::any_of(type, [&](const Json& t) { return has_type(value, t); });
    const std::string name = type_name(value);
    return type == name || (type == "number" && name == "integer");
  }
  static std::string type_name(const Json& value) {
    return value.is_number_integer() ? "integer" : value.is_number() ? "number" : value.type_name();
  }

  std::string by_type(const Json& schema, const std::string& where) {
    std::vector<std::string> types;
    if (const auto found = schema.find("type"); found == schema.end()) {
      types = types_by_keywords(schema);
    } else if (found->is_array() && !found->empty()) {
      for (const Json& t : *found) types.push_back(t.is_string() ? t.get<std::string>() : t.dump());
    } else {
      types = {found->is_string() ? found->get<std::string>() : found->dump()};
    }
    std::set<std::string> known = {"type"};
    for (const std::string& type : types) {
      const auto found = keywords_of_types().find(type);
      if (found == keywords_of_types().end())
        fail(where, "type", "'" + type + "'", "object, array, string, number, integer, boolean or null");
      known.insert(found->second.begin(), found->second.end());
    }
    only(schema, where, types.empty() ? std::set<std::string>{} : known);
    if (types.empty()) return "json-value";
    std::string out;
    for (const std::string& type : types) out += (out.empty() ? "" : " | ") + of_type(type, schema, where);
    return out;
  }

  static std::vector<std::string> types_by_keywords(const Json& schema) {
    for (const char* type : {"object", "array", "string", "number"})
      for (const std::string& keyword : keywords_of_types().at(type))
        if (schema.contains(keyword)) return {type};
    return {};
  }

  std::string of_type(const std::string& type, const Json& schema, const std::string& where) {
    if (type == "object") return object(schema, where);
    if (type == "array") return array(schema, where);
    if (type == "string") return string(schema, where);
    if (type == "integer" || type == "number") return number(type, schema, where);
    if (type == "null") return "\"null\"";
    return "\"true\" | \"false\"";
  }

  static int64_t count_at(const Json& schema, const char* key, int64_t otherwise, const std::string& where) {
    const auto found = schema.find(key);
    if (found == schema.end()) return otherwise;
    const bool whole =
        found->is_number_integer() ||
        (found->is_number() && found->get<double>() == static_cast<double>(static_cast<int64_t>(
                                                           std::clamp(found->get<double>(), 0.0, 1e6))));
    const double value = whole ? found->get<double>() : -1;
    if (value < 0 || value > 100'000) fail(where, key, found->dump(), "a whole number from 0 to 100000");
    return static_cast<int64_t>(value);
  }

  std::string string(const Json& schema, const std::string& where) {
    const int64_t least = count_at(schema, "minLength", 0, where),
                  most = count_at(schema, "maxLength", -1, where);
    const std::string format =
        schema.contains("format") && schema["format"].is_string() ? schema["format"] : "";
    std::string body;
    if (schema.contains("pattern")) {
      if (!schema["pattern"].is_string()) fail(where, "pattern", schema["pattern"].dump(), "text");
      if (schema.contains("minLength") || schema.contains("maxLength"))
        fail(where, "pattern", "minLength or maxLength beside it", "one of them");
      body = json_pattern(schema["pattern"].get<std::string>());
    } else if (const std::string known = format_grammar(format); !known.empty()) {
      body = known;
    } else if (most >= 0 && most < least) {
      fail(where, "maxLength", std::to_string(most), "at least minLength");
    } else {
      body = json_characters(least, most);
    }
    return "\"\\\"\" " + body + " \"\\\"\"";
  }

  static std::string format_grammar(const std::string& format) {
    // RFC 3339 has a year 0000; most programs that read dates have not.
    const std::string year = "(\"000\" [1-9] | \"00\" [1-9] [0-9] | \"0\" [1-9] [0-9]{2} | [1-9] [0-9]{3})";
    const std::string date =
        year + " \"-\" (\"0\" [1-9] | \"1\" [0-2]) \"-\" (\"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8])";
    const std::string time =
        "([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9] \":\" [0-5] [0-9] (\".\" [0-9]{1,6})? "
        "(\"Z\" | [+-] ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9])";
    // Days that not every month has: 29 and 30 outside February, 31 where it is.
    const std::string days =
        year +
        " \"-\" ((\"0\" [13-9] | \"1\" [0-2]) \"-\" (\"29\" | \"30\") | (\"0\" [13578] | "
        "\"10\" | \"12\") \"-31\")";
    const std::string any_date = "(" + date + " | " + days + ")";
    if (format == "date") return any_date;
    if (format == "time") return time;
    if (format == "date-time") return any_date + " \"T\" " + time;
    if (format == "uuid") return "[0-9a-fA-F]{8} (\"-\" [0-9a-fA-F]{4}){3} \"-\" [0-9a-fA-F]{12}";
    return "";
  }

  // A bound as a whole number. Integers may have others, which are rounded inwards.
  static std::optional<int64_t> bound(const Json& schema, const char* key, bool integer, bool lower,
                                      const std::string& where) {
    const auto found = schema.find(key);
    if (found == schema.end()) return std::nullopt;
    if (!found->is_number()) fail(where, key, found->dump(), "a number");
    const double value = found->get<double>();
    if (!(std::abs(value) < 1e16)) fail(where, key, found->dump(), "a number of at most 16 digits");
    if (found->is_number_integer()) return found->get<int64_t>();
    const double whole = lower ? std::ceil(value) : std::floor(value);
    if (!integer && whole != value) fail(where, key, found->dump(), "a whole number as a bound of 'number'");
    return static_cast<int64_t>(whole);
  }

  static std::string number(const std::string& type, const Json& schema, const std::string& where) {
    const bool integer = type == "integer";
    IntegerRange range{bound(schema, "minimum", integer, true, where),
                       bound(schema, "maximum", integer, false, where)};
    for (const bool lower : {true, false}) {
      const char* key = lower ? "exclusiveMinimum" : "exclusiveMaximum";
      // Rounded outwards: what is then left out is the bound itself.
      const auto exclusive = bound(schema, key, integer, !lower, where);
      if (!exclusive) continue;
      if (!integer) fail(where, key, "it for 'number'", "minimum or maximum, or type 'integer'");
      if (lower)
        range.least = std::max(range.least.value_or(*exclusive + 1), *exclusive + 1);
      else
        range.most = std::min(range.most.value_or(*exclusive - 1), *exclusive - 1);
    }
    if (!integer && !range.least && !range.most) return "json-number";
    const std::string grammar = integer ? integer_grammar(range) : number_grammar(range);
    if (grammar.empty()) fail(where, "bounds", "no number between them", "the lower one first");
    return grammar;
  }

  std::string array(const Json& schema, const std::string& where) {
    if (schema.value("uniqueItems", Json(false)) != false)
      fail(where, "uniqueItems", "true", "false: what came before cannot be compared");
    const int64_t least = count_at(schema, "minItems", 0, where),
                  most = count_at(schema, "maxItems", -1, where);
    if (most >= 0 && most < least) fail(where, "maxItems", std::to_string(most), "at least minItems");
    std::vector<std::string> first;
    if (const auto found = schema.find("prefixItems"); found != schema.end()) {
      if (!found->is_array()) fail(where, "prefixItems", found->dump(), "a list of schemas");
      for (size_t i = 0; i < found->size(); ++i)
        first.push_back(rule_of((*found)[i], fmt::format("{}/prefixItems/{}", where, i)));
    }
    const auto items = schema.find("items");
    const bool no_more = items != schema.end() && *items == false;
    const std::string rest = no_more                 ? ""
                             : items == schema.end() ? "json-value"
                                                     : rule_of(*items, where + "/items");
    return "\"[\" blank " + elements(first, rest, least, most, where) + " blank \"]\"";
  }

  // first[0], first[1], … as far as `most` goes, then any number of `rest`.
  std::string elements(const std::vector<std::string>& first, const std::string& rest, int64_t least,
                       int64_t most, const std::string& where) {
    const auto n = static_cast<int64_t>(first.size());
    if (rest.empty() && least > n)
      fail(where, "minItems", std::to_string(least), "no more than prefixItems has");
    // From the last one on: what may follow each.
    std::string after;
    if (!rest.empty() && (most < 0 || most > n)) {
      const int64_t more_least = std::max<int64_t>(0, least - n), more_most = most < 0 ? -1 : most - n;
      const std::string& item = rest;
      if (n == 0) {
        const std::string tail = "(\",\" blank " + item + ")";
        const std::string counts =
            more_most < 0 ? fmt::format("{{{},}}", std::max<int64_t>(0, more_least - 1))
                          : fmt::format("{{{},{}}}", std::max<int64_t>(0, more_least - 1), more_most - 1);
        return fmt::format("({} {}{}){}", item, tail, counts, more_least == 0 ? "?" : "");
      }
      after = fmt::format("(\",\" blank {}){{{},{}}}", item, more_least,
                          more_most < 0 ? "" : std::to_string(more_most));
    }
    const int64_t used = most < 0 ? n : std::min(n, most);
    for (int64_t i = used - 1; i >= 0; --i) {
      after = (i > 0 ? "\",\" blank " : "") + first[static_cast<size_t>(i)] + " " + after;
      if (i >= least) after = "(" + after + ")?";
    }
    return after.empty() ? "\"\"" : after;
  }

  struct Members {
    std::vector<std::string> rules;  // key, colon, value
    std::vector<bool> required;
    std::string others;  // a member that is not declared, or empty
  };

  std::string object(const Json& schema, const std::string& where) {
    const Json none = Json::object();
    const auto found = schema.find("properties");
    const Json& properties = found == schema.end() ? none : *found;
    if (!properties.is_object()) fail(where, "properties", properties.dump(), "an object of schemas");
    const auto extra = schema.find("additionalProperties");
    if (properties.empty() && extra == schema.end() && !schema.contains("required")) return "json-object";
    Members members;
    std::set<std::string> required = required_names(schema, where);
    std::vector<std::string> names;
    for (const auto& [name, what] : properties.items()) {
      names.push_back(name);
      members.rules.push_back(add_rule(
          member("\"\\\"\" " + json_text(name) + "\"\\\"\"", rule_of(what, where + "/properties/" + name))));
      members.required.push_back(required.erase(name) > 0);
    }
    if (!required.empty())
      fail(where, "required", "'" + *required.begin() + "', which is not declared", "names of properties");
    if (extra != schema.end() && *extra != false) {
      for (const std::string& name : names)
        if (name.size() > kMaxName) fail(where, "property", "a name of more than 200 bytes", "shorter ones");
      members.others = add_rule(member("\"\\\"\" " + json_text_other_than(names) + " \"\\\"\"",
                                       rule_of(*extra, where + "/additionalProperties")));
    }
    return "\"{\" blank " + list(members) + " blank \"}\"";
  }

  static std::string member(const std::string& key, const std::string& value) {
    return key + " \":\" \" \"? " + value;
  }

  std::set<std::string> required_names(const Json& schema, const std::string& where) const {
    std::set<std::string> names;
    const auto found = schema.find("required");
    if (found == schema.end()) return names;
    if (!found->is_array()) fail(where, "required", found->dump(), "a list of names");
    for (const Json& name : *found) {
      if (!name.is_string()) fail(where, "required", name.dump(), "a name");
      names.insert(name.get<std::string>());
    }
    return names;
  }

  // Members in their order. Two chains of rules, from the last member on: what may follow where nothing has
  // been written yet, and where something has.
  std::string list(const Members& members) {
    std::string begin = "\"\"", after = "\"\"";
    if (!members.others.empty()) {
      after = add_rule("(\",\" blank " + members.others + ")*");
      begin = add_rule("(" + members.others + " " + after + ")?");
    }
    for (size_t i = members.rules.size(); i-- > 0;) {
      std::string with_first = members.rules[i] + " " + after;
      std::string with_comma = "\",\" blank " + members.rules[i] + " " + after;
      if (!members.required[i]) {
        with_first += " | " + begin;
        with_comma += " | " + after;
      }
      begin = add_rule(with_first);
      after = add_rule(with_comma);
    }
    return begin;
  }

  // Objects with what each of them says.
  std::string all_of(const Json& schema, const Json& list, const std::string& where) {
    if (!list.is_array() || list.empty()) fail(where, "allOf", list.dump(), "a list with something in it");
    Json merged = schema;
    merged.erase("allOf");
    for (size_t i = 0; i < list.size(); ++i) merge(merged, list[i], fmt::format("{}/allOf/{}", where, i), 0);
    merged_.push_back(std::make_unique<Json>(std::move(merged)));
    return rule_of(*merged_.back(), where);
  }

  void merge(Json& into, const Json& part, const std::string& where, int depth) {
    if (depth > kMaxDepth) fail(where, "$ref", "references without an end", "a schema");
    if (!part.is_object()) fail(where, "schema", part.dump(), "an object");
    if (part.contains("$ref")) {
      only(part, where, {"$ref"});
      return merge(into, find(part["$ref"], where), where, depth + 1);
    }
    for (const auto& [key, what] : part.items()) {
      if (!into.contains(key)) {
        into[key] = what;
      } else if (key == "properties" && what.is_object() && into[key].is_object()) {
        for (const auto& [name, schema] : what.items()) {
          if (into[key].contains(name) && into[key][name] != schema)
            fail(where, "property '" + name + "'", "it twice with different schemas", "it once");
          into[key][name] = schema;
        }
      } else if (key == "required" && what.is_array() && into[key].is_array()) {
        for (const Json& name : what) into[key].push_back(name);
      } else if (!notes().contains(key) && into[key] != what) {
        fail(where, "keyword '" + key + "'", "it twice with different values", "schemas that can be joined");
      }
    }
  }

  const Json& resolve(const Json& schema, const std::string& where) const {
    const Json* at = &schema;
    for (int i = 0; at->is_object() && at->contains("$ref"); ++i) {
      if (i == kMaxDepth) fail(where, "$ref", "references without an end", "a schema");
      at = &find(at->at("$ref"), where);
    }
    return *at;
  }

  // Can no value fit both? Where types differ, constants do, or a required property's constants do.
  bool disjoint(const Json& a, const Json& b, int depth) const {
    if (!a.is_object() || !b.is_object()) return false;
    const Json types_a = types_of(a), types_b = types_of(b);
    if (!types_a.empty() && !types_b.empty()) {
      const auto overlap = [&](const Json& t) {
        return std::ranges::any_of(types_b, [&](const Json& u) {
          return t == u || (t == "integer" && u == "number") || (t == "number" && u == "integer");
        });
      };
      if (std::ranges::none_of(types_a, overlap)) return true;
    }
    const Json constants_a = constants_of(a), constants_b = constants_of(b);
    if (!constants_a.empty() && !constants_b.empty())
      return std::ranges::none_of(
          constants_a, [&](const Json& v) { return std::ranges::find(constants_b, v) != constants_b.end(); });
    if (depth > 0 || !a.contains("properties") || !b.contains("properties")) return false;
    const std::set<std::string> required_b = required_names(b, "#");
    for (const std::string& name : required_names(a, "#"))
      if (required_b.contains(name) && a["properties"].contains(name) && b["properties"].contains(name) &&
          disjoint(resolve(a["properties"][name], "#"), resolve(b["properties"][name], "#"), depth + 1))
        return true;
    return false;
  }
  static Json constants_of(const Json& schema) {
    if (schema.contains("const")) return Json::array({schema["const"]});
    return schema.contains("enum") && schema["enum"].is_array() ? schema["enum"] : Json::array();
  }
  static Json types_of(const Json& schema) {
    Json types = Json::array();
    if (schema.contains("type") && schema.value("nullable", Json(false)) == false)
      return schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
    for (const Json& value : constants_of(schema)) types.push_back(type_name(value));
    return types;
  }

  void check_disjoint(const Json& list, const std::string& where) const {
    for (size_t i = 0; i < list.size(); ++i)
      for (size_t k = 0; k < i; ++k)
        if (!disjoint(resolve(list[k], where), resolve(list[i], where), 0))
          fail(where, fmt::format("schemas {} and {}", k, i), "two that one value may fit",
               "different types, constants, or constants of a required property (or anyOf)");
  }

  Json root_;
  int depth_ = 0;  // of rules in rules
  std::vector<std::pair<std::string, std::string>> rules_;
  std::map<const Json*, size_t> made_;
  std::vector<std::unique_ptr<Json>> merged_;
};

}  // namespace

std::string json_schema_grammar(std::string_view schema) {
  return Schema(schema).grammar();
}

std::string json_object_grammar() {
  return std::string("root ::= json-object\n") + kCommonRules;
}

}  // namespace tumbler::engine
