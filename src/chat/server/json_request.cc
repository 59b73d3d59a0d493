#include "chat/server/json_request.h"

#include <array>
#include <cmath>
#include <limits>

#include "chat/server/api_error.h"

namespace tumbler::chat {
namespace {

constexpr int kMaxDepth = 64;
// Keys of one object: each is looked for among those before it.
constexpr int64_t kMaxKeys = 4096;

// Levels of brackets outside texts: what copies and writes of JSON recurse over.
int depth_of(std::string_view body) {
  int depth = 0, most = 0;
  bool in_text = false;
  for (size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_text) {
      if (c == '\\') ++i;
      in_text = c != '"';
    } else if (c == '"') {
      in_text = true;
    } else if (c == '{' || c == '[') {
      most = std::max(most, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return most;
}

std::string short_dump(const Json& value) {
  std::string text = dump(value);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json parse_body(std::string_view body) {
  if (depth_of(body) > kMaxDepth)
    throw ApiError(400, fmt::format("the body is nested deeper than {} levels", kMaxDepth));
  std::array<int64_t, kMaxDepth + 1> keys{};  // of the open object of each level
  const auto count = [&](int depth, Json::parse_event_t event, const Json&) {
    if (event == Json::parse_event_t::object_start) keys[static_cast<size_t>(depth)] = 0;
    if (event == Json::parse_event_t::key && ++keys[static_cast<size_t>(depth) - 1] > kMaxKeys)
      throw ApiError(400, fmt::format("the body has an object of more than {} keys", kMaxKeys));
    return true;
  };
  try {
    Json json = Json::parse(body, count);
    if (!json.is_object()) throw ApiError(400, "the body is JSON, but no object");
    return json;
  } catch (const Json::exception& error) {
    throw ApiError(400, fmt::format("the body is not JSON: {}", error.what()));
  }
}

const Json* Keys::find(const char* key) const {
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

double Keys::number(const char* key, double otherwise, double low, double high) const {
  const Json* value = find(key);
  if (value == nullptr) return otherwise;
  const double x = value->is_number() ? value->get<double>() : std::numeric_limits<double>::quiet_NaN();
  if (!(x >= low && x <= high))
    throw wrong(key, "got {}, expected a number from {} to {}", short_dump(*value), low, high);
  return x;
}

int64_t Keys::integer(const char* key, int64_t otherwise, int64_t low, int64_t high) const {
  const Json* value = find(key);
  if (value == nullptr) return otherwise;
  const double x = value->is_number() ? value->get<double>() : std::numeric_limits<double>::quiet_NaN();
  if (!(x >= static_cast<double>(low) && x <= static_cast<double>(high)) || x != std::floor(x))
    throw wrong(key, "got {}, expected a whole number from {} to {}", short_dump(*value), low, high);
  return value->is_number_integer() ? value->get<int64_t>() : static_cast<int64_t>(x);
}

bool Keys::boolean(const char* key, bool otherwise) const {
  const Json* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) throw wrong(key, "got {}, expected true or false", short_dump(*value));
  return value->get<bool>();
}

std::string Keys::text(const char* key, std::string otherwise) const {
  const Json* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_string()) throw wrong(key, "got {}, expected a text", short_dump(*value));
  return value->get<std::string>();
}

const Json* Keys::object(const char* key) const {
  const Json* value = find(key);
  if (value != nullptr && !value->is_object())
    throw wrong(key, "got {}, expected an object", short_dump(*value));
  return value;
}

const Json* Keys::array(const char* key) const {
  const Json* value = find(key);
  if (value != nullptr && !value->is_array()) throw wrong(key, "got {}, expected a list", short_dump(*value));
  return value;
}

std::vector<std::string> Keys::texts(const char* key, size_t most) const {
  const Json* value = find(key);
  std::vector<std::string> out;
  if (value == nullptr) return out;
  if (value->is_string()) return {value->get<std::string>()};
  const auto is_text = [](const Json& item) { return item.is_string(); };
  if (!value->is_array() || value->size() > most || !std::all_of(value->begin(), value->end(), is_text))
    throw wrong(key, "got {}, expected a text or a list of at most {} texts", short_dump(*value), most);
  for (const Json& item : *value) out.push_back(item.get<std::string>());
  return out;
}

std::vector<int32_t> Keys::ids(const char* key) const {
  const Json* value = array(key);
  std::vector<int32_t> out;
  if (value == nullptr) return out;
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  for (const Json& item : *value) {
    if (!item.is_number_integer() || item.get<int64_t>() < 0 || item.get<int64_t>() > kMost)
      throw wrong(key, "got {} in it, expected token ids", short_dump(item));
    out.push_back(static_cast<int32_t>(item.get<int64_t>()));
  }
  return out;
}

}  // namespace tumbler::chat
