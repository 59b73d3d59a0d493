// config_from_json on any text: an Error or a configuration whose sizes can be computed with, and which is
// written and read back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "formats/hugging_face.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tumbler;
  try {
    const nn::ModelConfig config =
        formats::config_from_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    if (nn::count_parameters(config).total() <= 0) std::abort();
    if (!(formats::config_from_json(formats::config_to_json(config, {}), "fuzz") == config)) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
