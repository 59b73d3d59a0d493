// The tokenizer of the WHATWG HTML standard (13.2.5) for html_tree.cc: start tags, end tags and text;
// comments are skipped.
#pragma once

#include <cstdint>
#include <string_view>

#include "text/html_tree.h"

namespace tumbler::text {

struct HtmlToken {
  enum class Kind : uint8_t { kText, kStart, kEnd };
  Kind kind = Kind::kText;
  Tag tag = Tag::kUnknown;
  bool self_closing = false;
  uint16_t n_attributes = 0;
  uint32_t first_attribute = 0;  // in the tree's attributes
  std::string_view name;         // as the page writes it
  std::string_view text;
};

class HtmlTokenizer {
 public:
  // Both must outlive the tokenizer; attributes and decoded text are put into `tree`.
  HtmlTokenizer(std::string_view html, HtmlTree& tree) : html_(html), tree_(tree) {}
  bool next(HtmlToken& token);

 private:
  bool next_tag(HtmlToken& token);  // at '<' and a letter or "</" and a letter
  void skip_markup_declaration();   // at "<!" or "<?"
  void read_attributes(HtmlToken& token);
  void add_attribute(HtmlToken& token, std::string_view name, std::string_view value, uint32_t& seen);
  std::string_view raw_text(Tag tag);  // up to the end tag
  std::string_view decoded(std::string_view text, bool in_attribute);

  std::string_view html_;
  HtmlTree& tree_;
  size_t at_ = 0;
  Tag raw_ = Tag::kUnknown;  // the raw text element that has just been opened
  bool raw_keep_ = false, xhtml_ = false;
};

}  // namespace tumbler::text
