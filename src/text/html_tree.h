// A compact HTML tree: nodes in document order in one array, text and attributes as views into the page.
//
// The tokenizer follows the WHATWG HTML standard, section 13.2.5. Tree building is its section 13.2.6 without
// what has no bearing on text: formatting elements are not reconstructed, and tables foster nothing. Every
// step costs O(1) amortised, so no page takes more than linear time: unlike libxml2 2.9, which looks through
// all attributes of a tag and all open elements for each one it meets (docs/decisions.md has the figures).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tumbler::text {

// clang-format off
#define TUMBLER_HTML_TAGS(X)                                                                                            \
  X(a) X(abbr) X(address) X(area) X(article) X(aside) X(audio) X(annotation) X(b) X(base) X(blockquote) X(body) X(br)   \
  X(button) X(canvas) X(caption) X(center) X(cite) X(code) X(col) X(colgroup) X(datalist) X(dd) X(del) X(details)       \
  X(dialog) X(dir) X(div) X(dl) X(dt) X(em) X(embed) X(fieldset) X(figcaption) X(figure) X(font) X(footer) X(form)      \
  X(frame) X(frameset) X(h1) X(h2) X(h3) X(h4) X(h5) X(h6) X(head) X(header) X(hgroup) X(hr) X(html) X(i) X(iframe)     \
  X(img) X(input) X(ins) X(kbd) X(label) X(legend) X(li) X(link) X(main) X(map) X(mark) X(math) X(menu) X(menuitem)     \
  X(meta) X(nav) X(noembed) X(noframes) X(noscript) X(object) X(ol) X(optgroup) X(option) X(output) X(p) X(param)       \
  X(picture) X(pre) X(progress) X(q) X(rp) X(rt) X(s) X(samp) X(script) X(search) X(section) X(select) X(small)         \
  X(source) X(span) X(strike) X(strong) X(style) X(sub) X(summary) X(sup) X(svg) X(table) X(tbody) X(td) X(textarea)    \
  X(tfoot) X(th) X(thead) X(time) X(title) X(tr) X(track) X(tt) X(u) X(ul) X(var) X(video) X(wbr) X(xmp)
#define TUMBLER_HTML_ATTRIBUTES(X)                                                                                      \
  X(id) X(role) X(style) X(hidden) X(aria_hidden) X(itemprop) X(itemtype) X(rel) X(href) X(type) X(encoding)            \
  X(data_nosnippet) X(alttext)
// clang-format on

enum class Tag : uint8_t {
  kText,     // not an element
  kUnknown,  // an element of any other name
#define X(name) name##_,
  TUMBLER_HTML_TAGS(X)
#undef X
      kCount
};
enum class Attribute : uint8_t {
  class_,
#define X(name) name##_,
  TUMBLER_HTML_ATTRIBUTES(X)
#undef X
      kNone
};

struct HtmlNode {
  const char* data = nullptr;  // text: its bytes, entities decoded
  uint32_t size = 0;           // text: bytes; element: index of its first attribute
  int32_t parent = -1;
  int32_t end = 0;  // the subtree is the nodes [own index, end)
  uint16_t n_attributes = 0;
  Tag tag = Tag::kText;
};

struct HtmlAttribute {
  Attribute name;
  std::string_view value;  // entities decoded
};

class HtmlTree {
 public:
  // `html` must outlive the tree. Reasons: "too_many_nodes", "too_deep".
  static Result<HtmlTree> parse(std::string_view html, int64_t max_nodes, int64_t max_depth);

  int32_t size() const noexcept { return static_cast<int32_t>(nodes_.size()); }
  const HtmlNode& operator[](int32_t i) const noexcept {
    return nodes_[static_cast<size_t>(i)];
  }  // 0 is the document
  Tag tag(int32_t i) const noexcept { return (*this)[i].tag; }
  std::string_view text(int32_t i) const noexcept { return {(*this)[i].data, (*this)[i].size}; }
  bool has(int32_t i, Attribute name) const noexcept { return find(i, name) != nullptr; }
  std::string_view attribute(int32_t i, Attribute name) const noexcept {
    const HtmlAttribute* found = find(i, name);
    return found ? found->value : std::string_view();
  }

 private:
  friend class HtmlTreeBuilder;
  friend class HtmlTokenizer;
  const HtmlAttribute* find(int32_t i, Attribute name) const noexcept {
    const HtmlNode& node = (*this)[i];
    if (node.tag == Tag::kText) return nullptr;
    for (uint32_t k = 0; k < node.n_attributes; ++k)
      if (attributes_[node.size + k].name == name) return &attributes_[node.size + k];
    return nullptr;
  }
  std::string_view keep(std::string text);  // bytes that are not in the page as they are

  std::vector<HtmlNode> nodes_;
  std::vector<HtmlAttribute> attributes_;
  std::deque<std::string> kept_;
};

// Appends `text` with character references replaced (WHATWG 13.2.5.72 ff.); in attributes "&copy=" stays as
// it is.
void decode_entities(std::string_view text, bool in_attribute, std::string& out);

Tag tag_from_name(std::string_view lower_case_name) noexcept;
// Named character references; nullptr or UTF-8. `name` is without '&', with the ';' where the reference has
// one.
const char* find_entity(std::string_view name) noexcept;

}  // namespace tumbler::text
