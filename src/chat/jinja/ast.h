// The syntax tree of a template. Nodes lie in one arena and point to one another, so that even a very long
// template is freed without recursion.
#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "chat/jinja/value.h"

namespace tumbler::jinja {

struct Node;
using Block = std::vector<const Node*>;

enum class NodeKind : uint8_t {
  // Expressions. children are the operands.
  kConstant,     // value
  kName,         // name
  kList,         //
  kTuple,        //
  kDict,         // key, value, key, value, …
  kAttribute,    // of children[0]: name
  kItem,         // children[0][children[1]]
  kSlice,        // children[0][1:2:3], missing ones null
  kCall,         // children[0] (the others, named, star, star_star)
  kFilter,       // children[0] | name(the others, named)
  kTest,         // children[0] is name(the others, named)
  kNot,          //
  kNegate,       //
  kPlus,         //
  kArithmetic,   // children[0] ops[0] children[1] ops[1] …, from left to right
  kCompare,      // the same, as a chain: a < b < c is a < b and b < c
  kAnd,          //
  kOr,           //
  kConcatenate,  // ~
  kConditional,  // children: condition, then, else (may be null)
  kCaptured,     // the text of the block that a filter stands over
  // Statements.
  kText,         // value
  kOutput,       // children[0]
  kIf,           // children: conditions; bodies: one each, and one more for else
  kFor,          // children: target, items, filter (may be null); bodies: loop, else
  kSet,          // children: target, value
  kSetBlock,     // children: target, filtered kCaptured (may be null); bodies[0]
  kMacro,        // name, parameters; bodies[0]
  kCallBlock,    // children[0]: the call; parameters of the block; bodies[0]
  kFilterBlock,  // children[0]: filtered kCaptured; bodies[0]
  kWith,         // children: target, value, target, value, …; bodies[0]
  kBreak,        //
  kContinue,     //
};

enum class Op : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Node {
  NodeKind kind;
  int line;
  std::string name;
  Value value;
  std::vector<const Node*> children;
  std::vector<Op> ops;
  std::vector<std::pair<std::string, const Node*>>
      named;                        // arguments name=value; parameters with their default
  const Node* star = nullptr;       // *arguments
  const Node* star_star = nullptr;  // **arguments
  std::vector<Block> bodies;
};

struct Tree {
  std::deque<Node> nodes;
  Block root;
};

// Throws Error with the line where the source is no template.
Tree parse(std::string_view source);

}  // namespace tumbler::jinja
