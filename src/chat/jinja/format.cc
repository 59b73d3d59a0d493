// "%-5s" % x and "{:>5}".format(x): the parts of Python's two mini-languages that print strings and numbers.
#include <algorithm>
#include <cmath>

#include "chat/jinja/context.h"

namespace tumbler::jinja {
namespace {

constexpr int64_t kMaxWidth = 10'000;

struct Style {
  char align = 0;  // < > ^ =
  std::string fill = " ";
  char sign = '-';
  bool alternate = false, comma = false;
  int64_t width = 0, precision = -1;
  char type = 0;
};

Text pad(const Text& text, const Style& style, char align) {
  const auto missing = style.width - static_cast<int64_t>(count_code_points(text.bytes));
  if (missing <= 0) return text;
  const int64_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  Text out;
  for (int64_t i = 0; i < before; ++i) out.append(style.fill);
  out.append(text);
  for (int64_t i = before; i < missing; ++i) out.append(style.fill);
  return out;
}

std::string with_commas(std::string digits) {
  const size_t end = std::min(digits.find_first_of(".eE"), digits.size());
  for (size_t i = end; i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

// 'g' of C keeps no trailing zeros, as Python's.
std::string float_digits(double x, const Style& style) {
  const int precision = style.precision < 0 ? 6 : static_cast<int>(style.precision);
  switch (style.type) {
    case 'f':
    case 'F':
      return fmt::format("{:.{}f}", x, precision);
    case 'e':
      return fmt::format("{:.{}e}", x, precision);
    case 'E':
      return fmt::format("{:.{}E}", x, precision);
    case 'g':
      return fmt::format("{:.{}g}", x, std::max(precision, 1));
    case 'G':
      return fmt::format("{:.{}G}", x, std::max(precision, 1));
    case '%':
      return fmt::format("{:.{}f}%", x * 100, precision);
    default:
      return style.precision < 0 ? float_text(x) : fmt::format("{:.{}g}", x, std::max(precision, 1));
  }
}

std::string integer_digits(Context& context, uint64_t x, const Style& style) {
  switch (style.type) {
    case 'x':
      return fmt::format("{}{:x}", style.alternate ? "0x" : "", x);
    case 'X':
      return fmt::format("{}{:X}", style.alternate ? "0X" : "", x);
    case 'o':
      return fmt::format("{}{:o}", style.alternate ? "0o" : "", x);
    case 'b':
      return fmt::format("{}{:b}", style.alternate ? "0b" : "", x);
    case 'd':
    case 'i':
    case 'u':
    case 0:
      return std::to_string(x);
    default:
      context.fail("the format '{}' of an integer is not known", style.type);
  }
}

Text number(Context& context, const Value& value, const Style& style) {
  if (style.precision > kMaxWidth || style.width > kMaxWidth)
    context.fail("a format wider than {}", kMaxWidth);
  bool negative = false;
  std::string digits;
  const bool as_float = value.is_float() || std::string_view("fFeEgG%").find(style.type ? style.type : ' ') !=
                                                std::string_view::npos;
  if (as_float) {
    const double x = *value.as_number();
    negative = std::signbit(x) && !std::isnan(x);
    digits = float_digits(std::fabs(x), style);
  } else {
    const int64_t x = *value.as_int();
    negative = x < 0;
    digits = integer_digits(
        context, negative ? uint64_t{0} - static_cast<uint64_t>(x) : static_cast<uint64_t>(x), style);
  }
  if (style.comma) digits = with_commas(std::move(digits));
  const std::string sign = negative ? "-" : style.sign == '-' ? "" : std::string(1, style.sign);
  if (style.align == '=') {
    Style inner = style;
    inner.width -= static_cast<int64_t>(sign.size());
    Text padded = pad(Text(digits), inner, '>');
    return Text(sign + padded.bytes);
  }
  return pad(Text(sign + digits), style, style.align != 0 ? style.align : '>');
}

Text string(Context& context, Text text, const Style& style) {
  if (style.width > kMaxWidth) context.fail("a format wider than {}", kMaxWidth);
  if (style.precision >= 0) {
    const auto offsets = code_point_offsets(text.bytes);
    const auto last = std::min(static_cast<size_t>(style.precision), offsets.size() - 1);
    text = text.sub(0, offsets[last]);
  }
  return pad(text, style, style.align != 0 ? style.align : '<');
}

// Digits at s[i] as a number; -1 where there are none.
int64_t read_number(Context& context, std::string_view s, size_t& i) {
  int64_t value = -1;
  for (; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i) {
    value = std::max<int64_t>(value, 0) * 10 + (s[i] - '0');
    if (value > kMaxWidth) context.fail("a number above {} in a format", kMaxWidth);
  }
  return value;
}

// Hands out the arguments of '%' one after the other.
class PercentArguments {
 public:
  PercentArguments(Context& context, const Value& value) : context_(context), value_(value) {
    const List* list = value.list();
    tuple_ = list != nullptr && list->kind == List::kTuple ? list : nullptr;
  }
  const Value& next() {
    if (tuple_ == nullptr && used_++ == 0) return value_;
    if (tuple_ == nullptr || used_ >= tuple_->items.size())
      context_.fail("not enough arguments for the format");
    return tuple_->items[used_++];
  }
  const Value& named(const std::string& key) {
    by_name_ = true;
    const Value* found = value_.dict() != nullptr ? value_.dict()->find(std::string_view(key)) : nullptr;
    if (found == nullptr) context_.fail("the format names '{}', which was not given", key);
    return *found;
  }
  void finish() const {
    const bool left = tuple_ != nullptr
                          ? used_ < tuple_->items.size()
                          : used_ == 0 && !by_name_ && value_.dict() == nullptr && (value_.list() == nullptr);
    if (left) context_.fail("not all arguments were used by the format");
  }

 private:
  Context& context_;
  const Value& value_;
  const List* tuple_;
  size_t used_ = 0;
  bool by_name_ = false;
};

Text percent_one(Context& context, const Value& value, Style style) {
  switch (style.type) {
    case 's':
      return string(context, context.text_of(value),
                    Style{.align = style.align, .width = style.width, .precision = style.precision});
    case 'r': {
      context.spend(weight_of(value));
      Text repr;
      append_repr(repr, value);
      style.fill = " ";
      return string(context, std::move(repr), style);
    }
    case 'd':
    case 'i':
    case 'u':
      if (value.is_float()) {
        if (!(std::fabs(*value.as_number()) < 9e18)) context.fail("%d of a number beyond 64 bits");
        return number(context, Value(static_cast<int64_t>(*value.as_number())), style);
      }
      [[fallthrough]];
    case 'x':
    case 'X':
    case 'o':
      if (!value.as_int()) context.fail("%{} needs an integer, got '{}'", style.type, type_name(value));
      return number(context, Value(*value.as_int()), style);
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
      if (!value.is_number()) context.fail("%{} needs a number, got '{}'", style.type, type_name(value));
      return number(context, value, style);
    default:
      context.fail("the format '%{}' is not known", style.type);
  }
}

Style read_percent_flags(Context& context, std::string_view s, size_t& i, PercentArguments& arguments) {
  Style style;
  bool zero = false;
  for (; i < s.size() && std::string_view("-+ #0").find(s[i]) != std::string_view::npos; ++i) {
    if (s[i] == '-') style.align = '<';
    if (s[i] == '+') style.sign = '+';
    if (s[i] == ' ' && style.sign == '-') style.sign = ' ';
    if (s[i] == '#') style.alternate = true;
    if (s[i] == '0') zero = true;
  }
  const auto size = [&](int64_t missing) {
    if (i >= s.size() || s[i] != '*') return std::max(read_number(context, s, i), missing);
    ++i;
    const auto given = arguments.next().as_int();
    if (!given || *given < 0 || *given > kMaxWidth)
      context.fail("'*' in a format needs an integer up to {}", kMaxWidth);
    return *given;
  };
  style.width = size(0);
  if (i < s.size() && s[i] == '.') {
    ++i;
    style.precision = size(0);
  }
  if (style.align == 0) style.align = zero ? '=' : '>';
  if (zero && style.align == '=') style.fill = "0";
  return style;
}

Style read_spec(Context& context, std::string_view s) {
  Style style;
  size_t i = 0, length = 0;
  const auto is_align = [&](size_t k) {
    return k < s.size() && std::string_view("<>^=").find(s[k]) != std::string_view::npos;
  };
  if (!s.empty()) code_point_at(s, 0, length);
  if (length > 0 && is_align(length)) {
    style.fill = s.substr(0, length);
    style.align = s[length];
    i = length + 1;
  } else if (is_align(0)) {
    style.align = s[i++];
  }
  if (i < s.size() && (s[i] == '+' || s[i] == '-' || s[i] == ' ')) style.sign = s[i++];
  if (i < s.size() && s[i] == '#') style.alternate = true, ++i;
  if (i < s.size() && s[i] == '0') {
    if (style.align == 0) style.align = '=', style.fill = "0";
    ++i;
  }
  style.width = std::max<int64_t>(read_number(context, s, i), 0);
  if (i < s.size() && s[i] == ',') style.comma = true, ++i;
  if (i < s.size() && s[i] == '.') style.precision = read_number(context, s, ++i);
  if (i < s.size()) style.type = s[i++];
  if (i != s.size()) context.fail("the format '{}' is not known", s.substr(0, 40));
  return style;
}

Text format_value(Context& context, const Value& value, std::string_view spec) {
  if (spec.empty()) return context.text_of(value);
  Style style = read_spec(context, spec);
  if (value.is_number() && !(value.is_bool() && style.type == 0) && style.type != 's')
    return number(context, value, style);
  if (style.align == '=') {
    if (style.fill != "0") context.fail("the alignment '=' of a string");
    style.align = '<';
  }
  if ((style.type != 0 && style.type != 's') || (value.text() == nullptr && !value.is_bool()))
    context.fail("the format '{}' of '{}' has no meaning", spec.substr(0, 40), type_name(value));
  return string(context, context.text_of(value), style);
}

// "0.name[key]" of a replacement field.
Value find_field(Context& context, std::string_view field, Arguments& arguments, size_t& automatic) {
  const size_t end = std::min(field.find_first_of(".["), field.size());
  const std::string first(field.substr(0, end));
  Value value;
  if (first.empty() || first.find_first_not_of("0123456789") == std::string::npos) {
    size_t i = 0;
    const size_t place = first.empty() ? automatic++ : static_cast<size_t>(read_number(context, first, i));
    if (place >= arguments.positional.size())
      context.fail("the format asks for more arguments than were given");
    value = arguments.positional[place];
  } else {
    const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&](const auto& a) { return a.first == first; });
    if (found == arguments.named.end()) context.fail("the format names '{}', which was not given", first);
    value = found->second;
  }
  for (size_t i = end; i < field.size();) {
    const size_t stop =
        field[i] == '[' ? field.find(']', i) : std::min(field.find_first_of(".[", i + 1), field.size());
    if (stop == std::string_view::npos) context.fail("a '[' without ']' in a format");
    const std::string key(field.substr(i + 1, stop - i - 1));
    const bool is_index = field[i] == '[' && !key.empty() && key.size() < 10 &&
                          key.find_first_not_of("0123456789") == std::string::npos;
    value = field[i] == '.'
                ? context.attribute(value, key)
                : context.item(value, is_index ? Value(static_cast<int64_t>(std::stoll(key))) : Value(key));
    i = stop + (field[i] == '[');
  }
  return value;
}

}  // namespace

Text format_percent(Context& context, const Text& format, const Value& value) {
  const std::string_view s = format.bytes;
  PercentArguments arguments(context, value);
  Text out;
  size_t begin = 0;
  for (size_t at = s.find('%'); at != std::string_view::npos; at = s.find('%', begin)) {
    out.append(format.sub(begin, at));
    size_t i = at + 1;
    std::optional<std::string> key;
    if (i < s.size() && s[i] == '(') {
      const size_t close = s.find(')', i);
      if (close == std::string_view::npos) context.fail("a '(' without ')' in a format");
      key = std::string(s.substr(i + 1, close - i - 1));
      i = close + 1;
    }
    Style style = read_percent_flags(context, s, i, arguments);
    if (i >= s.size()) context.fail("a format that ends in '%'");
    style.type = s[i];
    if (style.type == '%')
      out.append("%");
    else
      out.append(percent_one(context, key ? arguments.named(*key) : arguments.next(), style));
    context.spend(static_cast<int64_t>(style.width) + 64);
    begin = i + 1;
  }
  arguments.finish();
  out.append(format.sub(begin, s.size()));
  return out;
}

Text format_braces(Context& context, const Text& format, Arguments& arguments) {
  const std::string_view s = format.bytes;
  Text out;
  size_t automatic = 0;
  for (size_t i = 0; i < s.size();) {
    const size_t brace = std::min(s.find_first_of("{}", i), s.size());
    out.append(format.sub(i, brace));
    if (brace == s.size()) break;
    if (brace + 1 < s.size() && s[brace + 1] == s[brace]) {
      out.append(format.sub(brace, brace + 1));
      i = brace + 2;
      continue;
    }
    const size_t close = s[brace] == '{' ? s.find('}', brace) : std::string_view::npos;
    if (close == std::string_view::npos) context.fail("a single '{}' in a format", s[brace]);
    std::string_view field = s.substr(brace + 1, close - brace - 1), spec;
    if (field.find('{') != std::string_view::npos)
      context.fail("fields within fields of a format are not supported");
    if (const size_t colon = field.find(':'); colon != std::string_view::npos) {
      spec = field.substr(colon + 1);
      field = field.substr(0, colon);
    }
    char conversion = 0;
    if (field.size() >= 2 && field[field.size() - 2] == '!') {
      conversion = field.back();
      field.remove_suffix(2);
    }
    Value value = find_field(context, field, arguments, automatic);
    if (conversion == 'r') {
      context.spend(weight_of(value));
      Text repr;
      append_repr(repr, value);
      value = Value(std::move(repr));
    } else if (conversion == 's') {
      value = Value(context.text_of(value));
    } else if (conversion != 0) {
      context.fail("the conversion '!{}' is not known", conversion);
    }
    Text text = format_value(context, value, spec);
    context.spend(static_cast<int64_t>(text.bytes.size()) + 64);
    out.append(text);
    i = close + 1;
  }
  return out;
}

}  // namespace tumbler::jinja
