// Python's operators: integers of 64 bits (an overflow is an error), floats, strings, lists.
#include <cmath>

#include "chat/jinja/context.h"

namespace tumbler::jinja {
namespace {

const char* spelling(Op op) {
  switch (op) {
    case Op::kAdd:
      return "+";
    case Op::kSubtract:
      return "-";
    case Op::kMultiply:
      return "*";
    case Op::kDivide:
      return "/";
    case Op::kFloorDivide:
      return "//";
    case Op::kModulo:
      return "%";
    default:
      return "**";
  }
}

// The remainder with the sign of the divisor.
double modulo(double a, double b) {
  const double r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : (r == 0 ? std::copysign(0.0, b) : r);
}

double power_of(Context& context, double a, double b) {
  if (a == 0 && b < 0) context.fail("0 to a negative power");
  if (a < 0 && b != std::floor(b)) context.fail("a negative number to a power that is no integer");
  return std::pow(a, b);
}

Value integer_power(Context& context, int64_t base, int64_t exponent) {
  if (exponent < 0) return power_of(context, static_cast<double>(base), static_cast<double>(exponent));
  int64_t result = 1;
  for (bool more = true; exponent > 0; exponent >>= 1) {
    if (!more || ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)))
      context.fail("an integer beyond 64 bits");
    // A base that has grown beyond 64 bits matters only if it is used once more.
    more = !__builtin_mul_overflow(base, base, &base);
  }
  return result;
}

Value integers(Context& context, Op op, int64_t a, int64_t b) {
  if (b == 0 && (op == Op::kDivide || op == Op::kFloorDivide || op == Op::kModulo))
    context.fail("division by zero");
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Op::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Op::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Op::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Op::kDivide:
      return static_cast<double>(a) / static_cast<double>(b);
    case Op::kFloorDivide:
      if (b == -1)
        overflow = __builtin_sub_overflow(int64_t{0}, a, &result);
      else
        result = a / b - ((a % b != 0) && ((a % b < 0) != (b < 0)));
      break;
    case Op::kModulo:
      if (b == -1) return int64_t{0};
      result = a % b;
      if (result != 0 && (result < 0) != (b < 0)) result += b;
      break;
    default:
      return integer_power(context, a, b);
  }
  if (overflow) context.fail("an integer beyond 64 bits");
  return result;
}

Value floats(Context& context, Op op, double a, double b) {
  if (b == 0 && (op == Op::kDivide || op == Op::kFloorDivide || op == Op::kModulo))
    context.fail("division by zero");
  switch (op) {
    case Op::kAdd:
      return a + b;
    case Op::kSubtract:
      return a - b;
    case Op::kMultiply:
      return a * b;
    case Op::kDivide:
      return a / b;
    case Op::kFloorDivide:
      return std::floor((a - modulo(a, b)) / b + 0.5);
    case Op::kModulo:
      return modulo(a, b);
    default:
      return power_of(context, a, b);
  }
}

// text * count, list * count.
Value repeat(Context& context, const Value& value, int64_t count) {
  count = std::max<int64_t>(count, 0);
  int64_t bytes = 0;
  if (__builtin_mul_overflow(weight_of(value), count, &bytes)) bytes = INT64_MAX;
  context.spend(bytes);
  context.step(bytes / 64);
  if (const Text* text = value.text()) {
    Text out;
    for (int64_t i = 0; i < count; ++i) out.append(*text);
    return Value(std::move(out));
  }
  std::vector<Value> items;
  for (int64_t i = 0; i < count; ++i)
    items.insert(items.end(), value.list()->items.begin(), value.list()->items.end());
  return context.make_list(std::move(items), value.list()->kind);
}

bool repeats(const Value& value) {
  return value.is_string() || (value.list() != nullptr && value.list()->kind != List::kGenerator);
}

}  // namespace

Value Context::arithmetic(Op op, const Value& a, const Value& b) {
  step();
  for (const Value* v : {&a, &b})
    if (const Undefined* u = v->undefined())
      if (!(op == Op::kModulo && v == &b && a.is_string()))
        fail("{}, so it cannot stand beside '{}'", u->why ? *u->why : "a value is undefined", spelling(op));
  if (a.is_number() && b.is_number()) {
    const auto i = a.as_int(), j = b.as_int();
    return i && j ? integers(*this, op, *i, *j) : floats(*this, op, *a.as_number(), *b.as_number());
  }
  if (op == Op::kAdd && a.text() != nullptr && b.text() != nullptr) {
    spend(weight_of(a) + weight_of(b));
    Text out = *a.text();
    out.append(*b.text());
    return Value(std::move(out));
  }
  const List *x = a.list(), *y = b.list();
  if (op == Op::kAdd && x != nullptr && y != nullptr && x->kind == y->kind && x->kind != List::kGenerator) {
    spend(static_cast<int64_t>((x->items.size() + y->items.size()) * sizeof(Value)));
    std::vector<Value> items = x->items;
    items.insert(items.end(), y->items.begin(), y->items.end());
    return make_list(std::move(items), x->kind);
  }
  if (op == Op::kMultiply && repeats(a) && b.as_int()) return repeat(*this, a, *b.as_int());
  if (op == Op::kMultiply && repeats(b) && a.as_int()) return repeat(*this, b, *a.as_int());
  if (op == Op::kModulo && a.text() != nullptr) return make(format_percent(*this, *a.text(), b));
  fail("'{}' of '{}' and '{}' has no meaning", spelling(op), type_name(a), type_name(b));
}

Value Context::negate(const Value& a) {
  if (const auto i = a.as_int()) return integers(*this, Op::kSubtract, 0, *i);
  if (a.is_float()) return -*a.as_number();
  fail("'-' of '{}' has no meaning", type_name(a));
}

}  // namespace tumbler::jinja
