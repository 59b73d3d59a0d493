// Functions that every template may call, and the attributes of `loop`.
#include <unordered_map>

#include "chat/jinja/context.h"

namespace tumbler::jinja {
namespace {

Value make_callable(std::string name, Function call) {
  auto callable = std::make_shared<Callable>();
  callable->name = std::move(name);
  callable->call = std::move(call);
  return Value(std::shared_ptr<const Callable>(std::move(callable)));
}

Value range(Context& c, Arguments& a) {
  constexpr int64_t kMaxRange = 100'000;  // as Jinja's sandbox
  const auto number = [&](size_t i) {
    const auto value = a.get(c, i, "").as_int();
    if (!value) c.fail("range() needs integers");
    return *value;
  };
  int64_t begin = 0, end = number(0), step = 1;
  if (a.positional.size() > 1) begin = end, end = number(1);
  if (a.positional.size() > 2) step = number(2);
  a.finish(c);
  if (step == 0) c.fail("range() with step 0");
  std::vector<Value> items;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    items.emplace_back(i);
    if (static_cast<int64_t>(items.size()) > kMaxRange)
      c.fail("range() over more than {} numbers", kMaxRange);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  c.step(static_cast<int64_t>(items.size()));
  return c.make_list(std::move(items));
}

// The items of dict(mapping, name=value, …).
std::vector<std::pair<Value, Value>> dict_items(Context& c, Arguments& a) {
  Dict dict;
  if (const Value* given = a.find(0, "")) {
    if (given->dict() != nullptr) {
      dict.items = given->dict()->items;
    } else {
      for (const Value& pair : c.iterate(*given)) {
        const auto parts = c.iterate(pair);
        if (parts.size() != 2) c.fail("dict() needs pairs");
        c.step(static_cast<int64_t>(dict.items.size()));
        dict.set(parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : a.named) dict.set(Value(name), value);
  a.named.clear();
  a.finish(c);
  return std::move(dict.items);
}

Value make_dict(Context& c, Arguments& a) {
  return c.make_dict(dict_items(c, a));
}

Value make_namespace(Context& c, Arguments& a) {
  Value space = c.make_namespace();
  for (auto& [key, value] : dict_items(c, a)) {
    if (key.text() == nullptr) c.fail("a namespace needs names");
    space.name_space()->attributes.emplace_back(key.text()->bytes, value);
  }
  return space;
}

Value raise_exception(Context& c, Arguments& a) {
  const Value* message = a.find(0, "message");
  c.fail("the template refuses: {}", message == nullptr ? "" : c.text_of(*message).bytes.substr(0, 500));
}

Value strftime_now(Context& c, Arguments& a) {
  const Text format = a.text(c, 0, "format", "");
  a.finish(c);
  char buffer[256];
  if (format.bytes.empty()) return Value("");
  const size_t size = std::strftime(buffer, sizeof(buffer), format.bytes.c_str(), &c.now());
  if (size == 0) c.fail("strftime_now() of more than {} bytes", sizeof(buffer));
  std::string text(buffer, size);
  if (!is_utf8(text)) c.fail("strftime_now() gave no UTF-8");
  return c.make(Text(std::move(text)));
}

// An object that gives its separator from the second call on.
Value joiner(Context& c, Arguments& a) {
  const Text separator = a.text(c, 0, "sep", ", ");
  a.finish(c);
  return make_callable("joiner", [separator, used = false](Context& inner, Arguments& none) mutable {
    none.finish(inner);
    return std::exchange(used, true) ? Value(separator) : Value("");
  });
}

Value cycle(Context& c, const std::shared_ptr<Loop>& loop, Arguments& a) {
  if (a.positional.empty()) c.fail("cycle() without values");
  return a.positional[loop->index % a.positional.size()];
}

Value changed(Context& c, const std::shared_ptr<Loop>& loop, Arguments& a) {
  const bool same = loop->seen && loop->last_seen.size() == a.positional.size() &&
                    std::equal(a.positional.begin(), a.positional.end(), loop->last_seen.begin(),
                               [&](const Value& x, const Value& y) { return c.equals(x, y); });
  loop->seen = true;
  for (const Value& v : a.positional)
    if (v.loop() != nullptr || v.callable() != nullptr || v.name_space() != nullptr)
      c.fail("changed() of '{}'", type_name(v));
  loop->last_seen = a.positional;
  return !same;
}

}  // namespace

Value find_function(const std::string& name) {
  static const std::unordered_map<std::string_view, Value (*)(Context&, Arguments&)> all = {
      {"range", range},
      {"dict", make_dict},
      {"namespace", make_namespace},
      {"raise_exception", raise_exception},
      {"strftime_now", strftime_now},
      {"joiner", joiner},
  };
  const auto found = all.find(name);
  return found == all.end() ? Value() : make_callable(name, found->second);
}

Value loop_attribute(Context& context, const std::shared_ptr<Loop>& loop, const std::string& name) {
  const auto& items = loop->items->items;
  const auto index = static_cast<int64_t>(loop->index), size = static_cast<int64_t>(items.size());
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return size - index;
  if (name == "revindex0") return size - index - 1;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == size;
  if (name == "length") return size;
  if (name == "depth") return int64_t{loop->level};
  if (name == "depth0") return int64_t{loop->level - 1};
  if (name == "previtem")
    return index > 0 ? items[loop->index - 1] : context.undefined("there is no previous item");
  if (name == "nextitem")
    return index + 1 < size ? items[loop->index + 1] : context.undefined("there is no next item");
  if (name == "cycle")
    return make_callable(name, [loop](Context& c, Arguments& a) { return cycle(c, loop, a); });
  if (name == "changed")
    return make_callable(name, [loop](Context& c, Arguments& a) { return changed(c, loop, a); });
  return context.undefined(fmt::format("'loop' has no attribute '{}'", name.substr(0, 60)));
}

}  // namespace tumbler::jinja
