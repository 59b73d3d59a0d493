#include "text/html_tree.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "text/html_tokenizer.h"

namespace tumbler::text {
namespace {

using TagSet = std::array<bool, static_cast<size_t>(Tag::kCount)>;

template <class... T>
constexpr TagSet make_set(T... tags) {
  TagSet set{};
  ((set[static_cast<size_t>(tags)] = true), ...);
  return set;
}
constexpr bool in(const TagSet& set, Tag tag) {
  return set[static_cast<size_t>(tag)];
}

using enum Tag;
constexpr TagSet kVoid = make_set(area_, base_, br_, col_, embed_, frame_, hr_, img_, input_, link_, meta_,
                                  param_, source_, track_, wbr_);
// Elements whose start tag ends an open paragraph (13.2.6.4.7).
constexpr TagSet kClosesParagraph =
    make_set(address_, article_, aside_, blockquote_, center_, details_, dialog_, dir_, div_, dl_, dd_, dt_,
             fieldset_, figcaption_, figure_, footer_, form_, h1_, h2_, h3_, h4_, h5_, h6_, header_, hgroup_,
             hr_, li_, main_, menu_, nav_, ol_, p_, pre_, search_, section_, summary_, table_, ul_, xmp_);
// No end tag inside reaches through these ("has an element in scope", 13.2.4.2).
constexpr TagSet kScope = make_set(html_, table_, td_, th_, caption_, object_, svg_, math_);
// And no <li>, <dd> or <dt> closes one outside of these.
constexpr TagSet kListScope = make_set(html_, table_, td_, th_, caption_, object_, ul_, ol_, dl_, dir_, menu_,
                                       blockquote_, section_, article_);
constexpr TagSet kInline =
    make_set(a_, abbr_, b_, cite_, code_, del_, em_, font_, i_, ins_, kbd_, label_, mark_, q_, s_, samp_,
             small_, span_, strike_, strong_, sub_, sup_, time_, tt_, u_, var_, kUnknown);
constexpr TagSet kHeadContent = make_set(base_, link_, meta_, script_, style_, title_, noscript_, head_);
constexpr TagSet kHeadings = make_set(h1_, h2_, h3_, h4_, h5_, h6_);
// Block elements that end a piece of SVG or MathML in which they turn up (13.2.6.5).
constexpr TagSet kLeavesForeign =
    make_set(div_, p_, table_, ul_, ol_, li_, h1_, h2_, h3_, h4_, h5_, h6_, body_, pre_);

}  // namespace

class HtmlTreeBuilder {
 public:
  HtmlTreeBuilder(HtmlTree& tree, int64_t max_nodes, int64_t max_depth)
      : tree_(tree), max_nodes_(max_nodes), max_depth_(max_depth) {
    last_.fill(-1);
    tree_.nodes_.push_back({.tag = html_});
    push_open(0, html_, {});
  }

  const char* failure() const { return failure_; }

  void text(std::string_view bytes) {
    if (bytes.empty() || !room()) return;
    if (last(head_) >= 0 && last(noscript_) < 0 && last(title_) < 0 && last(script_) < 0 &&
        bytes.find_first_not_of(" \t\r\n\f") != bytes.npos)
      pop_to(last(head_));
    HtmlNode node;
    node.data = bytes.data();
    node.size = static_cast<uint32_t>(bytes.size());
    node.parent = open_.back().node;
    node.end = tree_.size() + 1;
    tree_.nodes_.push_back(node);
  }

  void start(const HtmlToken& token) {
    const Tag tag = token.tag;
    if ((tag == html_ || tag == body_) && last(body_) >= 0) return;  // a second one only adds attributes
    if (tag == html_ && tree_.size() > 1) return;
    if (!room()) return;
    close_implied(tag);
    const int32_t node = tree_.size();
    HtmlNode element;
    element.tag = tag;
    element.size = token.first_attribute;
    element.n_attributes = token.n_attributes;
    element.parent = open_.back().node;
    element.end = node + 1;
    tree_.nodes_.push_back(element);
    if (in(kVoid, tag)) return;
    if (token.self_closing && !in(make_set(html_, body_, head_), tag)) return;  // XHTML writes <a id="x"/>
    push_open(node, tag, token.name);
  }

  void end(const HtmlToken& token) {
    const Tag tag = token.tag;
    if (tag == html_ || tag == body_) return;  // what follows still belongs to the body
    if (tag == br_) {
      HtmlToken line_break;
      line_break.tag = br_;
      return start(line_break);
    }
    const int32_t at = in(kHeadings, tag) ? last_heading() : last(tag);
    if (at < 0) return;
    if (tag == kUnknown && open_[static_cast<size_t>(at)].name != token.name) return;
    const bool table_part = in(make_set(table_, tbody_, thead_, tfoot_, tr_, td_, th_, caption_), tag);
    const int32_t barrier = table_part ? last(table_) : last_scope_;
    if (at < barrier || (at == barrier && !in(kScope, tag))) return;
    if (tag == li_ || tag == dd_ || tag == dt_)
      if (at < last_list_) return;
    if (at < last_block_ && (in(kInline, tag) || tag == form_)) {
      forget(at);  // closed in the wrong order: the blocks inside stay open, this one no longer counts
      return;
    }
    pop_to(at);
  }

  void finish() { pop_to(0); }

 private:
  struct Open {
    int32_t node;
    Tag tag;
    std::string_view name;                                                 // of an unknown element
    int32_t previous_same, previous_scope, previous_list, previous_block;  // indices into open_, -1 for none
  };

  int32_t last(Tag tag) const { return last_[static_cast<size_t>(tag)]; }

  bool room() {
    if (failure_) return false;
    if (tree_.size() >= max_nodes_) failure_ = "too_many_nodes";
    if (static_cast<int64_t>(open_.size()) >= max_depth_) failure_ = "too_deep";
    return !failure_;
  }

  void push_open(int32_t node, Tag tag, std::string_view name) {
    const int32_t at = static_cast<int32_t>(open_.size());
    int32_t& same = last_[static_cast<size_t>(tag)];
    open_.push_back({node, tag, name, same, last_scope_, last_list_, last_block_});
    same = at;
    if (in(kScope, tag)) last_scope_ = at;
    if (in(kListScope, tag)) last_list_ = at;
    if (!in(kInline, tag)) last_block_ = at;
  }

  // Closes open_[at] and all above it.
  void pop_to(int32_t at) {
    while (static_cast<int32_t>(open_.size()) > at) {
      const Open& top = open_.back();
      tree_.nodes_[static_cast<size_t>(top.node)].end = tree_.size();
      if (top.tag != Tag::kText) last_[static_cast<size_t>(top.tag)] = top.previous_same;
      last_scope_ = top.previous_scope;
      last_list_ = top.previous_list;
      last_block_ = top.previous_block;
      open_.pop_back();
    }
  }

  // Takes the innermost element of its tag out of the chains; it is closed with its parent.
  void forget(int32_t at) {
    Open& element = open_[static_cast<size_t>(at)];
    last_[static_cast<size_t>(element.tag)] = element.previous_same;
    element.tag = Tag::kText;
  }

  int32_t last_heading() const {
    int32_t found = -1;
    for (Tag tag : {h1_, h2_, h3_, h4_, h5_, h6_}) found = std::max(found, last(tag));
    return found;
  }

  void close_implied(Tag tag) {
    if (last(head_) >= 0 && last(noscript_) < 0 && !in(kHeadContent, tag)) pop_to(last(head_));
    const int32_t foreign = std::max(last(svg_), last(math_));
    if (foreign >= 0 && in(kLeavesForeign, tag)) pop_to(foreign);
    if (in(kClosesParagraph, tag) && last(p_) > last_scope_) pop_to(last(p_));
    if (in(kHeadings, tag) && last_heading() == static_cast<int32_t>(open_.size()) - 1)
      pop_to(last_heading());
    if (tag == li_ && last(li_) > last_list_) pop_to(last(li_));
    if (tag == dd_ || tag == dt_)
      if (const int32_t at = std::max(last(dd_), last(dt_)); at > last_list_) pop_to(at);
    if (tag == option_ || tag == optgroup_)
      if (last(option_) > last_block_ - 1 && last(option_) >= 0 && last(option_) > last(select_))
        pop_to(last(option_));
    if (tag == a_) close_link();
    close_table_parts(tag);
  }

  // <a> never nests: a second one ends the first (13.2.6.4.7).
  void close_link() {
    const int32_t at = last(a_);
    if (at < 0 || at < last_scope_) return;
    if (at > last_block_) return pop_to(at);
    tree_.nodes_[static_cast<size_t>(open_[static_cast<size_t>(at)].node)].tag =
        span_;  // left open by mistake
    forget(at);
  }

  void close_table_parts(Tag tag) {
    const int32_t table = last(table_);
    if (table < 0) return;
    int32_t at = -1;
    if (tag == td_ || tag == th_)
      at = std::max(last(td_), last(th_));
    else if (tag == tr_)
      at = std::max({last(tr_), last(caption_), last(colgroup_)});
    else if (tag == tbody_ || tag == thead_ || tag == tfoot_)
      at = std::max({last(tbody_), last(thead_), last(tfoot_), last(caption_), last(colgroup_)});
    if (at > table) pop_to(at);
  }

  HtmlTree& tree_;
  const int64_t max_nodes_, max_depth_;
  const char* failure_ = nullptr;
  std::vector<Open> open_;
  std::array<int32_t, static_cast<size_t>(Tag::kCount)>
      last_;  // innermost open element of each tag, as index into open_
  int32_t last_scope_ = -1, last_list_ = -1, last_block_ = -1;
};

std::string_view HtmlTree::keep(std::string text) {
  return kept_.emplace_back(std::move(text));
}

Result<HtmlTree> HtmlTree::parse(std::string_view html, int64_t max_nodes, int64_t max_depth) {
  HtmlTree tree;
  tree.nodes_.reserve(std::min<size_t>(html.size() / 24 + 16, size_t{1} << 20));
  HtmlTreeBuilder builder(tree, max_nodes, max_depth);
  HtmlTokenizer tokenizer(html, tree);
  HtmlToken token;
  while (!builder.failure() && tokenizer.next(token)) {
    switch (token.kind) {
      case HtmlToken::Kind::kText:
        builder.text(token.text);
        break;
      case HtmlToken::Kind::kStart:
        builder.start(token);
        break;
      case HtmlToken::Kind::kEnd:
        builder.end(token);
        break;
    }
  }
  if (builder.failure())
    return Reason{builder.failure(), builder.failure() == std::string_view("too_deep")
                                         ? fmt::format("more than {} elements inside one another", max_depth)
                                         : fmt::format("more than {} nodes", max_nodes)};
  builder.finish();
  return tree;
}

}  // namespace tumbler::text
