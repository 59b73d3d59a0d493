// From a pruned subtree to blocks of text: paragraphs, headings, list items, quotes, code, table rows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/extract_page.h"

namespace tumbler::text {

enum class BlockKind : uint8_t { kParagraph, kHeading, kItem, kQuote, kCode, kRow, kLoose };

struct Block {
  BlockKind kind = BlockKind::kParagraph;
  uint32_t offset = 0, size = 0;  // bytes in BlockText::bytes
  uint32_t chars = 0, link_chars = 0;
  int32_t node = 0;  // the element that the block's text began in
};

// Blocks in document order and the bytes they point into. kLoose is text that stands in a <div>, <td> …
// without a paragraph.
struct BlockText {
  std::string bytes;
  std::vector<Block> blocks;

  std::string_view view(const Block& block) const {
    return std::string_view(bytes).substr(block.offset, block.size);
  }
  uint32_t chars() const;
};

// The subtree of `root` without what is dropped. White space is collapsed, except in <pre>; control
// characters vanish.
BlockText collect_blocks(const Page& page, int32_t root, const Dropped& dropped);
void append_blocks(const Page& page, int32_t root, const Dropped& dropped, BlockText& out);

}  // namespace tumbler::text
