#include "text/readability.h"

#include <algorithm>
#include <cmath>

namespace tumbler::text {
namespace {

using enum Tag;

constexpr double kNoScore = -1e30;

bool is_heading(Tag tag) {
  return tag >= h1_ && tag <= h6_;
}

double class_weight(uint32_t hints) {
  return (hints & kHintPositive ? 25.0 : 0.0) - (hints & kHintNegative ? 25.0 : 0.0);
}

double base_score(Tag tag) {
  switch (tag) {
    case div_:
    case article_:
    case main_:
    case section_:
      return 5;
    case pre_:
    case td_:
    case blockquote_:
      return 3;
    case address_:
    case ol_:
    case ul_:
    case dl_:
    case dd_:
    case dt_:
    case li_:
    case form_:
    case aside_:
      return -3;
    case h1_:
    case h2_:
    case h3_:
    case h4_:
    case h5_:
    case h6_:
    case th_:
    case header_:
    case footer_:
    case nav_:
      return -5;
    default:
      return 0;
  }
}

// What can never be text, and what its names call unlikely.
Dropped drop_unlikely(Page& page, bool unlikely_too) {
  const HtmlTree& tree = page.tree();
  Dropped dropped = page.clean();
  if (!unlikely_too) return dropped;
  for (int32_t i = 1; i < tree.size();) {
    const Tag tag = tree.tag(i);
    const uint32_t hints = page.hints(i);
    const bool drop = tag != kText && tag != body_ && tag != html_ && !is_heading(tag) && tag != article_ &&
                      tag != main_ && (hints & kHintUnlikely) && !(hints & kHintMaybe);
    if (drop) dropped[static_cast<size_t>(i)] = 1;
    i = dropped[static_cast<size_t>(i)] ? tree[i].end : i + 1;
  }
  return dropped;
}

uint32_t count_commas(std::string_view text) {
  uint32_t n = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ',') ++n;
    if (static_cast<uint8_t>(text[i]) == 0xE3 && text.compare(i, 3, "\xE3\x80\x81") == 0)
      ++n;  // ideographic comma
    if (static_cast<uint8_t>(text[i]) == 0xEF && text.compare(i, 3, "\xEF\xBC\x8C") == 0)
      ++n;  // full-width comma
  }
  return n;
}

class Scorer {
 public:
  Scorer(Page& page, Dropped& dropped) : page_(page), tree_(page.tree()), dropped_(dropped) {
    score_.assign(static_cast<size_t>(tree_.size()), kNoScore);
    has_block_.assign(static_cast<size_t>(tree_.size()), 0);
    commas_.assign(static_cast<size_t>(tree_.size()), 0);
    page_.measure(0, dropped_);
    for (int32_t i = tree_.size() - 1; i > 0; --i) {
      if (dropped_[static_cast<size_t>(i)]) continue;
      const size_t parent = static_cast<size_t>(tree_[i].parent);
      if (tree_.tag(i) == kText) commas_[static_cast<size_t>(i)] = count_commas(tree_.text(i));
      commas_[parent] += commas_[static_cast<size_t>(i)];
      if (is_block_tag(tree_.tag(i)) || tree_.tag(i) == table_) has_block_[parent] = 1;
    }
    vote();
  }

  int32_t best() const {
    int32_t best = -1;
    double best_score = 0;
    for (int32_t i = 0; i < tree_.size(); ++i) {
      const double s = final_score(i);
      if (s > best_score) {
        best_score = s;
        best = i;
      }
    }
    return best;
  }

  double final_score(int32_t i) const {
    const double s = score_[static_cast<size_t>(i)];
    return s == kNoScore ? kNoScore : s * (1 - link_density(i));
  }

  double link_density(int32_t i) const {
    const Measure& m = page_.measured(i);
    return m.chars == 0 ? 0 : static_cast<double>(m.link_chars) / m.chars;
  }

  // Siblings of the best that belong to it.
  bool belongs(int32_t i, int32_t best) const {
    if (i == best) return true;
    const double threshold = std::max(10.0, 0.2 * final_score(best));
    if (final_score(i) >= threshold) return true;
    if (tree_.tag(i) != p_) return false;
    const uint32_t chars = page_.measured(i).chars;
    return chars > 80 && link_density(i) < 0.25;
  }

  uint32_t commas(int32_t i) const { return commas_[static_cast<size_t>(i)]; }

 private:
  bool counts_as_paragraph(int32_t i) const {
    const Tag tag = tree_.tag(i);
    return tag == p_ || tag == pre_ || tag == td_ ||
           ((tag == div_ || tag == section_) && !has_block_[static_cast<size_t>(i)]);
  }

  void vote() {
    for (int32_t i = 1; i < tree_.size();) {
      if (dropped_[static_cast<size_t>(i)]) {
        i = tree_[i].end;
        continue;
      }
      if (counts_as_paragraph(i) && page_.measured(i).chars >= 25) {
        const double points = 2.0 + commas(i) + std::min(page_.measured(i).chars / 100.0, 3.0);
        const int32_t parent = tree_[i].parent;
        add(parent, points);
        if (parent > 0) add(tree_[parent].parent, points / 2);
      }
      ++i;
    }
  }

  void add(int32_t i, double points) {
    if (i < 0) return;
    double& s = score_[static_cast<size_t>(i)];
    if (s == kNoScore) s = base_score(tree_.tag(i)) + class_weight(page_.hints(i));
    s += points;
  }

  Page& page_;
  const HtmlTree& tree_;
  Dropped& dropped_;
  std::vector<double> score_;
  std::vector<uint8_t> has_block_;
  std::vector<uint32_t> commas_;
};

void sanitize(const Page& page, const Scorer& scorer, int32_t root, Dropped& dropped) {
  const HtmlTree& tree = page.tree();
  for (int32_t i = root + 1; i < tree[root].end;) {
    if (dropped[static_cast<size_t>(i)]) {
      i = tree[i].end;
      continue;
    }
    const Tag tag = tree.tag(i);
    const double weight = class_weight(page.hints(i)), density = scorer.link_density(i);
    const Measure& m = page.measured(i);
    bool drop = tag == form_;
    if (is_heading(tag)) drop = weight < 0 || density > 0.33;
    if (tag == table_ || tag == ul_ || tag == ol_ || tag == div_ || tag == section_ || tag == header_) {
      if (weight < 0 && m.paragraph_chars < 200)
        drop = true;
      else if (scorer.commas(i) < 10)
        drop = m.chars < 25 || density > (weight < 25 ? 0.2 : 0.5);
    }
    if (drop) dropped[static_cast<size_t>(i)] = 1;
    i = drop ? tree[i].end : i + 1;
  }
}

BlockText attempt(Page& page, bool unlikely_too) {
  const HtmlTree& tree = page.tree();
  Dropped dropped = drop_unlikely(page, unlikely_too);
  const Scorer scorer(page, dropped);
  const int32_t best = scorer.best();
  BlockText text;
  if (best < 0) return text;
  const int32_t parent = best == 0 ? 0 : tree[best].parent;
  std::vector<int32_t> roots;
  if (parent == 0 && best == 0) roots.push_back(0);
  for (int32_t i = parent + 1; i < tree[parent].end && best != 0; i = tree[i].end)
    if (tree.tag(i) != kText && !dropped[static_cast<size_t>(i)] && scorer.belongs(i, best))
      roots.push_back(i);
  for (int32_t root : roots) {
    sanitize(page, scorer, root, dropped);
    append_blocks(page, root, dropped, text);
  }
  return text;
}

}  // namespace

BlockText extract_readability(Page& page) {
  BlockText text = attempt(page, true);
  if (text.chars() < 250) {
    BlockText second = attempt(page, false);
    if (second.chars() > text.chars()) return second;
  }
  return text;
}

}  // namespace tumbler::text
