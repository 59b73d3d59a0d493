#include "engine/json_schema.h"

#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "engine/constraint.h"
#include "engine/json_numbers.h"

namespace tumbler::engine {
namespace {

std::shared_ptr<const TokenTrie> bytes() {
  static const auto trie = [] {
    std::vector<std::string> tokens;
    for (int b = 0; b < 256; ++b) tokens.emplace_back(1, static_cast<char>(b));
    return std::make_shared<const TokenTrie>(std::move(tokens));
  }();
  return trie;
}

Constraint constraint_of(const std::string& gbnf) {
  return {std::make_shared<const Grammar>(Grammar::parse(gbnf)), bytes()};
}

bool matches(const std::string& gbnf, std::string_view text) {
  Constraint constraint = constraint_of(gbnf);
  for (const char c : text) {
    if (!constraint.is_allowed(static_cast<unsigned char>(c))) return false;
    constraint.accept(static_cast<unsigned char>(c));
  }
  return constraint.may_end();
}

std::string error_of(const std::string& schema) {
  try {
    Grammar::parse(json_schema_grammar(schema));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// A text of the grammar, drawn byte by byte; it ends as soon as it may once it is long.
std::string draw(const std::string& gbnf, Rng& rng) {
  Constraint constraint = constraint_of(gbnf);
  std::string text;
  while (!constraint.must_end() && !(constraint.may_end() && (text.size() > 200 || rng.below(4) == 0))) {
    std::vector<int32_t> allowed;
    for (int32_t b = 0; b < 256; ++b)
      if (constraint.is_allowed(b)) allowed.push_back(b);
    // What closes things is likelier, so that texts end.
    int32_t chosen = allowed[rng.below(allowed.size())];
    if (text.size() > 60 && rng.below(2) == 0)
      for (const int32_t closing : allowed)
        if (closing == '"' || closing == '}' || closing == ']') chosen = closing;
    text += static_cast<char>(chosen);
    constraint.accept(chosen);
  }
  return text;
}

struct Case {
  const char* schema;
  std::vector<std::string> yes, no;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"{}",
       {"1", "\"a\"", "{\"a\": [1, null]}", "true", "-0.5e10", "[]", "{ }"},
       {"", "01", "{a:1}", "[1,]", "nul", "\"\\ud800\""}},
      {"true", {"null"}, {"nul"}},
      {R"({"type": "null"})", {"null"}, {"0"}},
      {R"({"type": "boolean"})", {"true", "false"}, {"1", "\"true\""}},
      {R"({"type": ["integer", "null"]})", {"12", "null", "-3", "0"}, {"1.5", "\"\"", "-0", "007"}},
      {R"({"type": "integer", "nullable": true})", {"12", "null"}, {"a"}},
      {R"({"type": "number"})", {"1", "-1.25", "1e10", "0.5"}, {".5", "1.", "1e", "+1"}},
      {R"({"type": "integer", "minimum": -5, "exclusiveMaximum": 12})",
       {"-5", "0", "11"},
       {"-6", "12", "100"}},
      {R"({"type": "integer", "exclusiveMinimum": 2.5, "maximum": 3.9})", {"3"}, {"2", "4"}},
      {R"({"type": "number", "minimum": 0, "maximum": 1})", {"0", "0.5", "1", "1.0"}, {"1.1", "-0.1", "2"}},
      {R"({"type": "number", "minimum": -2})", {"-2", "-1.99", "0.1", "1000"}, {"-2.1", "-3"}},
      {R"({"type": "string"})", {"\"\"", "\"a\\n\\u00e9\xC3\xA9\""}, {"\"\n\"", "\"\\x\"", "a"}},
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {"\"ab\"", "\"\xC3\xA9\\n\xE2\x82\xAC\""},
       {"\"a\"", "\"abcd\""}},
      {R"({"type": "string", "pattern": "^[A-Z]{2}-\\d+$"})",
       {"\"AB-1\"", "\"XY-123\""},
       {"\"AB-\"", "\"xAB-1\"", "\"AB-1x\""}},
      {R"({"pattern": "b|^c$"})", {"\"abc\"", "\"b\"", "\"c\""}, {"\"cc\"", "\"a\""}},
      {R"({"type": "string", "pattern": "^(?:a\\.b|\"\\\\n?)+$"})",
       {"\"a.b\"", "\"\\\"\\\\n\""},
       {"\"axb\"", "\"\""}},
      {R"({"type": "string", "pattern": "^[^a-z\\s]*$"})",
       {"\"A1\\\\\\\"\"", "\"\""},
       {"\"a\"", "\"A B\"", "\"\\n\""}},
      {R"({"type": "string", "format": "date"})",
       {"\"2026-11-23\"", "\"2024-01-31\"", "\"2000-12-30\""},
       {"\"2026-02-30\"", "\"2026-13-01\"", "\"2026-04-31\"", "\"26-1-1\""}},
      {R"({"type": "string", "format": "date-time"})",
       {"\"2026-11-23T01:02:03Z\"", "\"2026-11-23T23:59:59.5+01:00\""},
       {"\"2026-11-23\"", "\"2026-11-23T24:00:00Z\""}},
      {R"({"type": "string", "format": "uuid"})",
       {"\"123e4567-e89b-12d3-a456-426614174000\""},
       {"\"123e4567\""}},
      {R"({"enum": ["a", 1, null, {"x": [1, 2]}, "\"\n"]})",
       {"\"a\"", "1", "null", "{\"x\":[1,2]}", "\"\\\"\\n\""},
       {"\"b\"", "2"}},
      {R"({"type": "string", "enum": ["a", 1]})", {"\"a\""}, {"1"}},
      {R"({"const": -1.5})", {"-1.5"}, {"1.5"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}, "c": {"const": 1}}, "required": ["b"]})",
       {R"({"b":null})", R"({"a": 1, "b": null})", R"({"a":1,"b":null,"c":1})", "{\n  \"b\": null\n}"},
       {"{}", R"({"a":1})", R"({"b":null,"a":1})", R"({"b":null,})", R"({"b":null,"d":1})",
        R"({"b":null "c":1})"}},
      {R"({"properties": {"a": {"const": 1}, "b": {"const": 2}}})",
       {"{}", R"({"a":1})", R"({"b":2})", R"({"a":1, "b":2})"},
       {R"({"b":2,"a":1})", R"({,"a":1})"}},
      {R"({"type": "object"})", {"{}", R"({"x": {"y": []}})"}, {"[]"}},
      {R"({"type": "object", "properties": {}, "additionalProperties": false})",
       {"{}", "{ }"},
       {R"({"a":1})"}},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})",
       {"{}", R"({"a":1,"b":2})"},
       {R"({"a":"1"})"}},
      {R"({"properties": {"ab": {"const": 1}, "a": {"const": 2}}, "required": ["a"], "additionalProperties": {"const": 3}})",
       {R"({"a":2})", R"({"ab":1,"a":2,"abc":3})", R"({"a":2,"b":3,"":3})", R"({"a":2,"ac":3})"},
       {R"({"a":3})", R"({"a":2,"ab":3})", R"({"a":2,"a":3})"}},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3})",
       {"[1]", "[1, 2,3]"},
       {"[]", "[1,2,3,4]", "[\"a\"]"}},
      {R"({"type": "array", "items": {"const": 1}})", {"[]", "[1,1,1,1,1]"}, {"[2]", "[,1]"}},
      {R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"}},
      {R"({"type": "array", "maxItems": 1})", {"[]", "[{}]"}, {"[1,1]"}},
      {R"({"type": "array", "items": {"const": 1}, "minItems": 3})", {"[1,1,1]", "[1,1,1,1]"}, {"[1,1]"}},
      {R"({"prefixItems": [{"const": 1}, {"const": 2}], "items": false, "minItems": 1})",
       {"[1]", "[1,2]"},
       {"[]", "[2]", "[1,2,3]"}},
      {R"({"prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 2, "maxItems": 3})",
       {"[1,2]", "[1,2,2]"},
       {"[1]", "[1,2,2,2]", "[2]"}},
      {R"({"anyOf": [{"type": "integer"}, {"const": "x"}]})", {"1", "\"x\""}, {"\"y\""}},
      {R"({"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "n": {"type": "integer"}}, "required": ["kind"]}, {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}]})",
       {R"({"kind":"a","n":1})", R"({"kind":"b"})"},
       {R"({"kind":"b","n":1})"}},
      {R"({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"$ref": "#/$defs/b"}], "$defs": {"b": {"properties": {"b": {"const": 2}}, "required": ["b"]}}})",
       {R"({"a":1,"b":2})"},
       {R"({"a":1})", R"({"b":2})"}},
      {R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["v", "next"]}}})",
       {R"({"v":1,"next":{"v":2,"next":null}})"},
       {R"({"v":1})"}},
      {R"({"type": "array", "items": {"$ref": "#"}})", {"[]", "[[],[[]]]"}, {"[1]"}},
      {R"({"title": "T", "description": "d", "default": 1, "type": "integer", "examples": [1]})",
       {"5"},
       {"a"}},
  };
  return all;
}

TEST(JsonSchema, TakesAndRefuses) {
  for (const Case& c : cases()) {
    const std::string gbnf = json_schema_grammar(c.schema);
    for (const std::string& text : c.yes) EXPECT_TRUE(matches(gbnf, text)) << c.schema << " takes " << text;
    for (const std::string& text : c.no) EXPECT_FALSE(matches(gbnf, text)) << c.schema << " refuses " << text;
  }
}

TEST(JsonSchema, WhateverIsDrawnIsJson) {
  Rng rng(3, 0);
  for (const Case& c : cases())
    for (int i = 0; i < 5; ++i) {
      const std::string text = draw(json_schema_grammar(c.schema), rng);
      EXPECT_TRUE(nlohmann::json::accept(text)) << c.schema << " -> " << text;
    }
  EXPECT_TRUE(nlohmann::json::accept(draw(json_object_grammar(), rng)));
}

TEST(JsonSchema, NamesWhatItCannotObey) {
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"", "no JSON"},
      {"[1]", "an object or true"},
      {"false", "an object or true"},
      {R"({"type": "strin"})", "'strin'"},
      {R"({"type": "string", "minimum": 1})", "keyword 'minimum'"},
      {R"({"type": "object", "minProperties": 1})", "keyword 'minProperties'"},
      {R"({"type": "object", "patternProperties": {}})", "keyword 'patternProperties'"},
      {R"({"not": {}})", "keyword 'not'"},
      {R"({"if": {}})", "keyword 'if'"},
      {R"({"type": "integer", "multipleOf": 2})", "keyword 'multipleOf'"},
      {R"({"type": "array", "uniqueItems": true})", "uniqueItems"},
      {R"({"type": "array", "contains": {}})", "keyword 'contains'"},
      {R"({"type": "number", "exclusiveMinimum": 0})", "exclusiveMinimum"},
      {R"({"type": "number", "minimum": 0.5})", "whole number"},
      {R"({"type": "integer", "minimum": 5, "maximum": 4})", "no number between them"},
      {R"({"type": "string", "minLength": 3, "maxLength": 2})", "at least minLength"},
      {R"({"type": "string", "minLength": -1})", "whole number from 0"},
      {R"({"type": "string", "maxLength": 1e300})", "whole number from 0"},
      {R"j({"type": "string", "pattern": "(?=a)"})j", "look-around"},
      {R"({"type": "string", "pattern": "a\\b"})", "an escape that is not known"},
      {R"({"type": "string", "pattern": "(a"})", "no ')'"},
      {R"j({"type": "string", "pattern": "a)"})j", "')' without '('"},
      {R"({"type": "string", "pattern": "a{1"})", "number of repetitions"},
      {R"({"type": "string", "pattern": "x$y"})", "'$' before the end"},
      {R"({"type": "string", "pattern": "a", "maxLength": 2})", "minLength or maxLength beside it"},
      {R"({"$ref": "http://example.org/x"})", "one within the schema"},
      {R"({"$ref": "#/nowhere"})", "the place of a schema"},
      {R"({"$ref": "#"})", "itself before any character"},
      {R"({"$ref": "#/$defs/a", "type": "object", "$defs": {"a": {}}})", "keyword 'type'"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "two that one value may fit"},
      {R"({"anyOf": []})", "something in it"},
      {R"({"anyOf": [{}], "type": "object"})", "keyword 'type'"},
      {R"({"allOf": [{"type": "object"}, {"type": "array"}]})", "twice with different values"},
      {R"({"required": ["a"], "type": "object"})", "'a', which is not declared"},
      {R"({"enum": [1], "type": "string"})", "one of the schema's type"},
      {std::string(50, '['), "no JSON"},
  };
  for (const auto& [schema, message] : refused)
    EXPECT_NE(error_of(schema).find(message), std::string::npos) << schema << " -> " << error_of(schema);
  std::string deep = "1";
  for (int i = 0; i < 100; ++i) deep = "[" + deep + "]";
  EXPECT_NE(error_of("{\"const\": " + deep + "}").find("deep"), std::string::npos);
  std::string chain = "{\"$ref\": \"#/$defs/0\", \"$defs\": {";
  for (int i = 0; i < 5000; ++i) chain += fmt::format("\"{}\": {{\"$ref\": \"#/$defs/{}\"}}, ", i, i + 1);
  EXPECT_NE(error_of(chain + "\"5000\": {}}}").find("too many"), std::string::npos);
}

TEST(JsonNumbers, AllRangesOfSmallNumbers) {
  for (int64_t least = -23; least <= 123; least += 7)
    for (int64_t most = least; most <= 130; most += 9) {
      const std::string gbnf = "root ::= " + integer_grammar({least, most});
      for (int64_t n = -130; n <= 135; ++n)
        ASSERT_EQ(matches(gbnf, std::to_string(n)), least <= n && n <= most)
            << least << ".." << most << ": " << n;
    }
  for (const auto& [least, most] :
       std::vector<std::pair<int64_t, int64_t>>{{999, 1001}, {-100, 100}, {98'765, 1'234'567}}) {
    const std::string gbnf = "root ::= " + integer_grammar({least, most});
    for (const int64_t edge : {least, most, int64_t{0}, int64_t{1000}, int64_t{99'999}, int64_t{100'000}})
      for (int64_t n = edge - 3; n <= edge + 3; ++n)
        EXPECT_EQ(matches(gbnf, std::to_string(n)), least <= n && n <= most) << n;
  }
  EXPECT_EQ(integer_grammar({.least = 2, .most = 1}), "");
}

TEST(JsonNumbers, FractionsStayBetweenTheBounds) {
  for (const auto& [least, most] :
       std::vector<std::pair<int64_t, int64_t>>{{-3, 2}, {0, 10}, {-10, -2}, {4, 4}}) {
    const std::string gbnf = "root ::= " + number_grammar({least, most});
    for (int64_t n = -1200; n <= 1200; n += 5) {  // hundredths
      const std::string text =
          fmt::format("{}{}.{:02}", n < 0 ? "-" : "", std::abs(n) / 100, std::abs(n) % 100);
      EXPECT_EQ(matches(gbnf, text), 100 * least <= n && n <= 100 * most)
          << text << " in " << least << ".." << most;
    }
  }
}

}  // namespace
}  // namespace tumbler::engine
