// JSON that came from outside: parsed with limits, and its keys read with checks that name them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tumbler::chat {

using Json = nlohmann::ordered_json;

// An object of at most 64 levels. Throws ApiError 400.
Json parse_body(std::string_view body);

// Keys of an object. null counts as absent, as OpenAI's clients send it. All throw ApiError 400 where a key
// is of the wrong type or out of range.
class Keys {
 public:
  explicit Keys(const Json& object) : object_(object) {}
  const Json* find(const char* key) const;
  double number(const char* key, double otherwise, double low, double high) const;
  int64_t integer(const char* key, int64_t otherwise, int64_t low, int64_t high) const;
  bool boolean(const char* key, bool otherwise) const;
  std::string text(const char* key, std::string otherwise = {}) const;
  const Json* object(const char* key) const;
  const Json* array(const char* key) const;
  // A text or a list of texts.
  std::vector<std::string> texts(const char* key, size_t most) const;
  // A list of integers from 0.
  std::vector<int32_t> ids(const char* key) const;

 private:
  const Json& object_;
};

// As text, with U+FFFD for what is not UTF-8.
std::string dump(const Json& json);

}  // namespace tumbler::chat
