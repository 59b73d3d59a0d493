// Recursive descent over the grammar of Jinja 3.1 (jinja.palletsprojects.com, "Template Designer
// Documentation"): the same precedences, with its oddities (~ binds tighter than +, a filter tighter than *).
#include <algorithm>
#include <initializer_list>

#include "base/error.h"
#include "chat/jinja/ast.h"
#include "chat/jinja/lexer.h"

namespace tumbler::jinja {
namespace {

constexpr int kMaxNesting = 150;  // of expressions and statements; each level takes some ten stack frames

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Tree run() {
    tree_.root = parse_block({});
    return std::move(tree_);
  }

 private:
  // One level deeper as long as it lives.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMaxNesting)
        parser_.fail(fmt::format("nested deeper than {} levels", kMaxNesting));
    }
    ~Level() { --parser_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Parser& parser_;
  };

  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void next() {
    if (now().kind != TokenKind::kEnd) ++at_;
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw Error("chat_template", "line {}: {}", now().line, message);
  }

  static std::string describe(const Token& token) {
    if (token.kind == TokenKind::kEnd) return "the end of the template";
    if (token.kind == TokenKind::kInteger || token.kind == TokenKind::kFloat) return "a number";
    return "'" + token.text.substr(0, 40) + "'";
  }

  [[noreturn]] void fail_expected(std::string_view expected) const {
    fail(fmt::format("got {}, expected {}", describe(now()), expected));
  }

  static bool is_operator(const Token& token, std::string_view op) {
    return token.kind == TokenKind::kOperator && token.text == op;
  }
  static bool is_name(const Token& token, std::string_view name) {
    return token.kind == TokenKind::kName && token.text == name;
  }
  bool accept(std::string_view op) {
    if (!is_operator(now(), op)) return false;
    next();
    return true;
  }
  bool accept_name(std::string_view name) {
    if (!is_name(now(), name)) return false;
    next();
    return true;
  }
  void expect(std::string_view op) {
    if (!accept(op)) fail_expected(fmt::format("'{}'", op));
  }
  std::string expect_name() {
    if (now().kind != TokenKind::kName) fail_expected("a name");
    std::string name = now().text;
    next();
    return name;
  }
  void expect_block_end() {
    if (now().kind != TokenKind::kBlockEnd) fail_expected("'%}'");
    next();
  }

  Node* make(NodeKind kind, std::vector<const Node*> children = {}) {
    tree_.nodes.push_back({.kind = kind,
                           .line = now().line,
                           .name = {},
                           .value = {},
                           .children = std::move(children),
                           .ops = {},
                           .named = {},
                           .bodies = {}});
    return &tree_.nodes.back();
  }
  const Node* constant(Value value) {
    Node* node = make(NodeKind::kConstant);
    node->value = std::move(value);
    return node;
  }
  Node* named(NodeKind kind, std::string name, std::vector<const Node*> children = {}) {
    Node* node = make(kind, std::move(children));
    node->name = std::move(name);
    return node;
  }

  // --- statements ---

  // Up to a tag whose name is one of `ends`, which stays: now() is that name. With no ends, up to the end.
  Block parse_block(std::initializer_list<std::string_view> ends) {
    const Level level(*this);
    Block block;
    for (;;) {
      const Token& token = now();
      if (token.kind == TokenKind::kEnd) {
        if (ends.size() > 0) fail_expected(fmt::format("'{}'", *(ends.end() - 1)));
        return block;
      }
      next();
      if (token.kind == TokenKind::kData) {
        Node* node = make(NodeKind::kText);
        node->value = Value(token.text);
        block.push_back(node);
      } else if (token.kind == TokenKind::kVariableBegin) {
        block.push_back(make(NodeKind::kOutput, {parse_tuple(true)}));
        if (now().kind != TokenKind::kVariableEnd) fail_expected("'}}'");
        next();
      } else {
        if (now().kind != TokenKind::kName) fail_expected("the name of a statement");
        if (std::find(ends.begin(), ends.end(), now().text) != ends.end()) return block;
        if (const Node* statement = parse_statement()) block.push_back(statement);
        expect_block_end();
      }
    }
  }

  // A block and its closing tag's name.
  Block parse_body(std::string_view end) {
    expect_block_end();
    Block block = parse_block({end});
    next();
    return block;
  }

  const Node* parse_statement() {
    const std::string keyword = now().text;
    if (keyword == "if") return parse_if();
    if (keyword == "for") return parse_for();
    if (keyword == "set") return parse_set();
    if (keyword == "macro") return parse_macro();
    if (keyword == "call") return parse_call_block();
    if (keyword == "filter") return parse_filter_block();
    if (keyword == "with") return parse_with();
    if (keyword == "generation") {  // marks what a model wrote, for training; renders as it is
      next();
      Node* node = make(NodeKind::kWith);
      node->bodies.push_back(parse_body("endgeneration"));
      return node;
    }
    if (keyword == "break" || keyword == "continue") {
      if (loops_ == 0) fail("'" + keyword + "' outside a loop");
      next();
      return make(keyword == "break" ? NodeKind::kBreak : NodeKind::kContinue);
    }
    fail(
        fmt::format("got the statement '{}', expected if, for, set, macro, call, filter, with, generation, "
                    "break or continue",
                    keyword.substr(0, 40)));
  }

  const Node* parse_if() {
    Node* node = make(NodeKind::kIf);
    do {
      next();
      node->children.push_back(parse_tuple(false));
      expect_block_end();
      node->bodies.push_back(parse_block({"elif", "else", "endif"}));
    } while (is_name(now(), "elif"));
    if (accept_name("else"))
      node->bodies.push_back(parse_body("endif"));
    else
      next();
    return node;
  }

  const Node* parse_for() {
    next();
    Node* node = make(NodeKind::kFor);
    node->children.push_back(parse_target(false));
    if (!accept_name("in")) fail_expected("'in'");
    node->children.push_back(parse_tuple(false));
    node->children.push_back(accept_name("if") ? parse_expression() : nullptr);
    if (is_name(now(), "recursive")) fail("'recursive' loops are not supported; write a macro");
    expect_block_end();
    ++loops_;
    node->bodies.push_back(parse_block({"endfor", "else"}));
    --loops_;
    if (accept_name("else"))
      node->bodies.push_back(parse_body("endfor"));
    else
      next();
    return node;
  }

  const Node* parse_set() {
    next();
    Node* node = make(NodeKind::kSet, {parse_target(true)});
    if (accept("=")) {
      node->children.push_back(parse_tuple(true));
      return node;
    }
    node->kind = NodeKind::kSetBlock;
    node->children.push_back(is_operator(now(), "|") ? parse_filters(make(NodeKind::kCaptured)) : nullptr);
    node->bodies.push_back(parse_outside_loops("endset"));
    return node;
  }

  // A body that may not break out of the loop it stands in.
  Block parse_outside_loops(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Block body = parse_body(end);
    loops_ = loops;
    return body;
  }

  void parse_parameters(Node* node) {
    expect("(");
    while (!accept(")")) {
      if (!node->named.empty()) expect(",");
      if (accept(")")) return;
      std::string name = expect_name();
      const Node* missing = nullptr;
      if (accept("="))
        missing = parse_expression();
      else if (!node->named.empty() && node->named.back().second != nullptr)
        fail("a parameter without a default behind one with a default");
      node->named.emplace_back(std::move(name), missing);
    }
  }

  const Node* parse_macro() {
    next();
    Node* node = make(NodeKind::kMacro);
    node->name = expect_name();
    parse_parameters(node);
    node->bodies.push_back(parse_outside_loops("endmacro"));
    return node;
  }

  const Node* parse_call_block() {
    next();
    Node* node = named(NodeKind::kCallBlock, "caller");
    if (is_operator(now(), "(")) parse_parameters(node);
    node->children.push_back(parse_expression());
    if (node->children[0]->kind != NodeKind::kCall) fail("'call' of something that is no call");
    node->bodies.push_back(parse_outside_loops("endcall"));
    return node;
  }

  const Node* parse_filter_block() {
    next();
    Node* node = make(NodeKind::kFilterBlock);
    node->children.push_back(parse_filters(parse_filter(make(NodeKind::kCaptured))));
    node->bodies.push_back(parse_outside_loops("endfilter"));
    return node;
  }

  const Node* parse_with() {
    next();
    Node* node = make(NodeKind::kWith);
    while (now().kind != TokenKind::kBlockEnd) {
      if (!node->children.empty()) expect(",");
      node->children.push_back(parse_target(false));
      expect("=");
      node->children.push_back(parse_expression());
    }
    node->bodies.push_back(parse_body("endwith"));
    return node;
  }

  // What is assigned to: a name, names between commas, and with `attributes` that of a namespace.
  const Node* parse_target(bool attributes) {
    const Level level(*this);
    if (attributes && now().kind == TokenKind::kName && is_operator(ahead(), ".")) {
      const Node* space = parse_target_name();
      next();
      return named(NodeKind::kAttribute, expect_name(), {space});
    }
    const Node* first = parse_target_one();
    if (!is_operator(now(), ",")) return first;
    Node* tuple = make(NodeKind::kTuple, {first});
    while (accept(",")) {
      if (now().kind != TokenKind::kName && !is_operator(now(), "(")) break;
      if (is_name(now(), "in")) break;
      tuple->children.push_back(parse_target_one());
    }
    return tuple;
  }

  const Node* parse_target_one() {
    if (!accept("(")) return parse_target_name();
    const Node* inner = parse_target(false);
    expect(")");
    return inner;
  }

  const Node* parse_target_name() {
    static constexpr std::string_view kTaken[] = {"true", "True", "false", "False", "none", "None",
                                                  "not",  "and",  "or",    "in",    "is",   "if"};
    Node* node = make(NodeKind::kName);
    node->name = expect_name();
    if (std::find(std::begin(kTaken), std::end(kTaken), node->name) != std::end(kTaken))
      fail("cannot assign to '" + node->name + "'");
    return node;
  }

  // --- expressions, from loose to tight ---

  bool at_tuple_end() const {
    return now().kind == TokenKind::kVariableEnd || now().kind == TokenKind::kBlockEnd ||
           is_operator(now(), ")") || is_name(now(), "recursive") || now().kind == TokenKind::kEnd;
  }

  // One expression, or several between commas as a tuple. With `conditional`, "a if b else c" may stand in
  // it.
  const Node* parse_tuple(bool conditional, bool may_be_empty = false) {
    const Level level(*this);
    std::vector<const Node*> items;
    bool tuple = false;
    while (!at_tuple_end()) {
      items.push_back(conditional ? parse_expression() : parse_or());
      if (!is_operator(now(), ",")) break;
      next();
      tuple = true;
    }
    if (!tuple && items.size() == 1) return items[0];
    if (items.empty() && !may_be_empty) fail_expected("an expression");
    return make(NodeKind::kTuple, std::move(items));
  }

  const Node* parse_expression() {
    const Level level(*this);
    const Node* node = parse_or();
    while (accept_name("if")) {
      const Node* condition = parse_or();
      const Node* otherwise = accept_name("else") ? parse_expression() : nullptr;
      node = make(NodeKind::kConditional, {condition, node, otherwise});
    }
    return node;
  }

  template <class Part>
  const Node* parse_chain(NodeKind kind, std::string_view word, Part part) {
    const Node* first = part();
    if (!is_name(now(), word)) return first;
    Node* node = make(kind, {first});
    while (accept_name(word)) node->children.push_back(part());
    return node;
  }

  const Node* parse_or() {
    return parse_chain(NodeKind::kOr, "or", [&] { return parse_and(); });
  }
  const Node* parse_and() {
    return parse_chain(NodeKind::kAnd, "and", [&] { return parse_not(); });
  }

  const Node* parse_not() {
    if (!accept_name("not")) return parse_compare();
    const Level level(*this);
    return make(NodeKind::kNot, {parse_not()});
  }

  struct Spelling {
    std::string_view text;
    Op op;
  };

  bool accept_one(std::initializer_list<Spelling> spellings, Op& op) {
    for (const Spelling& s : spellings)
      if (accept(s.text)) {
        op = s.op;
        return true;
      }
    return false;
  }

  bool accept_comparison(Op& op) {
    if (accept_one({{"==", Op::kEqual},
                    {"!=", Op::kNotEqual},
                    {"<", Op::kLess},
                    {"<=", Op::kLessEqual},
                    {">", Op::kGreater},
                    {">=", Op::kGreaterEqual}},
                   op))
      return true;
    op = Op::kIn;
    if (accept_name("in")) return true;
    if (!is_name(now(), "not") || !is_name(ahead(), "in")) return false;
    next();
    next();
    op = Op::kNotIn;
    return true;
  }

  const Node* parse_compare() {
    const Node* first = parse_sum();
    Op op;
    if (!accept_comparison(op)) return first;
    Node* node = make(NodeKind::kCompare, {first});
    do {
      node->ops.push_back(op);
      node->children.push_back(parse_sum());
    } while (accept_comparison(op));
    return node;
  }

  template <class Part>
  const Node* parse_arithmetic(std::initializer_list<Spelling> spellings, Part part) {
    const Node* first = part();
    Op op;
    if (!accept_one(spellings, op)) return first;
    Node* node = make(NodeKind::kArithmetic, {first});
    do {
      node->ops.push_back(op);
      node->children.push_back(part());
    } while (accept_one(spellings, op));
    return node;
  }

  const Node* parse_sum() {
    return parse_arithmetic({{"+", Op::kAdd}, {"-", Op::kSubtract}}, [&] { return parse_concatenation(); });
  }

  const Node* parse_concatenation() {
    const Node* first = parse_product();
    if (!is_operator(now(), "~")) return first;
    Node* node = make(NodeKind::kConcatenate, {first});
    while (accept("~")) node->children.push_back(parse_product());
    return node;
  }

  const Node* parse_product() {
    return parse_arithmetic(
        {{"*", Op::kMultiply}, {"//", Op::kFloorDivide}, {"/", Op::kDivide}, {"%", Op::kModulo}},
        [&] { return parse_power(); });
  }

  const Node* parse_power() {
    return parse_arithmetic({{"**", Op::kPower}}, [&] { return parse_unary(true); });
  }

  const Node* parse_unary(bool with_filter) {
    const Level level(*this);
    const Node* node = accept("-")   ? make(NodeKind::kNegate, {parse_unary(false)})
                       : accept("+") ? make(NodeKind::kPlus, {parse_unary(false)})
                                     : parse_primary();
    node = parse_postfix(node);
    return with_filter ? parse_filter_or_test(node) : node;
  }

  const Node* parse_primary() {
    const Token token = now();
    if (token.kind == TokenKind::kName) return parse_word(token.text);
    if (token.kind == TokenKind::kString) {
      std::string text;
      for (; now().kind == TokenKind::kString; next()) text += now().text;
      return constant(Value(std::move(text)));
    }
    if (token.kind == TokenKind::kInteger || token.kind == TokenKind::kFloat) {
      next();
      return constant(token.kind == TokenKind::kInteger ? Value(token.integer) : Value(token.number));
    }
    if (accept("(")) {
      const Node* inner = parse_tuple(true, true);
      expect(")");
      return inner;
    }
    if (accept("[")) return parse_list();
    if (accept("{")) return parse_dict();
    fail_expected("an expression");
  }

  const Node* parse_word(const std::string& word) {
    next();
    if (word == "true" || word == "True") return constant(Value(true));
    if (word == "false" || word == "False") return constant(Value(false));
    if (word == "none" || word == "None") return constant(Value(None{}));
    return named(NodeKind::kName, word);
  }

  const Node* parse_list() {
    Node* node = make(NodeKind::kList);
    while (!accept("]")) {
      if (!node->children.empty()) {
        expect(",");
        if (accept("]")) break;
      }
      node->children.push_back(parse_expression());
    }
    return node;
  }

  const Node* parse_dict() {
    Node* node = make(NodeKind::kDict);
    while (!accept("}")) {
      if (!node->children.empty()) {
        expect(",");
        if (accept("}")) break;
      }
      node->children.push_back(parse_expression());
      expect(":");
      node->children.push_back(parse_expression());
    }
    return node;
  }

  const Node* parse_postfix(const Node* node) {
    for (;;) {
      if (accept("."))
        node = parse_attribute(node);
      else if (accept("["))
        node = parse_subscript(node);
      else if (is_operator(now(), "("))
        node = parse_call(node);
      else
        return node;
    }
  }

  const Node* parse_attribute(const Node* node) {
    if (now().kind == TokenKind::kInteger) {
      const Node* index = constant(Value(now().integer));
      next();
      return make(NodeKind::kItem, {node, index});
    }
    return named(NodeKind::kAttribute, expect_name(), {node});
  }

  const Node* parse_subscript(const Node* node) {
    const Node* parts[3] = {nullptr, nullptr, nullptr};
    bool slice = false;
    for (int i = 0; i < 3; ++i) {
      if (!is_operator(now(), ":") && !is_operator(now(), "]")) parts[i] = parse_expression();
      if (i == 2 || !accept(":")) break;
      slice = true;
    }
    if (!slice && is_operator(now(), ",")) fail("several subscripts between commas are not supported");
    expect("]");
    if (slice) return make(NodeKind::kSlice, {node, parts[0], parts[1], parts[2]});
    if (parts[0] == nullptr) fail_expected("a subscript");
    return make(NodeKind::kItem, {node, parts[0]});
  }

  // "(…)" into the node's arguments.
  void parse_arguments(Node* node) {
    expect("(");
    for (bool first = true; !accept(")"); first = false) {
      if (!first) {
        expect(",");
        if (accept(")")) return;
      }
      if (accept("**")) {
        if (node->star_star != nullptr) fail("'**' stands there twice");
        node->star_star = parse_expression();
      } else if (accept("*")) {
        if (node->star != nullptr || node->star_star != nullptr) fail("'*' stands where it may not");
        node->star = parse_expression();
      } else if (now().kind == TokenKind::kName && is_operator(ahead(), "=")) {
        if (node->star_star != nullptr) fail("an argument behind '**'");
        std::string name = expect_name();
        next();
        node->named.emplace_back(std::move(name), parse_expression());
      } else {
        if (!node->named.empty() || node->star != nullptr || node->star_star != nullptr)
          fail("an argument without a name behind one with a name");
        node->children.push_back(parse_expression());
      }
    }
  }

  const Node* parse_call(const Node* callee) {
    Node* node = make(NodeKind::kCall, {callee});
    parse_arguments(node);
    return node;
  }

  const Node* parse_filter_or_test(const Node* node) {
    for (;;) {
      if (is_operator(now(), "|"))
        node = parse_filters(node);
      else if (is_name(now(), "is"))
        node = parse_test(node);
      else if (is_operator(now(), "("))
        node = parse_call(node);
      else
        return node;
    }
  }

  // Zero or more "| name(…)".
  const Node* parse_filters(const Node* node) {
    while (accept("|")) node = parse_filter(node);
    return node;
  }

  const Node* parse_filter(const Node* input) {
    Node* node = named(NodeKind::kFilter, {}, {input});
    node->name = expect_name();
    while (accept(".")) node->name += "." + expect_name();
    if (is_operator(now(), "(")) parse_arguments(node);
    return node;
  }

  const Node* parse_test(const Node* input) {
    next();
    const bool negated = accept_name("not");
    Node* node = named(NodeKind::kTest, {}, {input});
    node->name = expect_name();
    while (accept(".")) node->name += "." + expect_name();
    if (is_operator(now(), "(")) {
      parse_arguments(node);
    } else if (starts_test_argument()) {
      if (is_name(now(), "is")) fail("one 'is' behind another; use brackets");
      node->children.push_back(parse_postfix(parse_primary()));
    }
    return negated ? make(NodeKind::kNot, {node}) : node;
  }

  bool starts_test_argument() const {
    const Token& token = now();
    if (token.kind == TokenKind::kName)
      return token.text != "else" && token.text != "or" && token.text != "and";
    return token.kind == TokenKind::kString || token.kind == TokenKind::kInteger ||
           token.kind == TokenKind::kFloat || is_operator(token, "[") || is_operator(token, "{");
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;
  Tree tree_;
};

}  // namespace

Tree parse(std::string_view source) {
  return Parser(tokenize(source)).run();
}

}  // namespace tumbler::jinja
