// What filters, tests, methods and functions of a template run with: the limits of this run, the line that
// errors name, and Python's operations on values. Internal to jinja/.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "chat/jinja/ast.h"
#include "chat/jinja/template.h"
#include "chat/jinja/value.h"

namespace tumbler::jinja {

// The arguments of one call. Each that is asked for is ticked off; finish() complains of the others.
class Arguments {
 public:
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // By place or by name; null where it is missing.
  const Value* find(size_t place, std::string_view name);
  const Value& get(Context& context, size_t place, std::string_view name);
  bool flag(size_t place, std::string_view name, bool missing);
  int64_t integer(Context& context, size_t place, std::string_view name, int64_t missing);
  Text text(Context& context, size_t place, std::string_view name, std::string_view missing);
  void finish(Context& context) const;

 private:
  size_t places_ = 0;  // asked for
  uint64_t names_ = 0;
};

// The items of something that is run through, kept alive with it.
class Items {
 public:
  explicit Items(std::shared_ptr<const List> list) : list_(std::move(list)) {}
  auto begin() const { return list_->items.begin(); }
  auto end() const { return list_->items.end(); }
  size_t size() const { return list_->items.size(); }
  bool empty() const { return list_->items.empty(); }
  const Value& operator[](size_t i) const { return list_->items[i]; }
  const std::shared_ptr<const List>& list() const { return list_; }

 private:
  std::shared_ptr<const List> list_;
};

class Context {
 public:
  Context(const Limits& limits, const std::tm& now) : limits_(limits), now_(now) {}

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw_error(fmt::format(format, std::forward<Args>(args)...));
  }
  void set_line(int line) { line_ = line; }
  int line() const { return line_; }
  const std::tm& now() const { return now_; }

  // Counts work and memory; throw Error at the limit, before the memory is taken.
  void step(int64_t count = 1);
  void spend(int64_t bytes);
  // One call deeper as long as it lives.
  class Level {
   public:
    explicit Level(Context& context);
    ~Level() { --context_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Context& context_;
  };

  Value make(Text text);
  Value make_list(std::vector<Value> items, List::Kind kind = List::kList);
  Value make_dict(std::vector<std::pair<Value, Value>> items);
  Value undefined(std::string why) const;
  // Namespaces are emptied at the end of the run, so that one that holds itself is freed.
  Value make_namespace();
  void keep(std::shared_ptr<void> object) { kept_.push_back(std::move(object)); }
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Text text_of(const Value& value);  // str()
  // What a `for` runs through: of a string its characters, of a dict its keys. A generator is spent by it.
  Items iterate(const Value& value);
  bool equals(const Value& a, const Value& b);
  // Negative, 0, positive; throws Error where Python has no order.
  int compare(const Value& a, const Value& b);
  bool contains(const Value& container, const Value& item);
  bool holds(Op comparison, const Value& a, const Value& b);
  Value arithmetic(Op op, const Value& a, const Value& b);
  Value negate(const Value& a);

  // a.name, a[key], a[from:to:step]: an undefined value where there is none.
  Value attribute(const Value& object, const std::string& name);
  Value item(const Value& object, const Value& key);
  Value slice(const Value& object, const Value& from, const Value& to, const Value& step);
  // "a.b.0" as map(attribute=…) takes it.
  Value path(const Value& object, const Value& attribute);
  // `callee` outlives the call: not an element of what a template can change meanwhile.
  Value call(const Value& callee, Arguments& arguments);
  Value filter(const std::string& name, const Value& input, Arguments& arguments);
  bool test(const std::string& name, const Value& input, Arguments& arguments);

 private:
  [[noreturn]] void throw_error(const std::string& message) const;
  template <class F>
  Value pick(int64_t size, const Value& from, const Value& to, const Value& step, F take);

  Limits limits_;
  std::tm now_;
  int64_t steps_ = 0, bytes_ = 0;
  int depth_ = 0, line_ = 1;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<std::shared_ptr<void>> kept_;
};

// A method of a string, list or dict, bound to it; undefined where there is none of that name.
Value find_method(Context& context, const Value& object, const std::string& name);
// A function every template may call: range, namespace, dict, raise_exception, strftime_now …; undefined
// where there is none.
Value find_function(const std::string& name);
// An attribute of `loop`; undefined where there is none.
Value loop_attribute(Context& context, const std::shared_ptr<Loop>& loop, const std::string& name);

// json.dumps().
struct JsonStyle {
  bool ascii = false, sort_keys = false;
  std::optional<std::string> indent;
  std::string item_separator = ", ", key_separator = ": ";
};
Text to_json(Context& context, const Value& value, const JsonStyle& style);

// "…" % value and "…".format(…).
Text format_percent(Context& context, const Text& format, const Value& value);
Text format_braces(Context& context, const Text& format, Arguments& arguments);

}  // namespace tumbler::jinja
