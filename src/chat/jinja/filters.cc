// The filters behind `|`, as Jinja 3.1 and transformers (tojson) define them.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include <unicode/uchar.h>

#include "chat/jinja/context.h"

namespace tumbler::jinja {
namespace {

using Filter = Value (*)(Context&, const Value&, Arguments&);
using C = Context;
using V = Value;
using A = Arguments;

// Case is ignored by sort, unique, min, max, dictsort unless they are told otherwise.
V fold(C& c, const V& v) {
  return v.text() != nullptr ? c.make(map_text(*v.text(), to_lower)) : v;
}

V f_trim(C& c, const V& v, A& a) {
  const Text text = c.text_of(v);
  const V* set = a.find(0, "chars");
  if (set == nullptr || set->is_none()) return c.make(strip(text));
  return c.make(strip(text, Side::kBoth, a.text(c, 0, "chars", "").bytes));
}

template <std::string (*F)(std::string_view)>
V f_mapped(C& c, const V& v, A&) {
  return c.make(map_text(c.text_of(v), F));
}

// Each word's first character upper, the others lower; words begin behind blanks, '-' and opening brackets.
std::string title_words(std::string_view s) {
  std::string out;
  size_t begin = 0;
  const auto flush = [&](size_t end) {
    const std::string_view word = s.substr(begin, end - begin);
    if (word.empty()) return;
    size_t length = 0;
    code_point_at(word, 0, length);
    out += to_upper(word.substr(0, length)) + to_lower(word.substr(length));
  };
  for (size_t i = 0, length = 0; i < s.size(); i += length) {
    const uint32_t c = code_point_at(s, i, length);
    if (!(is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<')) continue;
    flush(i);
    out += s.substr(i, length);
    begin = i + length;
  }
  flush(s.size());
  return out;
}

V f_length(C& c, const V& v, A&) {
  const auto n = length(v);
  if (!n) c.fail("'{}' has no length", type_name(v));
  return *n;
}

V f_default(C& c, const V& v, A& a) {
  const V* given = a.find(0, "default_value");
  const bool also_false = a.flag(1, "boolean", false);
  (void)c;
  if (!v.is_undefined() && !(also_false && !is_true(v))) return v;
  return given != nullptr ? *given : V("");
}

V f_join(C& c, const V& v, A& a) {
  const V* given = a.find(0, "d");
  const V* attribute = a.find(1, "attribute");
  const Text separator = given == nullptr ? Text() : c.text_of(*given);
  Text out;
  bool first = true;
  for (const V& item : c.iterate(v)) {
    const Text part =
        c.text_of(attribute != nullptr && !attribute->is_none() ? c.path(item, *attribute) : item);
    c.step();
    c.spend(static_cast<int64_t>(part.bytes.size() + separator.bytes.size() + 16 * separator.input.size()));
    if (!first) out.append(separator);
    first = false;
    out.append(part);
  }
  return V(std::move(out));
}

V f_first(C& c, const V& v, A&) {
  const auto list = c.iterate(v);
  return list.empty() ? c.undefined("no first item, sequence was empty") : list[0];
}

V f_last(C& c, const V& v, A&) {
  if (v.list() != nullptr && v.list()->kind == List::kGenerator) c.fail("a generator has no last item");
  const auto list = c.iterate(v);
  return list.empty() ? c.undefined("no last item, sequence was empty") : list[list.size() - 1];
}

V f_replace(C& c, const V& v, A& a) {
  const Text text = c.text_of(v), old = c.text_of(a.get(c, 0, "old")), fresh = c.text_of(a.get(c, 1, "new"));
  const V* count = a.find(2, "count");
  const int64_t limit = count == nullptr || count->is_none() ? -1 : a.integer(c, 2, "count", -1);
  c.step(static_cast<int64_t>(text.bytes.size()) / 16);
  c.spend(static_cast<int64_t>(
      replaced_size(text, old.bytes, fresh.bytes.size() + 16 * fresh.input.size(), limit)));
  return V(replace(text, old.bytes, fresh, limit));
}

// The test that select and reject run, with the arguments behind its name.
class Selector {
 public:
  Selector(C& c, A& a, size_t skip) : context_(c) {
    if (const V* name = a.find(skip, "")) {
      name_ = c.text_of(*name).bytes;
      rest_.positional.assign(a.positional.begin() + static_cast<ptrdiff_t>(skip) + 1, a.positional.end());
    }
    rest_.named = a.named;
    a.positional.clear();
    a.named.clear();
  }
  bool operator()(const V& v) {
    A arguments = rest_;
    return name_.empty() ? is_true(v) : context_.test(name_, v, arguments);
  }

 private:
  C& context_;
  std::string name_;
  A rest_;
};

template <bool keep, bool by_attribute>
V f_select(C& c, const V& v, A& a) {
  V attribute;
  if (by_attribute) attribute = a.get(c, 0, "attribute");
  Selector passes(c, a, by_attribute ? 1 : 0);
  std::vector<V> items;
  for (const V& item : c.iterate(v))
    if (passes(by_attribute ? c.path(item, attribute) : item) == keep) items.push_back(item);
  return c.make_list(std::move(items), List::kGenerator);
}

V f_map(C& c, const V& v, A& a) {
  std::vector<V> items;
  const auto named = [&](std::string_view name) {
    const auto found =
        std::find_if(a.named.begin(), a.named.end(), [&](const auto& n) { return n.first == name; });
    return found == a.named.end() ? nullptr : &found->second;
  };
  if (const V* attribute = named("attribute"); attribute != nullptr && a.positional.empty()) {
    const V* missing = named("default");
    for (const V& item : c.iterate(v)) {
      V found = c.path(item, *attribute);
      items.push_back(found.is_undefined() && missing != nullptr ? *missing : found);
    }
  } else {
    const std::string name = c.text_of(a.get(c, 0, "filter")).bytes;
    for (const V& item : c.iterate(v)) {
      A rest;
      rest.positional.assign(a.positional.begin() + 1, a.positional.end());
      rest.named = a.named;
      items.push_back(c.filter(name, item, rest));
    }
  }
  a.positional.clear();
  a.named.clear();
  return c.make_list(std::move(items), List::kGenerator);
}

V f_list(C& c, const V& v, A&) {
  auto items = c.iterate(v).list()->items;
  return c.make_list(std::move(items));
}

V f_items(C& c, const V& v, A&) {
  if (v.is_undefined()) return c.make_list({}, List::kGenerator);
  if (v.dict() == nullptr) c.fail("items of '{}', expected a mapping", type_name(v));
  std::vector<V> items;
  for (const auto& [key, value] : v.dict()->items) items.push_back(c.make_list({key, value}, List::kTuple));
  return c.make_list(std::move(items), List::kGenerator);
}

V f_string(C& c, const V& v, A&) {
  return v.is_string() ? v : c.make(c.text_of(v));
}

// A number in the text, as Python's float() reads it.
std::optional<double> parse_float(const Text& text) {
  std::string s = strip(text).bytes;
  std::erase(s, '_');
  const std::string_view digits = std::string_view(s).substr(!s.empty() && (s[0] == '+' || s[0] == '-'));
  if (digits.empty() || digits.find_first_of("xXpP(+") == 0 ||
      digits.find_first_of("xXpP(") != std::string_view::npos)
    return std::nullopt;
  double value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (stop != digits.data() + digits.size() || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) value = std::strtod(std::string(digits).c_str(), nullptr);
  return s[0] == '-' ? -value : value;
}

std::optional<int64_t> parse_integer(const Text& text, int base) {
  std::string s = strip(text).bytes;
  std::erase(s, '_');
  const bool negative = s.starts_with('-');
  std::string_view digits = std::string_view(s).substr(negative || s.starts_with('+') ? 1 : 0);
  if (base == 16 && (digits.starts_with("0x") || digits.starts_with("0X"))) digits.remove_prefix(2);
  if (base == 8 && (digits.starts_with("0o") || digits.starts_with("0O"))) digits.remove_prefix(2);
  if (base == 2 && (digits.starts_with("0b") || digits.starts_with("0B"))) digits.remove_prefix(2);
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (digits.empty() || digits[0] == '-' || error != std::errc() || stop != digits.data() + digits.size())
    return std::nullopt;
  return negative ? -value : value;
}

V f_int(C& c, const V& v, A& a) {
  const V* given = a.find(0, "default");
  V missing = given == nullptr ? V(int64_t{0}) : *given;
  const int64_t base = a.integer(c, 1, "base", 10);
  if (v.is_undefined()) c.fail("int of an undefined value");
  if (base < 2 || base > 36) c.fail("int() with base {}", base);
  if (const auto i = v.as_int()) return *i;
  std::optional<double> number = v.as_number();
  if (v.text() != nullptr) {
    if (const auto i = parse_integer(*v.text(), static_cast<int>(base))) return *i;
    number = parse_float(*v.text());
  }
  if (!number || !(std::fabs(*number) < 9.2e18)) return missing;
  return static_cast<int64_t>(*number);
}

V f_float(C& c, const V& v, A& a) {
  const V* given = a.find(0, "default");
  if (v.is_undefined()) c.fail("float of an undefined value");
  const auto number = v.text() != nullptr ? parse_float(*v.text()) : v.as_number();
  if (number) return *number;
  return given == nullptr ? V(0.0) : *given;
}

V f_abs(C& c, const V& v, A&) {
  if (v.is_float()) return std::fabs(*v.as_number());
  if (!v.as_int()) c.fail("abs of '{}', expected a number", type_name(v));
  return *v.as_int() < 0 ? c.negate(v) : V(*v.as_int());
}

// To the nearest, halves to the even digit: Python's round().
double round_half_even(double x, double scale) {
  const double y = x * scale;
  return std::isfinite(y) ? std::nearbyint(y) / scale : x;
}

V f_round(C& c, const V& v, A& a) {
  const int64_t precision = a.integer(c, 0, "precision", 0);
  const std::string method = a.text(c, 1, "method", "common").bytes;
  if (!v.is_number()) c.fail("round of '{}', expected a number", type_name(v));
  if (precision < -30 || precision > 30) c.fail("round() to {} digits", precision);
  const double x = *v.as_number(), scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return std::ceil(x * scale) / scale;
  if (method == "floor") return std::floor(x * scale) / scale;
  if (method != "common") c.fail("round() by '{}', expected common, ceil or floor", method);
  if (v.as_int() && precision >= 0) return V(*v.as_int());
  if (precision < 0) return round_half_even(x, scale);
  // By its decimal digits, so that 2.675 (which lies below) goes to 2.67.
  const std::string digits = fmt::format("{:.{}f}", x, precision);
  return std::isfinite(x) ? V(std::strtod(digits.c_str(), nullptr)) : v;
}

// What sort, unique, min and max compare.
class Key {
 public:
  // With `several`, values between commas are attributes, and undefined ones compare as equal.
  Key(C& c, A& a, size_t case_place, size_t attribute_place, bool several = false)
      : context_(c), fold_(!a.flag(case_place, "case_sensitive", false)), as_list_(several) {
    const V* given = a.find(attribute_place, "attribute");
    if (given == nullptr || given->is_none()) return;
    if (several && given->text() != nullptr)
      for (const Text& part : split(*given->text(), ",", -1)) attributes_.emplace_back(part);
    else
      attributes_.push_back(*given);
  }
  V operator()(const V& item) const {
    if (attributes_.empty()) return one(item);
    if (attributes_.size() == 1 && !as_list_) return one(context_.path(item, attributes_[0]));
    std::vector<V> keys;
    for (const V& attribute : attributes_) keys.push_back(one(context_.path(item, attribute)));
    return context_.make_list(std::move(keys));
  }

 private:
  V one(const V& v) const { return fold_ ? fold(context_, v) : v; }
  C& context_;
  bool fold_, as_list_;
  std::vector<V> attributes_;
};

using Keyed = std::vector<std::pair<V, V>>;  // key, item

Keyed keyed(C& c, const V& v, const Key& key) {
  Keyed out;
  for (const V& item : c.iterate(v)) out.emplace_back(key(item), item);
  return out;
}

void sort_keyed(C& c, Keyed& items, bool reverse) {
  std::stable_sort(items.begin(), items.end(), [&](const auto& x, const auto& y) {
    return (reverse ? c.compare(y.first, x.first) : c.compare(x.first, y.first)) < 0;
  });
}

V f_sort(C& c, const V& v, A& a) {
  const bool reverse = a.flag(0, "reverse", false);
  Keyed items = keyed(c, v, Key(c, a, 1, 2, true));
  sort_keyed(c, items, reverse);
  std::vector<V> out;
  for (auto& [key, item] : items) out.push_back(std::move(item));
  return c.make_list(std::move(out));
}

V f_unique(C& c, const V& v, A& a) {
  const Keyed items = keyed(c, v, Key(c, a, 0, 1));
  std::vector<V> seen, out;
  for (const auto& [key, item] : items) {
    const bool known = std::any_of(seen.begin(), seen.end(), [&, &wanted = key](const V& s) {
      c.step();
      return c.equals(s, wanted);
    });
    if (known) continue;
    seen.push_back(key);
    out.push_back(item);
  }
  return c.make_list(std::move(out), List::kGenerator);
}

template <int sign>
V f_extreme(C& c, const V& v, A& a) {
  const Keyed items = keyed(c, v, Key(c, a, 0, 1));
  if (items.empty()) return c.undefined("no aggregated item, sequence was empty");
  size_t best = 0;
  for (size_t i = 1; i < items.size(); ++i)
    if (c.compare(items[i].first, items[best].first) * sign > 0) best = i;
  return items[best].second;
}

V f_sum(C& c, const V& v, A& a) {
  const V* attribute = a.find(0, "attribute");
  const V* start = a.find(1, "start");
  V total = start == nullptr ? V(int64_t{0}) : *start;
  if (total.is_string()) c.fail("sum of strings; use join");
  for (const V& item : c.iterate(v))
    total = c.arithmetic(Op::kAdd, total,
                         attribute != nullptr && !attribute->is_none() ? c.path(item, *attribute) : item);
  return total;
}

V f_dictsort(C& c, const V& v, A& a) {
  if (v.dict() == nullptr) c.fail("dictsort of '{}', expected a mapping", type_name(v));
  const bool as_is = a.flag(0, "case_sensitive", false);
  const std::string by = a.text(c, 1, "by", "key").bytes;
  const bool reverse = a.flag(2, "reverse", false);
  if (by != "key" && by != "value") c.fail("dictsort by '{}', expected key or value", by);
  Keyed items;
  for (const auto& [key, value] : v.dict()->items) {
    const V& what = by == "key" ? key : value;
    items.emplace_back(as_is ? what : fold(c, what), c.make_list({key, value}, List::kTuple));
  }
  sort_keyed(c, items, reverse);
  std::vector<V> out;
  for (auto& [key, item] : items) out.push_back(std::move(item));
  return c.make_list(std::move(out));
}

V f_reverse(C& c, const V& v, A&) {
  if (const Text* text = v.text()) {
    Text out;
    const auto offsets = code_point_offsets(text->bytes);
    c.step(static_cast<int64_t>(offsets.size()));
    for (size_t i = offsets.size() - 1; i > 0; --i) out.append(text->sub(offsets[i - 1], offsets[i]));
    return c.make(std::move(out));
  }
  auto items = c.iterate(v).list()->items;
  std::reverse(items.begin(), items.end());
  const bool was_generator = v.list() != nullptr && v.list()->kind == List::kGenerator;
  return c.make_list(std::move(items), was_generator ? List::kList : List::kGenerator);
}

V f_indent(C& c, const V& v, A& a) {
  if (v.text() == nullptr) c.fail("indent of '{}', expected a string", type_name(v));
  Text text = *v.text();
  const V* width = a.find(0, "width");
  const bool first = a.flag(1, "first", false), blank = a.flag(2, "blank", false);
  Text by;
  if (width != nullptr && width->is_string()) {
    by = *width->text();
  } else {
    const int64_t blanks = a.integer(c, 0, "width", 4);
    c.spend(blanks);
    by = Text(std::string(static_cast<size_t>(std::max<int64_t>(blanks, 0)), ' '));
  }
  text.append("\n");  // a line end at the end makes one more line
  std::vector<Text> lines = split_lines(text);
  Text out;
  for (size_t i = 0; i < lines.size(); ++i) {
    c.step();
    c.spend(static_cast<int64_t>(by.bytes.size() + lines[i].bytes.size() + 16 * by.input.size()));
    if (i > 0) out.append("\n");
    if (i == 0 ? first : blank || !lines[i].bytes.empty()) out.append(by);
    out.append(lines[i]);
  }
  return V(std::move(out));
}

V f_escape(C& c, const V& v, A&) {
  static constexpr std::pair<char, const char*> kEscapes[] = {
      {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&#34;"}, {'\'', "&#39;"}};
  const Text text = c.text_of(v);
  c.spend(static_cast<int64_t>(text.bytes.size()) * 5);
  return V(map_text(text, [](std::string_view s) {
    std::string out;
    for (const char ch : s) {
      const auto* e =
          std::find_if(std::begin(kEscapes), std::end(kEscapes), [&](auto& p) { return p.first == ch; });
      if (e == std::end(kEscapes))
        out += ch;
      else
        out += e->second;
    }
    return out;
  }));
}

V f_tojson(C& c, const V& v, A& a) {
  JsonStyle style;
  style.ascii = a.flag(0, "ensure_ascii", false);
  if (const V* indent = a.find(1, "indent"); indent != nullptr && !indent->is_none()) {
    if (indent->is_string()) {
      style.indent = indent->text()->bytes;
    } else {
      const int64_t blanks = a.integer(c, 1, "indent", 0);
      if (blanks > 1000) c.fail("tojson with an indent of {}", blanks);
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(blanks, 0)), ' ');
    }
    style.item_separator = ",";
  }
  if (const V* separators = a.find(2, "separators"); separators != nullptr && !separators->is_none()) {
    const auto pair = c.iterate(*separators);
    if (pair.size() != 2) c.fail("tojson needs two separators");
    style.item_separator = c.text_of(pair[0]).bytes;
    style.key_separator = c.text_of(pair[1]).bytes;
  }
  style.sort_keys = a.flag(3, "sort_keys", false);
  return V(to_json(c, v, style));
}

V f_wordcount(C& c, const V& v, A&) {
  const Text text = c.text_of(v);
  int64_t words = 0;
  bool inside = false;
  for (size_t i = 0, length = 0; i < text.bytes.size(); i += length) {
    const uint32_t ch = code_point_at(text.bytes, i, length);
    const bool word = ch == '_' || u_isalnum(static_cast<UChar32>(ch)) != 0;
    words += word && !inside;
    inside = word;
  }
  return words;
}

V f_batch(C& c, const V& v, A& a) {
  const int64_t size = a.integer(c, 0, "linecount", 0);
  const V* fill = a.find(1, "fill_with");
  if (size < 1) c.fail("batch() of {} items", size);
  std::vector<V> rows, row;
  const auto flush = [&] { rows.push_back(c.make_list(std::exchange(row, {}))); };
  for (const V& item : c.iterate(v)) {
    if (static_cast<int64_t>(row.size()) == size) flush();
    row.push_back(item);
  }
  if (!row.empty()) {
    c.spend(fill != nullptr && !fill->is_none() ? std::min(size, INT64_MAX / 64) * 64 : 0);
    while (fill != nullptr && !fill->is_none() && static_cast<int64_t>(row.size()) < size)
      row.push_back(*fill);
    flush();
  }
  return c.make_list(std::move(rows), List::kGenerator);
}

V f_center(C& c, const V& v, A& a) {
  A method;
  method.positional.emplace_back(a.integer(c, 0, "width", 80));
  return c.call(find_method(c, V(c.text_of(v)), "center"), method);
}

V f_format(C& c, const V& v, A& a) {
  V given = a.named.empty() ? c.make_list(std::move(a.positional), List::kTuple) : V();
  if (!a.named.empty()) {
    if (!a.positional.empty()) c.fail("format() takes names or places, not both");
    std::vector<std::pair<V, V>> items;
    for (auto& [name, value] : a.named) items.emplace_back(V(name), value);
    given = c.make_dict(std::move(items));
  }
  a = {};
  return c.make(format_percent(c, c.text_of(v), given));
}

V f_attr(C& c, const V& v, A& a) {
  if (v.name_space() != nullptr || v.loop() != nullptr) return c.attribute(v, a.text(c, 0, "name", "").bytes);
  return find_method(c, v, a.text(c, 0, "name", "").bytes);
}

const std::unordered_map<std::string_view, Filter>& filters() {
  static const std::unordered_map<std::string_view, Filter> all = {
      {"trim", f_trim},
      {"upper", f_mapped<to_upper>},
      {"lower", f_mapped<to_lower>},
      {"capitalize", f_mapped<capitalize>},
      {"title", f_mapped<title_words>},
      {"length", f_length},
      {"count", f_length},
      {"default", f_default},
      {"d", f_default},
      {"join", f_join},
      {"first", f_first},
      {"last", f_last},
      {"replace", f_replace},
      {"select", f_select<true, false>},
      {"reject", f_select<false, false>},
      {"selectattr", f_select<true, true>},
      {"rejectattr", f_select<false, true>},
      {"map", f_map},
      {"list", f_list},
      {"items", f_items},
      {"string", f_string},
      {"safe", f_string},
      {"int", f_int},
      {"float", f_float},
      {"abs", f_abs},
      {"round", f_round},
      {"sort", f_sort},
      {"unique", f_unique},
      {"min", f_extreme<-1>},
      {"max", f_extreme<1>},
      {"sum", f_sum},
      {"dictsort", f_dictsort},
      {"reverse", f_reverse},
      {"indent", f_indent},
      {"escape", f_escape},
      {"e", f_escape},
      {"tojson", f_tojson},
      {"wordcount", f_wordcount},
      {"batch", f_batch},
      {"center", f_center},
      {"format", f_format},
      {"attr", f_attr},
  };
  return all;
}

}  // namespace

Value Context::filter(const std::string& name, const Value& input, Arguments& arguments) {
  step();
  const auto found = filters().find(name);
  if (found == filters().end()) fail("there is no filter named '{}'", name.substr(0, 60));
  const Level level(*this);
  Value result = found->second(*this, input, arguments);
  arguments.finish(*this);
  return result;
}

}  // namespace tumbler::jinja
