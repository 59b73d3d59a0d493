// A page being taken apart: its tree, what the class names say, which subtrees are dropped, how much text and
// how many links each subtree has.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/extract.h"
#include "text/extract_patterns.h"
#include "text/html_tree.h"

namespace tumbler::text {

// Of one subtree, without what is dropped. Characters are code points; a run of white space counts once.
struct Measure {
  uint32_t chars = 0, link_chars = 0;
  uint32_t paragraph_chars = 0;         // inside <p>, <pre>, <blockquote>
  uint32_t links = 0, short_links = 0;  // short: under 10 characters
};

using Dropped = std::vector<uint8_t>;  // by node: 1 = the subtree is not part of the text

class Page {
 public:
  Page(HtmlTree tree, const ExtractOptions& options);

  const HtmlTree& tree() const noexcept { return tree_; }
  const ExtractOptions& options() const noexcept { return options_; }
  uint32_t hints(int32_t i) const noexcept { return hints_[static_cast<size_t>(i)]; }
  uint32_t text_chars(int32_t i) const noexcept { return text_chars_[static_cast<size_t>(i)]; }
  int32_t body() const noexcept { return body_node_; }

  // What is text on no page: scripts, forms, navigation, hidden elements, and comments unless they are
  // wanted.
  Dropped clean();
  // Measures the subtree of `root`, bottom-up in one pass. Indexed by node; entries outside the subtree are
  // stale.
  const std::vector<Measure>& measure(int32_t root, const Dropped& dropped);
  const Measure& measured(int32_t i) const noexcept { return measures_[static_cast<size_t>(i)]; }

 private:
  void collect_hints();
  uint32_t id_hints(int32_t i, uint32_t class_hints) const;
  bool is_aside(int32_t i) const;

  HtmlTree tree_;
  ExtractOptions options_;
  std::vector<uint32_t> hints_, text_chars_;
  std::vector<Measure> measures_;
  int32_t body_node_ = 0;
};

// Drops what the class names of elements below `root` call boilerplate, unless hardly anything would be left.
void prune_boilerplate(Page& page, int32_t root, Dropped& dropped);
// Drops blocks that are mostly links: menus, tag lists, link farms.
void prune_link_blocks(Page& page, int32_t root, Dropped& dropped);

bool is_html_space(char c) noexcept;
// Elements that begin a line of their own.
bool is_block_tag(Tag tag) noexcept;

}  // namespace tumbler::text
