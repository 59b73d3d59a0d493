// The tests behind `is`.
#include <cmath>
#include <unordered_map>

#include "chat/jinja/context.h"

namespace tumbler::jinja {
namespace {

using Test = bool (*)(Context&, const Value&, Arguments&);
using C = Context;
using V = Value;
using A = Arguments;

template <Op op>
bool compared(C& c, const V& v, A& a) {
  return c.holds(op, v, a.get(c, 0, "other"));
}

bool is_iterable(const V& v) {
  return v.is_undefined() || v.text() != nullptr || v.list() != nullptr || v.dict() != nullptr;
}

bool is_sequence(const V& v) {
  return is_iterable(v) && (v.list() == nullptr || v.list()->kind != List::kGenerator);
}

int64_t integer(C& c, const V& v) {
  const auto i = v.as_int();
  if (!i) c.fail("got '{}', expected an integer", type_name(v));
  return *i;
}

bool divisible(C& c, const V& v, A& a) {
  const int64_t by = integer(c, a.get(c, 0, "num"));
  if (by == 0) c.fail("division by zero");
  return by == -1 || integer(c, v) % by == 0;
}

bool same(C& c, const V& v, A& a) {
  const V& other = a.get(c, 0, "other");
  return std::string_view(type_name(v)) == type_name(other) && c.equals(v, other);
}

const std::unordered_map<std::string_view, Test>& tests() {
  static const std::unordered_map<std::string_view, Test> all = {
      {"defined", [](C&, const V& v, A&) { return !v.is_undefined(); }},
      {"undefined", [](C&, const V& v, A&) { return v.is_undefined(); }},
      {"none", [](C&, const V& v, A&) { return v.is_none(); }},
      {"boolean", [](C&, const V& v, A&) { return v.is_bool(); }},
      {"true", [](C&, const V& v, A&) { return v.is_bool() && is_true(v); }},
      {"false", [](C&, const V& v, A&) { return v.is_bool() && !is_true(v); }},
      {"integer", [](C&, const V& v, A&) { return v.is_int(); }},
      {"float", [](C&, const V& v, A&) { return v.is_float(); }},
      {"number", [](C&, const V& v, A&) { return v.is_number(); }},
      {"string", [](C&, const V& v, A&) { return v.is_string(); }},
      {"mapping", [](C&, const V& v, A&) { return v.dict() != nullptr; }},
      {"sequence", [](C&, const V& v, A&) { return is_sequence(v); }},
      {"iterable", [](C&, const V& v, A&) { return is_iterable(v); }},
      {"callable",
       [](C&, const V& v, A&) { return v.callable() != nullptr || v.loop() != nullptr || v.is_undefined(); }},
      {"sameas", same},
      {"escaped", [](C&, const V&, A&) { return false; }},
      {"odd", [](C& c, const V& v, A&) { return integer(c, v) % 2 != 0; }},
      {"even", [](C& c, const V& v, A&) { return integer(c, v) % 2 == 0; }},
      {"divisibleby", divisible},
      {"lower",
       [](C& c, const V& v, A&) {
         A none;
         return is_true(c.call(find_method(c, V(c.text_of(v)), "islower"), none));
       }},
      {"upper",
       [](C& c, const V& v, A&) {
         A none;
         return is_true(c.call(find_method(c, V(c.text_of(v)), "isupper"), none));
       }},
      {"in", [](C& c, const V& v, A& a) { return c.contains(a.get(c, 0, "seq"), v); }},
      {"eq", compared<Op::kEqual>},
      {"==", compared<Op::kEqual>},
      {"equalto", compared<Op::kEqual>},
      {"ne", compared<Op::kNotEqual>},
      {"!=", compared<Op::kNotEqual>},
      {"lt", compared<Op::kLess>},
      {"<", compared<Op::kLess>},
      {"lessthan", compared<Op::kLess>},
      {"le", compared<Op::kLessEqual>},
      {"<=", compared<Op::kLessEqual>},
      {"gt", compared<Op::kGreater>},
      {">", compared<Op::kGreater>},
      {"greaterthan", compared<Op::kGreater>},
      {"ge", compared<Op::kGreaterEqual>},
      {">=", compared<Op::kGreaterEqual>},
  };
  return all;
}

}  // namespace

bool Context::test(const std::string& name, const Value& input, Arguments& arguments) {
  step();
  const auto found = tests().find(name);
  if (found == tests().end()) fail("there is no test named '{}'", name.substr(0, 60));
  const bool result = found->second(*this, input, arguments);
  arguments.finish(*this);
  return result;
}

}  // namespace tumbler::jinja
