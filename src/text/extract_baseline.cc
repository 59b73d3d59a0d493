#include "text/extract_baseline.h"

#include <algorithm>
#include <unordered_set>

namespace tumbler::text {
namespace {

using enum Tag;

// Paragraphs, quotes and code of the whole page, each once.
BlockText all_paragraphs(Page& page) {
  const Dropped dropped = page.clean();
  BlockText text = collect_blocks(page, page.body(), dropped);
  std::unordered_set<std::string_view> seen;
  std::erase_if(text.blocks, [&](const Block& block) {
    const bool wanted = block.kind == BlockKind::kParagraph || block.kind == BlockKind::kQuote ||
                        block.kind == BlockKind::kCode;
    return !wanted || !seen.insert(text.view(block)).second;
  });
  return text;
}

}  // namespace

BlockText extract_baseline(Page& page) {
  BlockText text = all_paragraphs(page);
  if (text.chars() > 100) return text;
  return collect_blocks(page, page.body(), page.clean());
}

}  // namespace tumbler::text
