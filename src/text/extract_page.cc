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
constexpr TagSet kNeverText = make_set(
    area_, aside_, audio_, base_, button_, canvas_, col_, colgroup_, datalist_, dialog_, embed_, footer_,
    frame_, frameset_, head_, iframe_, img_, input_, legend_, link_, map_, menu_, menuitem_, meta_, nav_,
    noembed_, noframes_, noscript_, object_, optgroup_, option_, output_, param_, picture_, progress_, rp_,
    rt_, script_, search_, select_, source_, style_, svg_, textarea_, title_, track_, video_);
// Elements that are judged by their class names.
constexpr TagSet kJudged =
    make_set(div_, section_, ul_, ol_, li_, dl_, dd_, dt_, p_, span_, table_, tr_, td_, header_, details_,
             figure_, h2_, h3_, h4_, h5_, h6_, strong_, small_, address_, time_, fieldset_, center_, kUnknown,
             a_, label_, em_, i_, b_, cite_);
constexpr TagSet kHeadingTags = make_set(h1_, h2_, h3_, h4_, h5_, h6_);
constexpr TagSet kBlock =
    make_set(address_, article_, aside_, blockquote_, body_, caption_, center_, dd_, details_, dialog_, dir_,
             div_, dl_, dt_, fieldset_, figcaption_, figure_, footer_, form_, h1_, h2_, h3_, h4_, h5_, h6_,
             header_, hgroup_, hr_, html_, li_, main_, menu_, nav_, ol_, p_, pre_, search_, section_,
             summary_, table_, tbody_, td_, tfoot_, th_, thead_, tr_, ul_, xmp_, option_, legend_, noscript_);

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
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
    if (const std::string_view id = tree_.attribute(i, Attribute::id_);
        !id.empty() && !in(kHeadingTags, tree_.tag(i)))
      hints |= find_hints(id);
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

Dropped Page::clean() const {
  Dropped dropped(static_cast<size_t>(tree_.size()), 0);
  for (int32_t i = 1; i < tree_.size();) {
    const Tag tag = tree_.tag(i);
    bool drop = in(kNeverText, tag) || (tag != kText && tag != body_ && is_hidden(tree_, i));
    if (!options_.include_comments && (hints(i) & kHintComments) && tag != body_ && tag != article_ &&
        tag != main_)
      drop = !(hints(i) & (kHintArticleBody | kHintMain));
    if (!options_.include_tables && tag == table_) drop = true;
    if (drop) dropped[static_cast<size_t>(i)] = 1;
    i = drop ? tree_[i].end : i + 1;
  }
  return dropped;
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

void prune_boilerplate(Page& page, int32_t root, Dropped& dropped) {
  const HtmlTree& tree = page.tree();
  const uint32_t before = page.measure(root, dropped)[static_cast<size_t>(root)].chars;
  uint32_t unwanted = kHintBoilerplate | kHintHidden | kHintTeaser | kHintPermalink;
  if (page.options().favour_precision) unwanted |= kHintDoubtful;
  Dropped attempt = dropped;
  for (int32_t i = root + 1; i < tree[root].end;) {
    const Tag tag = tree.tag(i);
    bool drop = dropped[static_cast<size_t>(i)];
    if (!drop && tag != kText) {
      drop = (page.hints(i) & unwanted) && in(kJudged, tag) && !(page.hints(i) & kHintArticleBody);
      if (tag == header_ && page.options().favour_precision) drop |= page.measured(i).paragraph_chars < 200;
      if (tag == figure_) drop |= page.measured(i).paragraph_chars < 100;
      // What holds most of the text is no boilerplate, whatever it is called.
      if (drop && !dropped[static_cast<size_t>(i)] && 2 * page.measured(i).paragraph_chars > before)
        drop = false;
    }
    if (drop) attempt[static_cast<size_t>(i)] = 1;
    i = drop ? tree[i].end : i + 1;
  }
  const uint32_t after = page.measure(root, attempt)[static_cast<size_t>(root)].chars;
  if (7 * static_cast<uint64_t>(after) > before) dropped = std::move(attempt);
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
