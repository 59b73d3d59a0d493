// Runs a template's tree. Scopes are Jinja's: a loop's body, a macro, a with and a block that is set or
// filtered have one of their own; what is set in them does not reach out, but through a namespace.
#include "base/error.h"
#include "chat/jinja/context.h"

namespace tumbler::jinja {

struct Template::Impl {
  Tree tree;
};

namespace {

struct Scope {
  std::shared_ptr<Scope> outer;
  std::vector<std::pair<std::string, Value>> variables;

  const Value* find(const std::string& name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer.get())
      for (const auto& [key, value] : scope->variables)
        if (key == name) return &value;
    return nullptr;
  }
  void set(const std::string& name, Value value) {
    for (auto& [key, old] : variables)
      if (key == name) {
        old = std::move(value);
        return;
      }
    variables.emplace_back(name, std::move(value));
  }
};

class Interpreter {
 public:
  Interpreter(Context& context, const Limits& limits) : context_(context), limits_(limits) {}

  ~Interpreter() {
    // A macro holds the scope it stands in, which holds the macro: cut the circles, without recursion.
    std::vector<std::pair<std::string, Value>> values;
    for (const auto& scope : with_macros_) {
      std::move(scope->variables.begin(), scope->variables.end(), std::back_inserter(values));
      scope->variables.clear();
    }
  }
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  Text run(const Tree& tree, const std::vector<std::pair<std::string, Value>>& variables) {
    const auto globals = std::make_shared<Scope>();
    for (const auto& [name, value] : variables) globals->set(name, value);
    scope_ = std::make_shared<Scope>();
    scope_->outer = globals;
    execute(tree.root);
    return std::move(output_);
  }

 private:
  enum class Flow : uint8_t { kOn, kBreak, kContinue };

  // A scope of its own as long as it lives.
  class Inner {
   public:
    Inner(Interpreter& interpreter, std::shared_ptr<Scope> outer)
        : interpreter_(interpreter), before_(std::move(interpreter.scope_)) {
      interpreter_.scope_ = std::make_shared<Scope>();
      interpreter_.scope_->outer = std::move(outer);
    }
    explicit Inner(Interpreter& interpreter) : Inner(interpreter, interpreter.scope_) {}
    ~Inner() { interpreter_.scope_ = std::move(before_); }
    Inner(const Inner&) = delete;
    Inner& operator=(const Inner&) = delete;

   private:
    Interpreter& interpreter_;
    std::shared_ptr<Scope> before_;
  };

  // --- statements ---

  Flow execute(const Block& block) {
    for (const Node* node : block)
      if (const Flow flow = execute(*node); flow != Flow::kOn) return flow;
    return Flow::kOn;
  }

  void write(const Text& text) {
    if (static_cast<int64_t>(output_.bytes.size() + text.bytes.size()) > limits_.output_bytes)
      context_.fail("more than {} bytes of output; the template does not come to an end",
                    limits_.output_bytes);
    output_.append(text);
  }

  Flow execute(const Node& node) {
    const Context::Level level(context_);
    context_.step();
    context_.set_line(node.line);
    switch (node.kind) {
      case NodeKind::kText:
        write(*node.value.text());
        return Flow::kOn;
      case NodeKind::kOutput: {
        const Value value = evaluate(*node.children[0]);
        write(value.text() != nullptr ? *value.text() : context_.text_of(value));
        return Flow::kOn;
      }
      case NodeKind::kIf:
        return execute_if(node);
      case NodeKind::kFor:
        return execute_for(node);
      case NodeKind::kSet:
        assign(*node.children[0], evaluate(*node.children[1]));
        return Flow::kOn;
      case NodeKind::kSetBlock:
        assign(*node.children[0], capture(node));
        return Flow::kOn;
      case NodeKind::kFilterBlock:
        write(context_.text_of(capture(node)));
        return Flow::kOn;
      case NodeKind::kMacro:
        scope_->set(node.name, make_macro(node));
        return Flow::kOn;
      case NodeKind::kCallBlock:
        write(context_.text_of(call_block(node)));
        return Flow::kOn;
      case NodeKind::kWith:
        return execute_with(node);
      case NodeKind::kBreak:
        return Flow::kBreak;
      case NodeKind::kContinue:
        return Flow::kContinue;
      default:
        context_.fail("an expression where a statement stands");
    }
  }

  Flow execute_if(const Node& node) {
    for (size_t i = 0; i < node.children.size(); ++i)
      if (is_true(evaluate(*node.children[i]))) return execute(node.bodies[i]);
    return node.bodies.size() > node.children.size() ? execute(node.bodies.back()) : Flow::kOn;
  }

  Flow execute_for(const Node& node) {
    auto items = context_.iterate(evaluate(*node.children[1])).list();
    if (node.children[2] != nullptr) {
      std::vector<Value> kept;
      for (const Value& item : items->items) {
        const Inner inner(*this);
        assign(*node.children[0], item);
        if (is_true(evaluate(*node.children[2]))) kept.push_back(item);
      }
      items = context_.make_list(std::move(kept)).shared_list();
    }
    if (items->items.empty()) {
      const Inner inner(*this);
      return node.bodies.size() > 1 ? execute(node.bodies[1]) : Flow::kOn;
    }
    context_.spend(256);
    const auto loop = std::make_shared<Loop>();
    loop->items = items;
    for (size_t i = 0; i < items->items.size(); ++i) {
      const Inner inner(*this);
      context_.step();
      loop->index = i;
      scope_->set("loop", Value(loop));
      assign(*node.children[0], items->items[i]);
      if (execute(node.bodies[0]) == Flow::kBreak) break;
    }
    return Flow::kOn;
  }

  Flow execute_with(const Node& node) {
    std::vector<Value> values;
    for (size_t i = 1; i < node.children.size(); i += 2) values.push_back(evaluate(*node.children[i]));
    const Inner inner(*this);
    for (size_t i = 0; i < values.size(); ++i) assign(*node.children[2 * i], values[i]);
    return execute(node.bodies[0]);
  }

  // What a block prints, through the filters that stand over it.
  Value capture(const Node& node) {
    Text text = print(node.bodies[0]);
    const Node* filters = node.children.back();
    if (filters == nullptr) return context_.make(std::move(text));
    Value before = std::exchange(captured_, context_.make(std::move(text)));
    Value result = evaluate(*filters);
    captured_ = std::move(before);
    return result;
  }

  Text print(const Block& block) {
    const Inner inner(*this);
    Text before = std::exchange(output_, {});
    execute(block);
    return std::exchange(output_, std::move(before));
  }

  void assign(const Node& target, const Value& value) {
    if (target.kind == NodeKind::kName) {
      context_.spend(64);
      scope_->set(target.name, value);
    } else if (target.kind == NodeKind::kAttribute) {
      assign_attribute(target, value);
    } else {
      const auto items = context_.iterate(value);
      if (items.size() != target.children.size())
        context_.fail("{} values for {} names", items.size(), target.children.size());
      for (size_t i = 0; i < target.children.size(); ++i) assign(*target.children[i], items[i]);
    }
  }

  void assign_attribute(const Node& target, const Value& value) {
    const Value object = evaluate(*target.children[0]);
    Namespace* space = object.name_space();
    if (space == nullptr)
      context_.fail("cannot set '{}' of '{}'; only a namespace can be changed", target.name,
                    type_name(object));
    context_.step(static_cast<int64_t>(space->attributes.size()));
    context_.spend(64);
    for (auto& [key, old] : space->attributes)
      if (key == target.name) {
        old = value;
        return;
      }
    space->attributes.emplace_back(target.name, value);
  }

  // --- macros ---

  Value make_macro(const Node& node) {
    if (with_macros_.empty() || with_macros_.back() != scope_) {
      context_.spend(256);
      with_macros_.push_back(scope_);
    }
    auto callable = std::make_shared<Callable>();
    callable->name = node.name;
    callable->call = [this, &node, scope = scope_](Context&, Arguments& arguments) {
      return call_macro(node, scope, arguments);
    };
    return Value(std::shared_ptr<const Callable>(std::move(callable)));
  }

  Value call_macro(const Node& node, const std::shared_ptr<Scope>& scope, Arguments& arguments) {
    const int line = context_.line();
    const Inner inner(*this, scope);
    bind_arguments(node, arguments);
    Text text = print(node.bodies[0]);
    context_.set_line(line);
    return context_.make(std::move(text));
  }

  void bind_arguments(const Node& node, Arguments& arguments) {
    if (node.kind == NodeKind::kMacro) {
      const auto is_caller = [](const auto& n) { return n.first == "caller"; };
      const auto caller = std::find_if(arguments.named.begin(), arguments.named.end(), is_caller);
      const bool takes_it = std::any_of(node.named.begin(), node.named.end(), is_caller);
      if (caller != arguments.named.end() && !takes_it) {
        scope_->set("caller", caller->second);
        arguments.named.erase(caller);
      }
    }
    for (size_t i = 0; i < node.named.size(); ++i) {
      const auto& [name, missing] = node.named[i];
      if (const Value* given = arguments.find(i, name))
        scope_->set(name, *given);
      else if (missing != nullptr)
        scope_->set(name, evaluate(*missing));
      else
        scope_->set(name, context_.undefined(fmt::format("parameter '{}' was not provided", name)));
    }
    if (arguments.positional.size() > node.named.size())
      context_.fail("'{}' takes {} arguments, got {}", node.name, node.named.size(),
                    arguments.positional.size());
    arguments.finish(context_);
  }

  Value call_block(const Node& node) {
    const Node& call = *node.children[0];
    Arguments arguments = evaluate_arguments(call, 1);
    arguments.named.emplace_back("caller", make_macro(node));
    return context_.call(evaluate(*call.children[0]), arguments);
  }

  // --- expressions ---

  Value evaluate(const Node& node) {
    const Context::Level level(context_);
    context_.step();
    context_.set_line(node.line);
    switch (node.kind) {
      case NodeKind::kConstant:
        return node.value;
      case NodeKind::kCaptured:
        return captured_;
      case NodeKind::kName:
        return look_up(node.name);
      case NodeKind::kList:
      case NodeKind::kTuple:
        return context_.make_list(evaluate_all(node.children),
                                  node.kind == NodeKind::kList ? List::kList : List::kTuple);
      case NodeKind::kDict:
        return evaluate_dict(node);
      case NodeKind::kAttribute:
        return context_.attribute(evaluate(*node.children[0]), node.name);
      case NodeKind::kItem: {
        const Value object = evaluate(*node.children[0]);
        return context_.item(object, evaluate(*node.children[1]));
      }
      case NodeKind::kSlice:
        return evaluate_slice(node);
      case NodeKind::kCall: {
        const Value callee = evaluate(*node.children[0]);
        Arguments arguments = evaluate_arguments(node, 1);
        context_.set_line(node.line);
        return context_.call(callee, arguments);
      }
      case NodeKind::kFilter:
      case NodeKind::kTest:
        return evaluate_filter(node);
      case NodeKind::kNot:
        return !is_true(evaluate(*node.children[0]));
      case NodeKind::kNegate:
        return context_.negate(evaluate(*node.children[0]));
      case NodeKind::kPlus:
        return context_.arithmetic(Op::kAdd, Value(int64_t{0}), evaluate(*node.children[0]));
      case NodeKind::kArithmetic:
        return evaluate_arithmetic(node);
      case NodeKind::kCompare:
        return evaluate_compare(node);
      case NodeKind::kAnd:
      case NodeKind::kOr:
        return evaluate_logic(node);
      case NodeKind::kConcatenate:
        return evaluate_concatenation(node);
      case NodeKind::kConditional:
        if (is_true(evaluate(*node.children[0]))) return evaluate(*node.children[1]);
        if (node.children[2] != nullptr) return evaluate(*node.children[2]);
        return context_.undefined("the condition was false and there is no else");
      default:
        context_.fail("a statement where an expression stands");
    }
  }

  std::vector<Value> evaluate_all(const std::vector<const Node*>& nodes) {
    std::vector<Value> values;
    values.reserve(nodes.size());
    for (const Node* node : nodes) values.push_back(evaluate(*node));
    return values;
  }

  Value look_up(const std::string& name) {
    if (const Value* found = scope_->find(name)) return *found;
    Value function = find_function(name);
    return function.is_undefined() ? context_.undefined(fmt::format("'{}' is undefined", name)) : function;
  }

  Value evaluate_dict(const Node& node) {
    Dict dict;
    for (size_t i = 0; i < node.children.size(); i += 2) {
      const Value key = evaluate(*node.children[i]);
      if (!can_be_key(key)) context_.fail("'{}' cannot be a key", type_name(key));
      context_.step(static_cast<int64_t>(dict.items.size()) / 4);
      dict.set(key, evaluate(*node.children[i + 1]));
    }
    return context_.make_dict(std::move(dict.items));
  }

  Value evaluate_slice(const Node& node) {
    const Value object = evaluate(*node.children[0]);
    Value bounds[3] = {None{}, None{}, None{}};
    for (size_t i = 0; i < 3; ++i)
      if (node.children[i + 1] != nullptr) bounds[i] = evaluate(*node.children[i + 1]);
    return context_.slice(object, bounds[0], bounds[1], bounds[2]);
  }

  // Arguments of a call, filter or test: its children from `skip` on, and those with names.
  Arguments evaluate_arguments(const Node& node, size_t skip) {
    Arguments arguments;
    for (size_t i = skip; i < node.children.size(); ++i)
      arguments.positional.push_back(evaluate(*node.children[i]));
    for (const auto& [name, value] : node.named) arguments.named.emplace_back(name, evaluate(*value));
    if (node.star != nullptr)
      for (const Value& item : context_.iterate(evaluate(*node.star))) {
        context_.spend(64);
        arguments.positional.push_back(item);
      }
    if (node.star_star == nullptr) return arguments;
    const Value more = evaluate(*node.star_star);
    if (more.dict() == nullptr) context_.fail("'**' of '{}', expected a mapping", type_name(more));
    for (const auto& [key, value] : more.dict()->items) {
      if (key.text() == nullptr) context_.fail("'**' of a mapping whose keys are no strings");
      context_.spend(64 + weight_of(key));
      arguments.named.emplace_back(key.text()->bytes, value);
    }
    return arguments;
  }

  Value evaluate_filter(const Node& node) {
    const Value input = evaluate(*node.children[0]);
    Arguments arguments = evaluate_arguments(node, 1);
    context_.set_line(node.line);
    if (node.kind == NodeKind::kFilter) return context_.filter(node.name, input, arguments);
    return context_.test(node.name, input, arguments);
  }

  Value evaluate_arithmetic(const Node& node) {
    Value value = evaluate(*node.children[0]);
    for (size_t i = 0; i < node.ops.size(); ++i)
      value = context_.arithmetic(node.ops[i], value, evaluate(*node.children[i + 1]));
    return value;
  }

  Value evaluate_compare(const Node& node) {
    Value left = evaluate(*node.children[0]);
    for (size_t i = 0; i < node.ops.size(); ++i) {
      Value right = evaluate(*node.children[i + 1]);
      if (!context_.holds(node.ops[i], left, right)) return false;
      left = std::move(right);
    }
    return true;
  }

  // `and` and `or` give the operand that decides.
  Value evaluate_logic(const Node& node) {
    const bool stop_at = node.kind == NodeKind::kOr;
    for (size_t i = 0; i + 1 < node.children.size(); ++i) {
      Value value = evaluate(*node.children[i]);
      if (is_true(value) == stop_at) return value;
    }
    return evaluate(*node.children.back());
  }

  Value evaluate_concatenation(const Node& node) {
    Text out;
    for (const Node* child : node.children) out.append(context_.text_of(evaluate(*child)));
    return context_.make(std::move(out));
  }

  Context& context_;
  const Limits limits_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>> with_macros_;
  Text output_;
  Value captured_;
};

}  // namespace

Template Template::parse(std::string_view source) {
  auto impl = std::make_shared<Impl>();
  impl->tree = jinja::parse(source);
  return Template(std::move(impl));
}

Text Template::render(const std::vector<std::pair<std::string, Value>>& variables, const std::tm& now,
                      const Limits& limits) const {
  Context context(limits, now);
  Interpreter interpreter(context, limits);
  return interpreter.run(impl_->tree, variables);
}

}  // namespace tumbler::jinja
