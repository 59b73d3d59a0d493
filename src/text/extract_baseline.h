// The last resort: everything that looks like a paragraph, and where there is nothing of the kind, the whole
// body.
#pragma once

#include "text/extract_blocks.h"

namespace tumbler::text {

BlockText extract_baseline(Page& page);

}  // namespace tumbler::text
