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
constexpr int kSteps = 5;

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

// Headings at the end have lost their text, and the same text twice in a row is a mistake of the page.
void tidy(BlockText& text) {
  while (!text.blocks.empty() && text.blocks.back().kind == BlockKind::kHeading) text.blocks.pop_back();
  std::unordered_set<std::string_view> seen;
  std::erase_if(text.blocks, [&](const Block& block) {
    if (block.chars <= 50 || block.kind == BlockKind::kCode) return false;
    return !seen.insert(text.view(block)).second;
  });
}

BlockText extract_from(Page& page, int32_t root, const Dropped& cleaned) {
  Dropped dropped = cleaned;
  dropped[static_cast<size_t>(root)] = 0;
  prune_boilerplate(page, root, dropped);
  prune_link_blocks(page, root, dropped);
  BlockText text = collect_blocks(page, root, dropped);
  drop_loose(text, page.options().favour_precision);
  tidy(text);
  return text;
}

// The first step that yields anything decides; of its matches the one with most text in paragraphs.
BlockText extract_main(Page& page, const Dropped& cleaned) {
  const HtmlTree& tree = page.tree();
  page.measure(0, cleaned);
  for (int step = 0; step < kSteps; ++step) {
    int32_t best = -1;
    uint32_t best_chars = 0;
    for (int32_t i = 1; i < tree.size();) {
      if (cleaned[static_cast<size_t>(i)]) {
        i = tree[i].end;
        continue;
      }
      if (matches_step(page, i, step)) {
        const Measure& m = page.measured(i);
        if (best < 0 || m.chars - m.link_chars > 2 * best_chars) {
          best = i;
          best_chars = m.chars - m.link_chars;
        }
      }
      ++i;
    }
    if (best < 0) continue;
    BlockText text = extract_from(page, best, cleaned);
    if (text.blocks.size() > 1) return text;
    page.measure(0, cleaned);
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
