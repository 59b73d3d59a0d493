// A scorer in the manner of Arc90's readability: paragraphs vote for their parents, the best container wins.
#pragma once

#include "text/extract_blocks.h"

namespace tumbler::text {

BlockText extract_readability(Page& page);

}  // namespace tumbler::text
