// The methods that strings, lists and dicts have for templates. None changes its object.
#include <algorithm>
#include <string_view>
#include <unordered_map>

#include <unicode/uchar.h>

#include "chat/jinja/context.h"

namespace tumbler::jinja {
namespace {

using TextMethod = Value (*)(Context&, const Text&, Arguments&);

Value strip_method(Context& c, const Text& s, Arguments& a, Side side) {
  const Value* set = a.find(0, "chars");
  if (set == nullptr || set->is_none()) return c.make(strip(s, side));
  return c.make(strip(s, side, a.text(c, 0, "chars", "").bytes));
}

Value list_of(Context& c, std::vector<Text> parts) {
  std::vector<Value> items;
  c.step(static_cast<int64_t>(parts.size()));
  items.reserve(parts.size());
  for (Text& part : parts) items.push_back(c.make(std::move(part)));
  return c.make_list(std::move(items));
}

Value split_method(Context& c, const Text& s, Arguments& a, bool right) {
  const Value* given = a.find(0, "sep");
  const int64_t limit = a.integer(c, 1, "maxsplit", -1);
  c.step(static_cast<int64_t>(s.bytes.size()) / 16);
  // Each part takes some hundred bytes for a while; there are at most as many as bytes.
  c.spend(static_cast<int64_t>(s.bytes.size()));
  if (given == nullptr || given->is_none()) {
    if (right && limit >= 0) c.fail("rsplit() at white space with a limit is not supported");
    return list_of(c, split_space(s, limit));
  }
  const Text separator = a.text(c, 0, "sep", "");
  if (separator.bytes.empty()) c.fail("split() with an empty separator");
  const bool any = s.bytes.find(separator.bytes) != std::string::npos;
  if (!any) return list_of(c, {s});
  return list_of(c, right ? split_right(s, separator.bytes, limit) : split(s, separator.bytes, limit));
}

// The part of s between the optional bounds start and end, in bytes; nothing where it is no part.
std::optional<Range> bounds(Context& c, const Text& s, Arguments& a, size_t place) {
  const Value *from = a.find(place, "start"), *to = a.find(place + 1, "end");
  const auto none = [](const Value* v) { return v == nullptr || v->is_none(); };
  if (none(from) && none(to)) return Range{0, s.bytes.size()};
  const auto offsets = code_point_offsets(s.bytes);
  const auto size = static_cast<int64_t>(offsets.size()) - 1;
  const auto clip = [&](const Value* v, int64_t missing) {
    if (none(v)) return missing;
    const auto i = v->as_int();
    if (!i) c.fail("a bound is '{}', expected an integer", type_name(*v));
    return *i < 0 ? std::max<int64_t>(std::max(*i, -size - 1) + size, 0) : *i;
  };
  const int64_t begin = clip(from, 0), end = std::min(clip(to, size), size);
  if (begin > size || begin > end) return std::nullopt;
  return Range{offsets[static_cast<size_t>(begin)], offsets[static_cast<size_t>(end)]};
}

Value affix(Context& c, const Text& s, Arguments& a, bool start) {
  const Value& given = a.get(c, 0, start ? "prefix" : "suffix");
  const auto range = bounds(c, s, a, 1);
  if (!range) return false;
  const std::string_view part = std::string_view(s.bytes).substr(range->begin, range->end - range->begin);
  const auto matches = [&](const Value& v) {
    if (v.text() == nullptr) c.fail("startswith() and endswith() need strings, got '{}'", type_name(v));
    return start ? part.starts_with(v.text()->bytes) : part.ends_with(v.text()->bytes);
  };
  const List* choices = given.list();
  if (choices == nullptr || choices->kind != List::kTuple) return matches(given);
  return std::any_of(choices->items.begin(), choices->items.end(), matches);
}

// Code point index of a substring, -1 where it is missing.
Value find_text(Context& c, const Text& s, Arguments& a, bool last, bool must) {
  const Text what = a.text(c, 0, "sub", "");
  a.get(c, 0, "sub");
  const auto range = bounds(c, s, a, 1);
  c.step(static_cast<int64_t>(s.bytes.size()) / 16);
  size_t at = std::string_view::npos;
  if (range) {
    const std::string_view part = std::string_view(s.bytes).substr(range->begin, range->end - range->begin);
    at = last ? part.rfind(what.bytes) : part.find(what.bytes);
    if (at != std::string_view::npos) at += range->begin;
  }
  if (at == std::string_view::npos && must) c.fail("substring not found");
  if (at == std::string_view::npos) return int64_t{-1};
  return static_cast<int64_t>(count_code_points(std::string_view(s.bytes).substr(0, at)));
}

Value count_text(Context& c, const Text& s, Arguments& a) {
  const Text what = a.text(c, 0, "sub", "");
  a.get(c, 0, "sub");
  const auto range = bounds(c, s, a, 1);
  c.step(static_cast<int64_t>(s.bytes.size()) / 16);
  if (!range) return int64_t{0};
  const Text part = s.sub(range->begin, range->end);
  const auto length = static_cast<int64_t>(count_code_points(part.bytes));
  if (what.bytes.empty()) return length + 1;
  return static_cast<int64_t>(
      (replaced_size(part, what.bytes, what.bytes.size() + 1, -1) - part.bytes.size()));
}

Value replace_method(Context& c, const Text& s, Arguments& a) {
  a.get(c, 0, "old"), a.get(c, 1, "new");
  const Text old = a.text(c, 0, "old", ""), fresh = a.text(c, 1, "new", "");
  const int64_t limit = a.integer(c, 2, "count", -1);
  c.step(static_cast<int64_t>(s.bytes.size()) / 16);
  c.spend(
      static_cast<int64_t>(replaced_size(s, old.bytes, fresh.bytes.size() + 16 * fresh.input.size(), limit)));
  return Value(replace(s, old.bytes, fresh, limit));
}

Value partition(Context& c, const Text& s, Arguments& a, bool last) {
  const Text separator = a.text(c, 0, "sep", "");
  if (separator.bytes.empty()) c.fail("partition() needs a separator");
  const size_t at = last ? s.bytes.rfind(separator.bytes) : s.bytes.find(separator.bytes);
  std::vector<Value> parts = {c.make(s), Value(""), Value("")};
  if (at == std::string::npos) {
    if (last) std::swap(parts[0], parts[2]);
  } else {
    parts = {c.make(s.sub(0, at)), c.make(s.sub(at, at + separator.bytes.size())),
             c.make(s.sub(at + separator.bytes.size(), s.bytes.size()))};
  }
  return c.make_list(std::move(parts), List::kTuple);
}

Value join_method(Context& c, const Text& s, Arguments& a) {
  Text out;
  bool first = true;
  for (const Value& item : c.iterate(a.get(c, 0, "iterable"))) {
    if (item.text() == nullptr) c.fail("join() needs strings, got '{}'", type_name(item));
    c.step();
    c.spend(weight_of(item) + static_cast<int64_t>(s.bytes.size()));
    if (!first) out.append(s);
    first = false;
    out.append(*item.text());
  }
  return Value(std::move(out));
}

Value justify(Context& c, const Text& s, Arguments& a, char align) {
  a.get(c, 0, "width");
  const int64_t width = a.integer(c, 0, "width", 0);
  const auto missing = width - static_cast<int64_t>(count_code_points(s.bytes));
  Text fill = align == '0' ? Text("0") : a.text(c, 1, "fillchar", " ");
  if (count_code_points(fill.bytes) != 1) c.fail("the fill character must be one character");
  if (missing <= 0) return c.make(s);
  c.spend(missing > INT64_MAX / 4 ? INT64_MAX : missing * 4);
  // Of an odd number str.center() puts the larger half in front where the width is odd.
  const int64_t before = align == '<' ? 0 : align == '^' ? missing / 2 + (missing & width & 1) : missing;
  const bool sign = align == '0' && !s.bytes.empty() && (s.bytes[0] == '-' || s.bytes[0] == '+');
  Text out = sign ? s.sub(0, 1) : Text();
  for (int64_t i = 0; i < before; ++i) out.append(fill);
  out.append(sign ? s.sub(1, s.bytes.size()) : s);
  for (int64_t i = before; i < missing; ++i) out.append(fill);
  return c.make(std::move(out));
}

// str.isX(): true where there is a character and all pass.
template <class F>
bool all_characters(Context& c, const Text& s, F passes) {
  c.step(static_cast<int64_t>(s.bytes.size()) / 8);
  for (size_t i = 0, length = 0; i < s.bytes.size(); i += length)
    if (!passes(static_cast<UChar32>(code_point_at(s.bytes, i, length)))) return false;
  return !s.bytes.empty();
}

// Cased letters are there, and all are of this case.
bool all_of_case(Context& c, const Text& s, UProperty wanted, UProperty other) {
  bool any = false;
  const bool clean = all_characters(c, s, [&](UChar32 ch) {
    any |= u_hasBinaryProperty(ch, wanted) != 0;
    return !u_hasBinaryProperty(ch, other) && u_charType(ch) != U_TITLECASE_LETTER;
  });
  return clean && any;
}

bool is_letter(UChar32 ch) {
  return (U_GET_GC_MASK(ch) & U_GC_L_MASK) != 0;
}
bool is_digit(UChar32 ch) {
  const int32_t type = u_getIntPropertyValue(ch, UCHAR_NUMERIC_TYPE);
  return type == U_NT_DECIMAL || type == U_NT_DIGIT;
}
bool is_numeric(UChar32 ch) {
  return u_getIntPropertyValue(ch, UCHAR_NUMERIC_TYPE) != U_NT_NONE;
}

template <std::string (*F)(std::string_view)>
Value mapped(Context& c, const Text& s, Arguments&) {
  c.step(static_cast<int64_t>(s.bytes.size()) / 8);
  return c.make(map_text(s, F));
}

template <bool (*F)(UChar32)>
Value checked(Context& c, const Text& s, Arguments&) {
  return all_characters(c, s, F);
}

std::string swap_case(std::string_view s) {
  std::string out;
  for (size_t i = 0, length = 0; i < s.size(); i += length) {
    const auto c = static_cast<UChar32>(code_point_at(s, i, length));
    const std::string_view one = s.substr(i, length);
    out += u_hasBinaryProperty(c, UCHAR_UPPERCASE)   ? to_lower(one)
           : u_hasBinaryProperty(c, UCHAR_LOWERCASE) ? to_upper(one)
                                                     : std::string(one);
  }
  return out;
}

const std::unordered_map<std::string_view, TextMethod>& text_methods() {
  using C = Context;
  using A = Arguments;
  static const std::unordered_map<std::string_view, TextMethod> all = {
      {"strip", [](C& c, const Text& s, A& a) { return strip_method(c, s, a, Side::kBoth); }},
      {"lstrip", [](C& c, const Text& s, A& a) { return strip_method(c, s, a, Side::kLeft); }},
      {"rstrip", [](C& c, const Text& s, A& a) { return strip_method(c, s, a, Side::kRight); }},
      {"split", [](C& c, const Text& s, A& a) { return split_method(c, s, a, false); }},
      {"rsplit", [](C& c, const Text& s, A& a) { return split_method(c, s, a, true); }},
      {"splitlines",
       [](C& c, const Text& s, A& a) {
         c.spend(static_cast<int64_t>(s.bytes.size()));
         return list_of(c, split_lines(s, a.flag(0, "keepends", false)));
       }},
      {"startswith", [](C& c, const Text& s, A& a) { return affix(c, s, a, true); }},
      {"endswith", [](C& c, const Text& s, A& a) { return affix(c, s, a, false); }},
      {"find", [](C& c, const Text& s, A& a) { return find_text(c, s, a, false, false); }},
      {"rfind", [](C& c, const Text& s, A& a) { return find_text(c, s, a, true, false); }},
      {"index", [](C& c, const Text& s, A& a) { return find_text(c, s, a, false, true); }},
      {"rindex", [](C& c, const Text& s, A& a) { return find_text(c, s, a, true, true); }},
      {"count", count_text},
      {"replace", replace_method},
      {"partition", [](C& c, const Text& s, A& a) { return partition(c, s, a, false); }},
      {"rpartition", [](C& c, const Text& s, A& a) { return partition(c, s, a, true); }},
      {"join", join_method},
      {"ljust", [](C& c, const Text& s, A& a) { return justify(c, s, a, '<'); }},
      {"rjust", [](C& c, const Text& s, A& a) { return justify(c, s, a, '>'); }},
      {"center", [](C& c, const Text& s, A& a) { return justify(c, s, a, '^'); }},
      {"zfill", [](C& c, const Text& s, A& a) { return justify(c, s, a, '0'); }},
      {"removeprefix",
       [](C& c, const Text& s, A& a) {
         const Text p = a.text(c, 0, "prefix", "");
         return c.make(s.bytes.starts_with(p.bytes) ? s.sub(p.bytes.size(), s.bytes.size()) : s);
       }},
      {"removesuffix",
       [](C& c, const Text& s, A& a) {
         const Text p = a.text(c, 0, "suffix", "");
         return c.make(s.bytes.ends_with(p.bytes) ? s.sub(0, s.bytes.size() - p.bytes.size()) : s);
       }},
      {"upper", mapped<to_upper>},
      {"lower", mapped<to_lower>},
      {"casefold", mapped<to_lower>},
      {"capitalize", mapped<capitalize>},
      {"title", mapped<title>},
      {"swapcase", mapped<swap_case>},
      {"isalpha", checked<is_letter>},
      {"isdigit", checked<is_digit>},
      {"isdecimal",
       [](C& c, const Text& s, A&) {
         return Value(
             all_characters(c, s, [](UChar32 ch) { return u_charType(ch) == U_DECIMAL_DIGIT_NUMBER; }));
       }},
      {"isnumeric", checked<is_numeric>},
      {"isalnum",
       [](C& c, const Text& s, A&) {
         return Value(all_characters(c, s, [](UChar32 ch) { return is_letter(ch) || is_numeric(ch); }));
       }},
      {"isspace",
       [](C& c, const Text& s, A&) {
         return Value(all_characters(c, s, [](UChar32 ch) { return is_space(static_cast<uint32_t>(ch)); }));
       }},
      {"isupper",
       [](C& c, const Text& s, A&) { return Value(all_of_case(c, s, UCHAR_UPPERCASE, UCHAR_LOWERCASE)); }},
      {"islower",
       [](C& c, const Text& s, A&) { return Value(all_of_case(c, s, UCHAR_LOWERCASE, UCHAR_UPPERCASE)); }},
      {"format", [](C& c, const Text& s, A& a) { return c.make(format_braces(c, s, a)); }},
  };
  return all;
}

Value make_method(std::string name, Function call, bool forbidden = false) {
  auto callable = std::make_shared<Callable>();
  callable->name = std::move(name);
  callable->call = std::move(call);
  callable->forbidden = forbidden;
  return Value(std::shared_ptr<const Callable>(std::move(callable)));
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

enum class Part : uint8_t { kKeys, kValues, kItems };

Value dict_part(Context& c, const Dict& dict, Part part) {
  std::vector<Value> items;
  c.step(static_cast<int64_t>(dict.items.size()));
  for (const auto& [key, value] : dict.items)
    items.push_back(part == Part::kKeys     ? key
                    : part == Part::kValues ? value
                                            : c.make_list({key, value}, List::kTuple));
  return c.make_list(std::move(items));
}

Value find_dict_method(const Value& object, const std::string& name) {
  if (is_one_of(name, {"clear", "pop", "popitem", "setdefault", "update"}))
    return make_method(name, {}, true);
  if (name == "get")
    return make_method(name, [object](Context& c, Arguments& a) {
      const Value* missing = a.find(1, "default");
      const Value& key = a.get(c, 0, "key");
      a.finish(c);
      c.step(static_cast<int64_t>(object.dict()->items.size()) / 8);
      const Value* found = object.dict()->find(key);
      return found != nullptr ? *found : missing != nullptr ? *missing : Value(None{});
    });
  if (name == "copy")
    return make_method(name, [object](Context& c, Arguments& a) {
      a.finish(c);
      return object;
    });
  if (!is_one_of(name, {"keys", "values", "items"})) return {};
  const Part part = name == "keys" ? Part::kKeys : name == "values" ? Part::kValues : Part::kItems;
  return make_method(name, [object, part](Context& c, Arguments& a) {
    a.finish(c);
    return dict_part(c, *object.dict(), part);
  });
}

Value find_list_method(const Value& object, const std::string& name) {
  const bool tuple = object.list()->kind == List::kTuple;
  if (!tuple && is_one_of(name, {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"}))
    return make_method(name, {}, true);
  if (name == "copy" && !tuple)
    return make_method(name, [object](Context& c, Arguments& a) {
      a.finish(c);
      return object;
    });
  if (name != "index" && name != "count") return {};
  return make_method(name, [object, count = name == "count"](Context& c, Arguments& a) -> Value {
    const Value& item = a.get(c, 0, "value");
    a.finish(c);
    int64_t found = 0;
    for (size_t i = 0; i < object.list()->items.size(); ++i) {
      if (!c.equals(object.list()->items[i], item)) continue;
      if (!count) return static_cast<int64_t>(i);
      ++found;
    }
    if (!count) c.fail("the value is not in the list");
    return found;
  });
}

}  // namespace

Value find_method(Context& context, const Value& object, const std::string& name) {
  context.step();
  if (object.text() != nullptr) {
    const auto found = text_methods().find(name);
    if (found == text_methods().end()) return {};
    return make_method(name, [object, method = found->second](Context& c, Arguments& a) {
      // Strings and lists that come from a text hold at most its bytes; each method pays for what it makes.
      Value result = method(c, *object.text(), a);
      if (method != text_methods().at("format")) a.finish(c);
      return result;
    });
  }
  if (object.dict() != nullptr) return find_dict_method(object, name);
  if (object.list() != nullptr && object.list()->kind != List::kGenerator)
    return find_list_method(object, name);
  return {};
}

}  // namespace tumbler::jinja
