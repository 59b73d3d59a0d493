#include "text/extract_page.h"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace tumbler::text {
namespace {

using enum Tag;
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

// Never text, whatever surrounds them.
constexpr TagSet kNeverText =
    make_set(area_, audio_, base_, button_, canvas_, col_, colgroup_, datalist_, embed_, frame_, frameset_,
             head_, iframe_, img_, input_, legend_, link_, map_, menuitem_, meta_, noembed_, noframes_,
             object_, optgroup_, option_, output_, param_, picture_, progress_, rp_, rt_, script_, select_,
             source_, style_, svg_, textarea_, title_, track_, video_);
// Not text unless they hold most of what the page says.
constexpr TagSet kBesideText = make_set(aside_, dialog_, footer_, form_, menu_, nav_, noscript_, search_);
// Elements that are judged by their class names.
constexpr TagSet kJudged =
    make_set(div_, section_, ul_, ol_, li_, dl_, dd_, dt_, p_, span_, table_, tr_, td_, header_, details_,
             figure_, h2_, h3_, h4_, h5_, h6_, strong_, small_, address_, time_, fieldset_, center_, kUnknown,
             a_, label_, em_, i_, b_, cite_);
// Elsewhere an id is the target of a link rather than a role.
constexpr TagSet kNamedById = make_set(div_, section_, article_, main_, ul_, ol_, dl_, table_, td_, header_,
                                       details_, figure_, form_, aside_, nav_, footer_, center_, kUnknown);
constexpr TagSet kHeadingTags = make_set(h1_, h2_, h3_, h4_, h5_, h6_);
constexpr TagSet kBlock =
    make_set(address_, article_, aside_, blockquote_, body_, caption_, center_, dd_, details_, dialog_, dir_,
             div_, dl_, dt_, fieldset_, figcaption_, figure_, footer_, form_, h1_, h2_, h3_, h4_, h5_, h6_,
             header_, hgroup_, hr_, html_, li_, main_, menu_, nav_, ol_, p_, pre_, search_, section_,
             summary_, table_, tbody_, td_, tfoot_, th_, thead_, tr_, ul_, xmp_, option_, legend_, noscript_);

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

std::string letters(std::string_view text) {
  std::string out;
  for (char c : text)
    if ((c | 32) >= 'a' && (c | 32) <= 'z') out += static_cast<char>(c | 32);
  return out;
}

bool hides(std::string_view style) {
  std::string compact;
  for (char c : style.substr(0, 400))
    if (!is_html_space(c)) compact += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return contains(compact, "display:none") || contains(compact, "visibility:hidden");
}

bool is_hidden(const HtmlTree& tree, int32_t i) {
  if (tree[i].n_attributes == 0) return false;
  if (tree.has(i, Attribute::hidden_)) return tree.attribute(i, Attribute::hidden_) != "until-found";
  if (tree.attribute(i, Attribute::aria_hidden_) == "true") return true;
  const std::string_view style = tree.attribute(i, Attribute::style_);
  return !style.empty() && hides(style);
}

// ARIA landmarks that are never the text.
bool role_is_boilerplate(std::string_view role) {
  static constexpr std::string_view kRoles[] = {
      "navigation", "banner",  "contentinfo", "complementary", "search",  "menu",
      "menubar",    "dialog",  "alertdialog", "tablist",       "toolbar", "form",
      "button",     "tooltip", "listbox",     "combobox",      "alert",   "menuitem"};
  return std::find(std::begin(kRoles), std::end(kRoles), role) != std::end(kRoles);
}

// A heading that links to itself is no link.
bool is_link(const HtmlTree& tree, int32_t i) {
  if (!tree.has(i, Attribute::href_)) return false;
  return !(tree.attribute(i, Attribute::href_).substr(0, 1) == "#" &&
           in(kHeadingTags, tree.tag(tree[i].parent)));
}

uint32_t count_chars(std::string_view text) {
  uint32_t chars = 0;
  bool space = true;
  for (char c : text) {
    const bool now = is_html_space(c);
    chars += !(now && space) && (static_cast<uint8_t>(c) & 0xC0) != 0x80;
    space = now;
  }
  return chars;
}

}  // namespace

bool is_html_space(char c) noexcept {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}
bool is_block_tag(Tag tag) noexcept {
  return in(kBlock, tag);
}

Page::Page(HtmlTree tree, const ExtractOptions& options) : tree_(std::move(tree)), options_(options) {
  const size_t n = static_cast<size_t>(tree_.size());
  text_chars_.resize(n);
  for (int32_t i = 0; i < tree_.size(); ++i) {
    if (tree_.tag(i) == kText)
      text_chars_[static_cast<size_t>(i)] = count_chars(tree_.text(i));
    else if (tree_.tag(i) == body_ && body_node_ == 0)
      body_node_ = i;
  }
  measures_.resize(n);
  collect_hints();
}

void Page::collect_hints() {
  hints_.resize(static_cast<size_t>(tree_.size()));
  std::unordered_map<std::string_view, uint32_t> known;  // pages repeat their class names
  for (int32_t i = 0; i < tree_.size(); ++i) {
    if (tree_[i].n_attributes == 0 || tree_.tag(i) == kText) continue;
    uint32_t& hints = hints_[static_cast<size_t>(i)];
    if (const std::string_view name = tree_.attribute(i, Attribute::class_); !name.empty()) {
      const auto [found, fresh] = known.try_emplace(name, 0);
      if (fresh) found->second = find_hints(name);
      hints = found->second;
    }
    if (in(kNamedById, tree_.tag(i))) hints |= id_hints(i, hints);
    if (const std::string_view role = tree_.attribute(i, Attribute::role_); !role.empty()) {
      if (role == "main")
        hints |= kHintMain;
      else if (role == "article")
        hints |= kHintArticle;
      else if (role_is_boilerplate(role))
        hints |= kHintBoilerplate;
    }
    if (tree_.attribute(i, Attribute::itemprop_) == "articleBody") hints |= kHintArticleBody;
  }
}

// Manuals name a section after its heading ("handling-security-related-bugs"): such a name says nothing of
// its role.
uint32_t Page::id_hints(int32_t i, uint32_t class_hints) const {
  constexpr uint32_t kDrops = kHintBoilerplate | kHintDoubtful | kHintTeaser | kHintHidden | kHintNegative;
  constexpr int32_t kLook = 16;  // nodes in which the heading has to come
  const std::string_view id = tree_.attribute(i, Attribute::id_);
  const uint32_t hints = id.empty() ? 0 : find_hints(id);
  if (class_hints & kHintSection) return 0;
  if (!(hints & kDrops)) return hints;
  int32_t heading = i + 1;
  const int32_t end = std::min(tree_[i].end, i + kLook);
  while (heading < end && !in(kHeadingTags, tree_.tag(heading))) ++heading;
  if (heading >= end) return hints;
  const std::string name = letters(id);
  std::string title;
  for (int32_t k = heading; k < tree_[heading].end; ++k)
    if (tree_.tag(k) == kText) title += letters(tree_.text(k));
  return contains(title, name) && (title.size() > 10 || tree_.tag(i) == section_) ? hints & ~kDrops : hints;
}

Dropped Page::clean() {
  Dropped dropped(static_cast<size_t>(tree_.size()), 0);
  for (int32_t i = 1; i < tree_.size();) {
    const bool drop = in(kNeverText, tree_.tag(i)) || (!options_.include_tables && tree_.tag(i) == table_);
    if (drop) dropped[static_cast<size_t>(i)] = 1;
    i = drop ? tree_[i].end : i + 1;
  }
  const Measure all = measure(0, dropped)[0];
  for (int32_t i = 1; i < tree_.size();) {
    bool drop = dropped[static_cast<size_t>(i)];
    if (!drop && tree_.tag(i) != kText && is_aside(i)) {
      // Pages that put all they have into a <form>, or hide it until a script has run, do have text.
      const Measure& m = measured(i);
      drop = 2 * static_cast<uint64_t>(m.chars - m.link_chars) <= all.chars - all.link_chars;
    }
    if (drop) dropped[static_cast<size_t>(i)] = 1;
    i = drop ? tree_[i].end : i + 1;
  }
  return dropped;
}

// Beside the text by its tag, by being hidden, or as readers' comments.
bool Page::is_aside(int32_t i) const {
  const Tag tag = tree_.tag(i);
  if (in(kBesideText, tag) || is_hidden(tree_, i)) return true;
  if (options_.include_comments || !(hints(i) & kHintComments)) return false;
  return tag != body_ && tag != article_ && tag != main_ && !(hints(i) & (kHintArticleBody | kHintMain));
}

const std::vector<Measure>& Page::measure(int32_t root, const Dropped& dropped) {
  const int32_t end = tree_[root].end;
  std::fill(measures_.begin() + root, measures_.begin() + end, Measure{});
  for (int32_t i = end - 1; i >= root; --i) {
    Measure& own = measures_[static_cast<size_t>(i)];
    const Tag tag = tree_.tag(i);
    if (tag == kText) {
      own.chars = text_chars_[static_cast<size_t>(i)];
    } else if (tag == a_) {
      if (is_link(tree_, i)) {
        own.link_chars = own.chars;
        own.links = 1;
        own.short_links = own.chars < 10;
      }
    } else if (tag == p_ || tag == pre_ || tag == blockquote_) {
      own.paragraph_chars = own.chars;
    }
    if (i == root || dropped[static_cast<size_t>(i)]) continue;
    Measure& up = measures_[static_cast<size_t>(tree_[i].parent)];
    up.chars += own.chars;
    up.link_chars += own.link_chars;
    up.paragraph_chars += own.paragraph_chars;
    up.links += own.links;
    up.short_links += own.short_links;
  }
  return measures_;
}

namespace {

constexpr TagSet kSentence = make_set(p_, li_, dd_, dt_, td_, th_, h1_, h2_, h3_, h4_, h5_, h6_, blockquote_,
                                      a_, span_, strong_, em_, b_, i_, small_, pre_, code_);
constexpr TagSet kInline = make_set(a_, span_, strong_, em_, b_, i_, small_, cite_, label_, time_, kUnknown);

// A word in a sentence is not dropped for its class: that would leave holes in the prose.
bool is_within_sentence(const Page& page, int32_t i) {
  const HtmlTree& tree = page.tree();
  if (!in(kInline, tree.tag(i))) return false;
  const Measure& up = page.measured(tree[i].parent);
  return in(kSentence, tree.tag(tree[i].parent)) && up.chars > 2 * page.measured(i).chars;
}

// Is the element, by its name or tag, no part of the text?
bool is_boilerplate(const Page& page, int32_t i) {
  const HtmlTree& tree = page.tree();
  const Tag tag = tree.tag(i);
  const uint32_t hints = page.hints(i);
  const Measure& m = page.measured(i);
  const bool precision = page.options().favour_precision;
  if (tag == figcaption_) return true;
  if (tag == figure_) return m.paragraph_chars < 100;
  if (tag == header_ && precision && m.chars - m.link_chars < 80) return true;
  if (!in(kJudged, tag) || (hints & kHintArticleBody)) return false;
  if (hints & (kHintHidden | kHintPermalink)) return true;
  if (is_within_sentence(page, i)) return false;
  if (hints & kHintBoilerplate) return true;
  if ((hints & kHintTeaser) && m.links > 0)
    return true;  // a teaser links to its article; a lead paragraph does not
  return precision && (hints & kHintDoubtful);
}

}  // namespace

void prune_boilerplate(Page& page, int32_t root, Dropped& dropped) {
  const HtmlTree& tree = page.tree();
  const Measure all = page.measure(root, dropped)[static_cast<size_t>(root)];
  Dropped attempt = dropped;
  for (int32_t i = root + 1; i < tree[root].end;) {
    bool drop = dropped[static_cast<size_t>(i)];
    if (!drop && tree.tag(i) != kText && is_boilerplate(page, i)) {
      // What holds most of the text is no boilerplate, whatever it is called.
      const Measure& m = page.measured(i);
      drop = 2 * static_cast<uint64_t>(m.chars - m.link_chars) <= all.chars - all.link_chars;
    }
    if (drop) attempt[static_cast<size_t>(i)] = 1;
    i = drop ? tree[i].end : i + 1;
  }
  const uint32_t after = page.measure(root, attempt)[static_cast<size_t>(root)].chars;
  if (7 * static_cast<uint64_t>(after) > all.chars) dropped = std::move(attempt);
}

namespace {

bool mostly_links(const Measure& m, uint32_t limit, bool precision) {
  if (m.links == 0) return false;
  if (m.links == 1) return m.link_chars > (precision ? 10u : 100u) && 10 * m.link_chars > 9 * m.chars;
  if (m.chars < limit) {
    if (5 * m.link_chars > 4 * m.chars) return true;
    if (5 * m.short_links > 4 * m.links) return true;
  }
  return m.links > 4 && 20 * m.link_chars > 19 * m.chars && m.link_chars < 100 * m.links;
}

bool is_link_table(const Measure& m) {
  if (m.chars < 200 || m.links == 0) return false;
  return m.chars < 1000 ? 5 * m.link_chars > 4 * m.chars : 2 * m.link_chars > m.chars;
}

}  // namespace

void prune_link_blocks(Page& page, int32_t root, Dropped& dropped) {
  const HtmlTree& tree = page.tree();
  const bool precision = page.options().favour_precision;
  for (int pass = 0; pass < 2; ++pass) {
    page.measure(root, dropped);
    for (int32_t i = root + 1; i < tree[root].end;) {
      bool drop = dropped[static_cast<size_t>(i)];
      const Measure& m = page.measured(i);
      const bool last = tree[i].end >= tree[tree[i].parent].end;
      switch (tree.tag(i)) {
        case div_:
        case section_:
        case ul_:
        case ol_:
        case dl_:
        case article_:
        case blockquote_:
        case center_:
          drop |= mostly_links(m, last ? 300 : 100, precision);
          break;
        case p_:
          drop |= mostly_links(m, last ? 60 : 30, precision);
          break;
        case h1_:
        case h2_:
        case h3_:
        case h4_:
        case h5_:
        case h6_:
          drop |= precision && m.links > 0 && mostly_links(m, 100, false);
          break;
        case td_:
          drop |= m.links > 1 && m.chars < 100 && 5 * m.link_chars > 4 * m.chars;
          break;
        case table_:
          drop |= is_link_table(m);
          break;
        default:
          break;
      }
      if (drop) dropped[static_cast<size_t>(i)] = 1;
      i = drop ? tree[i].end : i + 1;
    }
  }
}

}  // namespace tumbler::text
