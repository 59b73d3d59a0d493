// A template's source as tokens, with white space already taken away where the marks and the settings that
// `transformers` uses (trim_blocks, lstrip_blocks) say so.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tumbler::jinja {

enum class TokenKind : uint8_t {
  kData,           // text between tags
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kName,
  kString,  // text: with its escapes resolved
  kInteger,
  kFloat,
  kOperator,  // text: as written
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;
  int64_t integer = 0;
  double number = 0;
};

// Throws Error with the line where the source is no template.
std::vector<Token> tokenize(std::string_view source);

}  // namespace tumbler::jinja
