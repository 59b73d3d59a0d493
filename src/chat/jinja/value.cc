#include "chat/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace tumbler::jinja {

std::optional<int64_t> Value::as_int() const noexcept {
  if (const auto* i = std::get_if<int64_t>(&state_)) return *i;
  if (const auto* b = std::get_if<bool>(&state_)) return *b ? 1 : 0;
  return std::nullopt;
}

std::optional<double> Value::as_number() const noexcept {
  if (const auto* d = std::get_if<double>(&state_)) return *d;
  if (const auto i = as_int()) return static_cast<double>(*i);
  return std::nullopt;
}

const Value* Dict::find(const Value& key) const {
  for (const auto& [k, v] : items)
    if (equal(k, key)) return &v;
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [k, v] : items)
    if (const Text* text = k.text(); text != nullptr && text->bytes == key) return &v;
  return nullptr;
}

void Dict::set(const Value& key, Value value) {
  for (auto& [k, v] : items)
    if (equal(k, key)) {
      v = std::move(value);
      return;
    }
  items.emplace_back(key, std::move(value));
}

const char* type_name(const Value& value) noexcept {
  if (value.is_undefined()) return "undefined";
  if (value.is_none()) return "none";
  if (value.is_bool()) return "bool";
  if (value.is_int()) return "int";
  if (value.is_float()) return "float";
  if (value.is_string()) return "str";
  if (const List* list = value.list())
    return list->kind == List::kList ? "list" : list->kind == List::kTuple ? "tuple" : "generator";
  if (value.dict() != nullptr) return "dict";
  if (value.name_space() != nullptr) return "namespace";
  return value.loop() != nullptr ? "loop" : "function";
}

bool can_be_key(const Value& value) noexcept {
  const List* list = value.list();
  if (list == nullptr || list->kind != List::kTuple) return list == nullptr && value.dict() == nullptr;
  return std::all_of(list->items.begin(), list->items.end(), can_be_key);
}

bool is_true(const Value& value) noexcept {
  if (value.is_undefined() || value.is_none()) return false;
  if (const auto number = value.as_number()) return *number != 0;
  if (const Text* text = value.text()) return !text->bytes.empty();
  if (const List* list = value.list()) return list->kind == List::kGenerator || !list->items.empty();
  if (const Dict* dict = value.dict()) return !dict->items.empty();
  return true;
}

bool equal(const Value& a, const Value& b) noexcept {
  if (a.is_number() && b.is_number()) {
    const auto i = a.as_int(), j = b.as_int();
    return i && j ? *i == *j : *a.as_number() == *b.as_number();
  }
  if (a.text() != nullptr && b.text() != nullptr) return a.text()->bytes == b.text()->bytes;
  if (const List* x = a.list(), *y = b.list(); x != nullptr && y != nullptr) {
    if (x == y) return true;
    if (x->kind != y->kind || x->kind == List::kGenerator || x->items.size() != y->items.size()) return false;
    for (size_t i = 0; i < x->items.size(); ++i)
      if (!equal(x->items[i], y->items[i])) return false;
    return true;
  }
  if (const Dict* x = a.dict(), *y = b.dict(); x != nullptr && y != nullptr) {
    if (x->items.size() != y->items.size()) return false;
    for (const auto& [key, value] : x->items) {
      const Value* other = y->find(key);
      if (other == nullptr || !equal(value, *other)) return false;
    }
    return true;
  }
  if (a.name_space() != nullptr) return a.name_space() == b.name_space();
  if (a.loop() != nullptr) return a.loop() == b.loop();
  if (a.callable() != nullptr) return a.callable() == b.callable();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

std::optional<int64_t> length(const Value& value) noexcept {
  if (value.is_undefined()) return 0;
  if (const Text* text = value.text()) return static_cast<int64_t>(count_code_points(text->bytes));
  if (const List* list = value.list(); list != nullptr && list->kind != List::kGenerator)
    return static_cast<int64_t>(list->items.size());
  if (const Dict* dict = value.dict()) return static_cast<int64_t>(dict->items.size());
  if (const Loop* loop = value.loop()) return static_cast<int64_t>(loop->items->items.size());
  return std::nullopt;
}

int depth_of(const Value& value) noexcept {
  if (const List* list = value.list()) return list->depth;
  return value.dict() != nullptr ? value.dict()->depth : 0;
}

int64_t weight_of(const Value& value) noexcept {
  if (const Text* text = value.text())
    return static_cast<int64_t>(text->bytes.size() + 16 * text->input.size()) + 8;
  if (const List* list = value.list()) return list->weight;
  return value.dict() != nullptr ? value.dict()->weight : 8;
}

namespace {

// Sums that stay far from overflow: nothing near this weight is ever made.
template <class Container>
void account(Container& container, const Value& part) {
  constexpr int64_t kHeaviest = int64_t{1} << 60;
  container.depth = std::max(container.depth, depth_of(part) + 1);
  container.weight = std::min(kHeaviest, container.weight + weight_of(part));
}

}  // namespace

std::shared_ptr<List> new_list(std::vector<Value> items, List::Kind kind) {
  auto list = std::make_shared<List>();
  list->items = std::move(items);
  list->kind = kind;
  for (const Value& item : list->items) account(*list, item);
  return list;
}

std::shared_ptr<Dict> new_dict(std::vector<std::pair<Value, Value>> items) {
  auto dict = std::make_shared<Dict>();
  dict->items = std::move(items);
  for (const auto& [key, value] : dict->items) {
    account(*dict, key);
    account(*dict, value);
  }
  return dict;
}

namespace {

void append_list(Text& out, const List& list) {
  if (list.kind == List::kGenerator) {
    out.append("<generator object>");
    return;
  }
  out.append(list.kind == List::kTuple ? "(" : "[");
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.append(", ");
    append_repr(out, list.items[i]);
  }
  if (list.kind == List::kTuple && list.items.size() == 1) out.append(",");
  out.append(list.kind == List::kTuple ? ")" : "]");
}

}  // namespace

void append_repr(Text& out, const Value& value) {
  if (const Text* text = value.text()) {
    out.append(Text(quote(text->bytes), text->has_input()));
  } else if (const List* list = value.list()) {
    append_list(out, *list);
  } else if (const Dict* dict = value.dict()) {
    out.append("{");
    for (size_t i = 0; i < dict->items.size(); ++i) {
      if (i > 0) out.append(", ");
      append_repr(out, dict->items[i].first);
      out.append(": ");
      append_repr(out, dict->items[i].second);
    }
    out.append("}");
  } else if (value.is_undefined()) {
    out.append("Undefined");
  } else {
    out.append(to_text(value));
  }
}

Text to_text(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_none()) return "None";
  if (value.is_bool()) return is_true(value) ? "True" : "False";
  if (value.is_int()) return Text(std::to_string(*value.as_int()));
  if (value.is_float()) return Text(float_text(*value.as_number()));
  if (const Text* text = value.text()) return *text;
  Text out;
  if (value.list() != nullptr || value.dict() != nullptr)
    append_repr(out, value);
  else if (value.callable() != nullptr)
    out.append("<function " + value.callable()->name + ">");
  else
    out.append(std::string("<") + type_name(value) + ">");
  return out;
}

namespace {

Value convert(const nlohmann::ordered_json& json, bool from_outside, int room) {
  if (room < 0) throw Error("chat_template", "JSON is nested deeper than {}; flatten it", kMaxValueDepth);
  if (json.is_array()) {
    std::vector<Value> items;
    for (const auto& item : json) items.push_back(convert(item, from_outside, room - 1));
    return Value(std::shared_ptr<const List>(new_list(std::move(items))));
  }
  if (json.is_object()) {
    std::vector<std::pair<Value, Value>> items;
    for (const auto& [key, item] : json.items())
      items.emplace_back(Text(key, from_outside), convert(item, from_outside, room - 1));
    return Value(std::shared_ptr<const Dict>(new_dict(std::move(items))));
  }
  if (json.is_string()) {
    const auto& s = json.get_ref<const std::string&>();
    if (!is_utf8(s))
      throw Error("chat_template", "a string of {} bytes is not UTF-8; decode it first", s.size());
    return Text(s, from_outside);
  }
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_unsigned() &&
      json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return static_cast<double>(json.get<uint64_t>());
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  return None{};
}

}  // namespace

Value from_json(const nlohmann::ordered_json& json, bool from_outside) {
  return convert(json, from_outside, kMaxValueDepth - 1);
}

}  // namespace tumbler::jinja
