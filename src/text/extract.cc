#include "text/extract.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>

#include "text/extract_baseline.h"
#include "text/extract_blocks.h"
#include "text/extract_page.h"
#include "text/readability.h"

namespace tumbler::text {
namespace {

using enum Tag;

constexpr uint32_t kEnough = 250;       // characters: less is taken for a failure of the step
constexpr int64_t kMaxDepth = 100'000;  // nothing recurses; this only bounds the stack of open elements

bool may_hold_content(Tag tag) {
  return tag == div_ || tag == section_ || tag == article_ || tag == main_ || tag == td_ || tag == table_ ||
         tag == kUnknown || tag == center_ || tag == p_ || tag == span_;
}

// The steps in which the container of the text is looked for, from sure to vague.
bool matches_step(const Page& page, int32_t i, int step) {
  if (step == 5) return i == page.body();  // a page without a container, as manuals often are
  const uint32_t hints = page.hints(i);
  const Tag tag = page.tree().tag(i);
  if (!may_hold_content(tag)) return false;
  if (step != 1 && tag != article_ && tag != main_ && (hints & (kHintBoilerplate | kHintComments)))
    return false;
  switch (step) {
    case 0:
      return hints & kHintArticleBody;
    case 1:
      return tag == article_;
    case 2:
      return hints & kHintArticle;
    case 3:
      return hints & kHintContent;
    default:
      return tag == main_ || (hints & kHintMain);
  }
}
constexpr int kSteps = 6;

uint32_t paragraph_chars(const BlockText& text) {
  uint32_t sum = 0;
  for (const Block& block : text.blocks)
    if (block.kind != BlockKind::kLoose && block.kind != BlockKind::kHeading) sum += block.chars;
  return sum;
}

// Text outside of paragraphs counts only on pages that have little else: on others it is captions, dates and
// labels. A sentence of some length is kept anyway.
void drop_loose(BlockText& text, bool precision) {
  const uint32_t limit = kEnough * (precision ? 1 : 3);
  if (paragraph_chars(text) < limit) return;
  std::erase_if(text.blocks, [&](const Block& block) {
    if (block.kind != BlockKind::kLoose) return false;
    return block.chars < 60 || 2 * block.link_chars > block.chars;
  });
}

bool ends_sentence(std::string_view text) {
  while (!text.empty() && (text.back() == '"' || text.back() == ')' || text.back() == '\''))
    text.remove_suffix(1);
  for (std::string_view mark :
       {".", "!", "?", "\u3002", "\u2026", "\uFF01", "\uFF1F", ".\u201C", ".\u201D", "!\u201C", "?\u201C"})
    if (text.ends_with(mark)) return true;
  return false;
}

// "Read more: <a>…</a>": a line between paragraphs that is there for its link.
void drop_link_lines(BlockText& text) {
  std::erase_if(text.blocks, [&](const Block& block) {
    if (block.kind != BlockKind::kParagraph && block.kind != BlockKind::kLoose &&
        block.kind != BlockKind::kQuote)
      return false;
    return block.chars < 250 && 2 * block.link_chars > block.chars && !ends_sentence(text.view(block));
  });
}

// Headings at the end have lost their text, and the same text twice in a row is a mistake of the page.
void tidy(BlockText& text) {
  while (!text.blocks.empty() && text.blocks.back().kind == BlockKind::kHeading) text.blocks.pop_back();
  std::unordered_set<std::string_view> seen;
  std::erase_if(text.blocks, [&](const Block& block) {
    if (block.chars <= 50 || block.kind == BlockKind::kCode) return false;
    return !seen.insert(text.view(block)).second;
  });
}

void polish(const Page& page, BlockText& text) {
  drop_loose(text, page.options().favour_precision);
  if (page.options().favour_precision) drop_link_lines(text);
  tidy(text);
}

void append_from(Page& page, int32_t root, const Dropped& cleaned, BlockText& out) {
  Dropped dropped = cleaned;
  dropped[static_cast<size_t>(root)] = 0;
  prune_boilerplate(page, root, dropped);
  prune_link_blocks(page, root, dropped);
  append_blocks(page, root, dropped, out);
}

// The lead of an article often stands before the container of its body: sentences without links in front of
// it, in what is no more than three elements up.
void append_lead(Page& page, int32_t root, const Dropped& cleaned, BlockText& out) {
  const HtmlTree& tree = page.tree();
  int32_t from = root;
  for (int up = 0; up < 3 && tree[from].parent > page.body(); ++up) from = tree[from].parent;
  if (from == root) return;
  Dropped dropped = cleaned;
  for (int32_t i = from + 1; i < tree[from].end; i = i == root ? tree[i].end : i + 1)
    if (i >= root) dropped[static_cast<size_t>(i)] = 1;
  prune_boilerplate(page, from, dropped);
  prune_link_blocks(page, from, dropped);
  const BlockText before = collect_blocks(page, from, dropped);
  for (const Block& block : before.blocks) {
    if (block.chars < 80 || block.chars > 1000 || block.link_chars > 0 || block.kind == BlockKind::kRow)
      continue;
    if (!ends_sentence(before.view(block))) continue;
    Block copy = block;
    copy.offset = static_cast<uint32_t>(out.bytes.size());
    out.bytes += before.view(block);
    out.blocks.push_back(copy);
  }
}

BlockText extract_from(Page& page, int32_t root, const Dropped& cleaned) {
  BlockText text;
  append_lead(page, root, cleaned, text);
  append_from(page, root, cleaned, text);
  polish(page, text);
  return text;
}

// The first step that yields anything decides. If its matches share the text among them, as sections of one
// page do, all count.
BlockText extract_main(Page& page, const Dropped& cleaned) {
  const HtmlTree& tree = page.tree();
  for (int step = 0; step < kSteps; ++step) {
    page.measure(0, cleaned);
    std::vector<int32_t> matches;  // outermost
    int32_t best = -1;
    uint32_t best_chars = 0, sum = 0;
    for (int32_t i = 1, outer_end = 0; i < tree.size();) {
      if (cleaned[static_cast<size_t>(i)]) {
        i = tree[i].end;
        continue;
      }
      if (matches_step(page, i, step)) {
        const Measure& m = page.measured(i);
        const uint32_t chars = m.chars - m.link_chars;
        if (best < 0 || chars > 2 * best_chars) {
          best = i;
          best_chars = chars;
        }
        if (i >= outer_end) {
          matches.push_back(i);
          sum += chars;
          outer_end = tree[i].end;
        }
      }
      ++i;
    }
    if (best < 0) continue;
    // A container that misses most of the page's paragraphs is a box beside them.
    const Measure& whole = page.measured(page.body());
    const uint64_t prose = std::min(whole.paragraph_chars, whole.chars - whole.link_chars);
    if (step + 1 < kSteps && 5 * static_cast<uint64_t>(std::max(sum, best_chars)) < prose) continue;
    BlockText text = extract_from(page, best, cleaned);
    if (matches.size() > 1 && 3 * best_chars < 2 * sum) {
      BlockText all;
      for (int32_t root : matches) append_from(page, root, cleaned, all);
      polish(page, all);
      if (all.chars() > text.chars()) return all;
    }
    if (text.blocks.size() > 1) return text;
  }
  return {};
}

// All paragraphs, quotes, code and tables of the page.
BlockText recover_wild(Page& page, const Dropped& cleaned) {
  Dropped dropped = cleaned;
  const int32_t root = page.body();
  prune_boilerplate(page, root, dropped);
  prune_link_blocks(page, root, dropped);
  BlockText text = collect_blocks(page, root, dropped);
  std::erase_if(text.blocks, [](const Block& block) {
    return block.kind == BlockKind::kLoose || block.kind == BlockKind::kItem;
  });
  tidy(text);
  return text;
}

std::string to_nfc(std::string text) {
  const bool below_combining =
      std::none_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) >= 0xCC; });
  if (below_combining) return text;  // up to U+02FF everything is NFC
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  if (U_FAILURE(status) || nfc->isNormalizedUTF8(text, status)) return text;
  std::string out;
  icu::StringByteSink<std::string> sink(&out);
  nfc->normalizeUTF8(0, text, sink, nullptr, status);
  return U_FAILURE(status) ? text : out;
}

std::string join(const BlockText& text) {
  std::string out;
  for (const Block& block : text.blocks) {
    if (!out.empty()) out += '\n';
    out += text.view(block);
  }
  return to_nfc(std::move(out));
}

bool looks_like_json(const BlockText& text) {
  return !text.blocks.empty() && !text.view(text.blocks[0]).empty() && text.view(text.blocks[0])[0] == '{';
}

bool prefer_readability(const BlockText& own, const BlockText& other) {
  const uint32_t a = own.chars(), b = other.chars();
  if (b == 0 || a > 2 * b) return false;
  if (a == 0) return true;
  if (looks_like_json(other)) return false;
  if (b > 2 * a) return true;
  const bool has_paragraph = std::any_of(own.blocks.begin(), own.blocks.end(), [](const Block& block) {
    return block.kind == BlockKind::kParagraph || block.kind == BlockKind::kQuote ||
           block.kind == BlockKind::kItem;
  });
  return !has_paragraph && b > 500;
}

}  // namespace

Result<std::string> extract_main_text(std::string_view html, const ExtractOptions& options) {
  if (html.find_first_not_of(" \t\r\n\f") == html.npos) return Reason{"empty", "no bytes but white space"};
  Result<HtmlTree> tree = HtmlTree::parse(html, options.max_nodes, kMaxDepth);
  if (!tree) return tree.reason();
  bool element = false;
  for (int32_t i = 1; i < tree->size() && !element; ++i)
    element = tree->tag(i) != kText && tree->tag(i) != kUnknown;
  if (!element) return Reason{"not_html", "no HTML element"};
  Page page(std::move(*tree), options);
  const Dropped cleaned = page.clean();
  BlockText text = extract_main(page, cleaned);
  if (text.chars() < kEnough) {
    BlockText wild = recover_wild(page, cleaned);
    if (wild.chars() > text.chars()) text = std::move(wild);
  }
  BlockText other = extract_readability(page);
  if (prefer_readability(text, other)) text = std::move(other);
  if (text.chars() < kEnough && !options.favour_precision) {
    BlockText baseline = extract_baseline(page);
    if (baseline.chars() > text.chars()) text = std::move(baseline);
  }
  if (text.blocks.empty()) return Reason{"empty", "no text outside of menus, links and forms"};
  return join(text);
}

}  // namespace tumbler::text
