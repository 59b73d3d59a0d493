#include "chat/jinja/context.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace tumbler::jinja {

const Value* Arguments::find(size_t place, std::string_view name) {
  places_ = std::max(places_, place + 1);
  for (size_t i = 0; i < named.size(); ++i)
    if (named[i].first == name) {
      if (i < 64) names_ |= uint64_t{1} << i;
      return &named[i].second;
    }
  return place < positional.size() ? &positional[place] : nullptr;
}

const Value& Arguments::get(Context& context, size_t place, std::string_view name) {
  const Value* value = find(place, name);
  if (value == nullptr) context.fail("the argument '{}' is missing", name);
  return *value;
}

bool Arguments::flag(size_t place, std::string_view name, bool missing) {
  const Value* value = find(place, name);
  return value == nullptr ? missing : is_true(*value);
}

int64_t Arguments::integer(Context& context, size_t place, std::string_view name, int64_t missing) {
  const Value* value = find(place, name);
  if (value == nullptr) return missing;
  const auto number = value->as_int();
  if (!number) context.fail("the argument '{}' is {}, expected an integer", name, type_name(*value));
  return *number;
}

Text Arguments::text(Context& context, size_t place, std::string_view name, std::string_view missing) {
  const Value* value = find(place, name);
  if (value == nullptr) return Text(std::string(missing));
  if (value->text() == nullptr)
    context.fail("the argument '{}' is {}, expected a string", name, type_name(*value));
  return *value->text();
}

void Arguments::finish(Context& context) const {
  if (positional.size() > places_)
    context.fail("got {} arguments, expected at most {}", positional.size(), places_);
  for (size_t i = 0; i < named.size(); ++i)
    if (i >= 64 || (names_ >> i & 1) == 0)
      context.fail("got the argument '{}', which is not known here", named[i].first);
}

void Context::throw_error(const std::string& message) const {
  throw Error("chat_template", "line {}: {}", line_, message);
}

void Context::step(int64_t count) {
  steps_ += count;
  if (steps_ > limits_.steps) fail("more than {} steps; the template does not come to an end", limits_.steps);
}

void Context::spend(int64_t bytes) {
  if (bytes > limits_.bytes - bytes_)
    fail("more than {} bytes of strings and lists; the template grows without bound", limits_.bytes);
  bytes_ += bytes;
}

Context::Level::Level(Context& context) : context_(context) {
  if (++context.depth_ > context.limits_.depth) {
    --context.depth_;
    context.fail("nested deeper than {}; a macro calls itself without end", context.limits_.depth);
  }
}

Value Context::make(Text text) {
  spend(static_cast<int64_t>(text.bytes.size() + text.input.size() * sizeof(Range)) + 64);
  return Value(std::move(text));
}

Value Context::make_list(std::vector<Value> items, List::Kind kind) {
  spend(static_cast<int64_t>(items.size() * sizeof(Value)) + 64);
  auto list = new_list(std::move(items), kind);
  if (list->depth > kMaxValueDepth) fail("lists lie deeper than {} in one another", kMaxValueDepth);
  if (list->weight > limits_.bytes) fail("a list that prints as more than {} bytes", limits_.bytes);
  return Value(std::shared_ptr<const List>(std::move(list)));
}

Value Context::make_dict(std::vector<std::pair<Value, Value>> items) {
  spend(static_cast<int64_t>(items.size() * 2 * sizeof(Value)) + 64);
  auto dict = new_dict(std::move(items));
  if (dict->depth > kMaxValueDepth) fail("dicts lie deeper than {} in one another", kMaxValueDepth);
  if (dict->weight > limits_.bytes) fail("a dict that prints as more than {} bytes", limits_.bytes);
  return Value(std::shared_ptr<const Dict>(std::move(dict)));
}

Value Context::undefined(std::string why) const {
  return Value(Undefined{std::make_shared<const std::string>(std::move(why))});
}

Value Context::make_namespace() {
  spend(256);
  namespaces_.push_back(std::make_shared<Namespace>());
  return Value(namespaces_.back());
}

Context::~Context() {
  // First all values that the namespaces hold, then the namespaces: no chain of them is freed by recursion.
  std::vector<std::pair<std::string, Value>> values;
  for (const auto& space : namespaces_) {
    std::move(space->attributes.begin(), space->attributes.end(), std::back_inserter(values));
    space->attributes.clear();
  }
}

Text Context::text_of(const Value& value) {
  const int64_t weight = weight_of(value);
  step(weight / 16);
  spend(2 * weight);
  return to_text(value);
}

Items Context::iterate(const Value& value) {
  static const auto kEmpty = std::make_shared<const List>();
  std::vector<Value> items;
  if (const List* list = value.list()) {
    step(static_cast<int64_t>(list->items.size()) / 4);
    if (list->kind != List::kGenerator) return Items(value.shared_list());
    return Items(std::exchange(list->spent, true) ? kEmpty : value.shared_list());
  }
  if (value.is_undefined()) return Items(kEmpty);
  if (const Text* text = value.text()) {
    const auto offsets = code_point_offsets(text->bytes);
    step(static_cast<int64_t>(offsets.size()));
    spend(static_cast<int64_t>(offsets.size() * 128));
    for (size_t i = 0; i + 1 < offsets.size(); ++i) items.emplace_back(text->sub(offsets[i], offsets[i + 1]));
  } else if (const Dict* dict = value.dict()) {
    for (const auto& [key, unused] : dict->items) items.push_back(key);
  } else if (value.loop() != nullptr) {
    fail("the loop itself cannot be run through");
  } else {
    fail("'{}' is not iterable", type_name(value));
  }
  return Items(make_list(std::move(items)).shared_list());
}

bool Context::equals(const Value& a, const Value& b) {
  step(std::min(weight_of(a), weight_of(b)) / 16);
  return equal(a, b);
}

int Context::compare(const Value& a, const Value& b) {
  step();
  if (a.is_number() && b.is_number()) {
    const auto i = a.as_int(), j = b.as_int();
    if (i && j) return *i < *j ? -1 : *i > *j;
    const double x = *a.as_number(), y = *b.as_number();
    return x < y ? -1 : x > y;
  }
  if (a.text() != nullptr && b.text() != nullptr) {
    const int order = a.text()->bytes.compare(b.text()->bytes);
    return order < 0 ? -1 : order > 0;
  }
  const List *x = a.list(), *y = b.list();
  if (x == nullptr || y == nullptr || x->kind != y->kind || x->kind == List::kGenerator)
    fail("'{}' and '{}' have no order", type_name(a), type_name(b));
  for (size_t i = 0; i < std::min(x->items.size(), y->items.size()); ++i)
    if (!equals(x->items[i], y->items[i])) return compare(x->items[i], y->items[i]);
  return x->items.size() < y->items.size() ? -1 : x->items.size() > y->items.size();
}

bool Context::contains(const Value& container, const Value& item) {
  if (const Text* text = container.text()) {
    if (item.text() == nullptr)
      fail("'in' of a string needs a string on its left, got '{}'", type_name(item));
    step(static_cast<int64_t>(text->bytes.size()) / 64);
    return text->bytes.find(item.text()->bytes) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) {
    if (!can_be_key(item)) fail("'{}' cannot be a key", type_name(item));
    step(static_cast<int64_t>(dict->items.size()));
    return dict->find(item) != nullptr;
  }
  for (const Value& element : iterate(container)) {
    step();
    if (equals(element, item)) return true;
  }
  return false;
}

bool Context::holds(Op comparison, const Value& a, const Value& b) {
  const auto is_nan = [](const Value& v) { return v.is_float() && std::isnan(*v.as_number()); };
  switch (comparison) {
    case Op::kEqual:
      return equals(a, b);
    case Op::kNotEqual:
      return !equals(a, b);
    case Op::kIn:
      return contains(b, a);
    case Op::kNotIn:
      return !contains(b, a);
    default:
      break;
  }
  const int order = compare(a, b);
  if (is_nan(a) || is_nan(b)) return false;
  switch (comparison) {
    case Op::kLess:
      return order < 0;
    case Op::kLessEqual:
      return order <= 0;
    case Op::kGreater:
      return order > 0;
    default:
      return order >= 0;
  }
}

Value Context::attribute(const Value& object, const std::string& name) {
  step();
  if (const Undefined* u = object.undefined())
    fail("{}, so it has no attribute '{}'", u->why ? *u->why : "the value is undefined", name);
  if (const Loop* loop = object.loop()) {
    (void)loop;
    return loop_attribute(*this, object.shared_loop(), name);
  }
  if (const Namespace* space = object.name_space()) {
    for (const auto& [key, value] : space->attributes)
      if (key == name) return value;
    return undefined(fmt::format("'namespace' has no attribute '{}'", name));
  }
  Value method = find_method(*this, object, name);
  if (!method.is_undefined()) return method;
  if (const Dict* dict = object.dict()) {
    step(static_cast<int64_t>(dict->items.size()) / 8);
    if (const Value* found = dict->find(std::string_view(name))) return *found;
  }
  return undefined(fmt::format("'{}' has no attribute '{}'", type_name(object), name.substr(0, 60)));
}

Value Context::item(const Value& object, const Value& key) {
  step();
  if (const Undefined* u = object.undefined())
    fail("{}, so it has no items", u->why ? *u->why : "the value is undefined");
  if (const Dict* dict = object.dict()) {
    step(static_cast<int64_t>(dict->items.size()) / 8);
    if (const Value* found = dict->find(key)) return *found;
  }
  const auto index = key.as_int();
  if (const List* list = object.list(); list != nullptr && index && list->kind != List::kGenerator) {
    const auto size = static_cast<int64_t>(list->items.size());
    const int64_t i = *index < 0 ? *index + size : *index;
    if (i >= 0 && i < size) return list->items[static_cast<size_t>(i)];
  } else if (const Text* text = object.text(); text != nullptr && index) {
    step(static_cast<int64_t>(text->bytes.size()) / 16);
    const auto offsets = code_point_offsets(text->bytes);
    const auto size = static_cast<int64_t>(offsets.size()) - 1;
    const int64_t i = *index < 0 ? *index + size : *index;
    if (i >= 0 && i < size) {
      const auto at = static_cast<size_t>(i);
      return make(text->sub(offsets[at], offsets[at + 1]));
    }
  } else if (const Text* name = key.text()) {
    if (object.name_space() != nullptr || object.loop() != nullptr) return attribute(object, name->bytes);
    Value method = find_method(*this, object, name->bytes);
    if (!method.is_undefined()) return method;
  }
  spend(weight_of(key));
  return undefined(fmt::format("'{}' has no item {}", type_name(object), to_text(key).bytes.substr(0, 60)));
}

template <class F>
Value Context::pick(int64_t size, const Value& from, const Value& to, const Value& by, F take) {
  const auto number = [&](const Value& v, int64_t missing) {
    if (v.is_none()) return missing;
    const auto i = v.as_int();
    if (!i) fail("a slice with '{}', expected integers", type_name(v));
    return *i;
  };
  const int64_t stride = number(by, 1);
  if (stride == 0) fail("a slice with step 0");
  const auto bound = [&](const Value& v, int64_t missing) {
    if (v.is_none()) return missing;
    int64_t i = number(v, 0);
    const int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? size : size - 1;
    if (i < 0) i = std::max(i, -size - 1) + size;
    return std::clamp(i, low, std::max(low, high));
  };
  const int64_t begin = bound(from, stride > 0 ? 0 : size - 1), end = bound(to, stride > 0 ? size : -1);
  step(size / 16);
  // The last index before a step would pass the end, so that no step overflows.
  for (int64_t i = begin; stride > 0 ? i < end : i > end;) {
    take(static_cast<size_t>(i));
    if (stride > 0 ? stride >= end - i : stride <= end - i) break;
    i += stride;
  }
  return {};
}

Value Context::slice(const Value& object, const Value& from, const Value& to, const Value& by) {
  if (const Text* text = object.text()) {
    const auto offsets = code_point_offsets(text->bytes);
    const auto size = static_cast<int64_t>(offsets.size()) - 1;
    Text out;
    if (by.is_none() || (by.as_int() && *by.as_int() == 1)) {
      size_t begin = 0, end = 0;
      bool any = false;
      pick(size, from, to, Value(None{}), [&](size_t i) {
        if (!any) begin = i;
        any = true;
        end = i + 1;
      });
      if (any) out = text->sub(offsets[begin], offsets[end]);
    } else {
      pick(size, from, to, by, [&](size_t i) { out.append(text->sub(offsets[i], offsets[i + 1])); });
    }
    return make(std::move(out));
  }
  const List* list = object.list();
  if (object.is_undefined()) return item(object, from);
  if (list == nullptr || list->kind == List::kGenerator) fail("'{}' cannot be sliced", type_name(object));
  std::vector<Value> items;
  pick(static_cast<int64_t>(list->items.size()), from, to, by,
       [&](size_t i) { items.push_back(list->items[i]); });
  return make_list(std::move(items), list->kind);
}

Value Context::path(const Value& object, const Value& attribute) {
  if (attribute.text() == nullptr) return item(object, attribute);
  Value value = object;
  for (const Text& part : split(*attribute.text(), ".", -1)) {
    const bool number = !part.bytes.empty() && part.bytes.size() < 10 &&
                        part.bytes.find_first_not_of("0123456789") == std::string::npos;
    value = item(value, number ? Value(static_cast<int64_t>(std::stoll(part.bytes))) : Value(part));
  }
  return value;
}

Value Context::call(const Value& callee, Arguments& arguments) {
  step();
  if (const Undefined* u = callee.undefined())
    fail("{}, so it cannot be called", u->why ? *u->why : "the value is undefined");
  if (callee.loop() != nullptr) fail("recursive loops are not supported; write a macro");
  const Callable* callable = callee.callable();
  if (callable == nullptr) fail("'{}' cannot be called", type_name(callee));
  if (callable->forbidden)
    fail("a template may not call '{}', which changes its object; make a new one", callable->name);
  const Level level(*this);
  return callable->call(*this, arguments);
}

}  // namespace tumbler::jinja
