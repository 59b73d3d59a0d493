// The last resort: structured data (JSON-LD) or everything that looks like a paragraph.
#pragma once

#include "text/extract_blocks.h"

namespace tumbler::text {

BlockText extract_baseline(Page& page);

}  // namespace tumbler::text
