// Models in GGUF files for decoding: weights stay as packed as the file has them.
#pragma once

#include "engine/model.h"
#include "formats/gguf.h"

namespace tumbler::formats {

// The file may be closed afterwards. Throws Error as load_gguf() does.
engine::Model load_packed_gguf(const GgufFile& file);

}  // namespace tumbler::formats
