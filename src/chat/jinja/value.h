// Values of the template language: what Python's types are to Jinja. Immutable, but for a namespace and for
// the place a generator has come to. Cheap to copy. Nothing here has attributes that lead out of the values.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "chat/jinja/text.h"

namespace tumbler::jinja {

class Value;
class Context;
class Arguments;
using Function = std::function<Value(Context&, Arguments&)>;

struct Undefined {
  std::shared_ptr<const std::string> why;  // "'tools' is undefined"
};
struct None {};

struct List {
  enum Kind : uint8_t { kList, kTuple, kGenerator };
  std::vector<Value> items;
  Kind kind = kList;
  int depth = 1;               // of lists and dicts within one another
  int64_t weight = 1;          // about the bytes it would print as, shared parts counted each time
  mutable bool spent = false;  // a generator that was run through is empty
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;  // in the order of insertion
  int depth = 1;
  int64_t weight = 1;
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void set(const Value& key, Value value);
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

struct Loop {
  std::shared_ptr<const List> items;
  size_t index = 0;
  int level = 1;  // loops within loops; only recursive ones count
  std::vector<Value> last_seen;
  bool seen = false;
};

struct Callable {
  std::string name;
  Function call;
  bool forbidden = false;  // a method that would change its object
};

class Value {
 public:
  Value() : state_(Undefined{}) {}
  Value(Undefined x) : state_(std::move(x)) {}                           // NOLINT: implicit by design
  Value(None x) : state_(x) {}                                           // NOLINT
  Value(bool x) : state_(x) {}                                           // NOLINT
  Value(int64_t x) : state_(x) {}                                        // NOLINT
  Value(double x) : state_(x) {}                                         // NOLINT
  Value(Text x) : state_(std::make_shared<const Text>(std::move(x))) {}  // NOLINT
  Value(std::string x) : Value(Text(std::move(x))) {}                    // NOLINT
  Value(const char* x) : Value(Text(x)) {}                               // NOLINT
  Value(std::shared_ptr<const List> x) : state_(std::move(x)) {}         // NOLINT
  Value(std::shared_ptr<const Dict> x) : state_(std::move(x)) {}         // NOLINT
  Value(std::shared_ptr<Namespace> x) : state_(std::move(x)) {}          // NOLINT
  Value(std::shared_ptr<Loop> x) : state_(std::move(x)) {}               // NOLINT
  Value(std::shared_ptr<const Callable> x) : state_(std::move(x)) {}     // NOLINT

  bool is_undefined() const noexcept { return std::holds_alternative<Undefined>(state_); }
  bool is_none() const noexcept { return std::holds_alternative<None>(state_); }
  bool is_bool() const noexcept { return std::holds_alternative<bool>(state_); }
  bool is_int() const noexcept { return std::holds_alternative<int64_t>(state_); }
  bool is_float() const noexcept { return std::holds_alternative<double>(state_); }
  bool is_number() const noexcept { return is_bool() || is_int() || is_float(); }
  bool is_string() const noexcept { return std::holds_alternative<std::shared_ptr<const Text>>(state_); }

  // Null where the value is of another kind.
  const Undefined* undefined() const noexcept { return std::get_if<Undefined>(&state_); }
  const Text* text() const noexcept { return get<const Text>(); }
  const List* list() const noexcept { return get<const List>(); }
  const Dict* dict() const noexcept { return get<const Dict>(); }
  Namespace* name_space() const noexcept { return get<Namespace>(); }
  Loop* loop() const noexcept { return get<Loop>(); }
  const Callable* callable() const noexcept { return get<const Callable>(); }
  const std::shared_ptr<const List>& shared_list() const {
    return std::get<std::shared_ptr<const List>>(state_);
  }
  const std::shared_ptr<Loop>& shared_loop() const { return std::get<std::shared_ptr<Loop>>(state_); }

  // true and false count as 1 and 0, as in Python.
  std::optional<int64_t> as_int() const noexcept;
  std::optional<double> as_number() const noexcept;

 private:
  template <class T>
  T* get() const noexcept {
    const auto* p = std::get_if<std::shared_ptr<T>>(&state_);
    return p == nullptr ? nullptr : p->get();
  }
  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
               std::shared_ptr<Loop>, std::shared_ptr<const Callable>>
      state_;
};

// Lists and dicts lie at most so deep in one another.
constexpr int kMaxValueDepth = 100;

// "str", "list", "dict", … as Python names types, for messages.
const char* type_name(const Value& value) noexcept;
bool is_true(const Value& value) noexcept;
bool can_be_key(const Value& value) noexcept;
// Python's ==.
bool equal(const Value& a, const Value& b) noexcept;
// len(); nothing for a number, none, a generator.
std::optional<int64_t> length(const Value& value) noexcept;
// str() and repr(); both as text from outside where any part was.
Text to_text(const Value& value);
void append_repr(Text& out, const Value& value);
int depth_of(const Value& value) noexcept;
// What it costs to compare or print the value, in bytes.
int64_t weight_of(const Value& value) noexcept;
// Makes a list or a dict with its depth and weight.
std::shared_ptr<List> new_list(std::vector<Value> items, List::Kind kind = List::kList);
std::shared_ptr<Dict> new_dict(std::vector<std::pair<Value, Value>> items);

// JSON as a value; its strings count as from outside where `from_outside`. Throws Error where it is nested
// deeper than kMaxValueDepth.
Value from_json(const nlohmann::ordered_json& json, bool from_outside);

}  // namespace tumbler::jinja
