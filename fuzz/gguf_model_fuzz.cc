// What a GGUF file says of its model and its tokenizer, from any bytes: an Error or something that works.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "formats/gguf_model.h"
#include "formats/gguf_tokenizer.h"

namespace {

// Within the vocabulary, and of bytes that come back.
void try_tokenizer(const tumbler::formats::GgufFile& file) {
  using namespace tumbler;
  const tokens::Tokenizer tokenizer = formats::read_gguf_tokenizer(file);
  const std::string text = " The 12 caf\xC3\xA9s\n\t\xE2\x96\x81 \xF0\x9F\x98\x80 <s> <0x41>";
  for (const tokens::TokenId id : tokenizer.encode(text, true))
    if (id < 0 || id >= tokenizer.vocab_size() || !tokenizer.has(id)) std::abort();
  tokenizer.decode(tokenizer.encode(text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tumbler;
  static const int memory = ::memfd_create("gguf", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(memory);
  if (::ftruncate(memory, 0) != 0 || ::pwrite(memory, data, size, 0) != static_cast<ssize_t>(size))
    std::abort();
  try {
    const formats::GgufFile file(path);
    try {
      try_tokenizer(file);
    } catch (const Error&) {
    }
    formats::ModelFiles files;
    formats::check_gguf_tensors(file, formats::read_gguf_config(file, &files));
  } catch (const Error&) {
  }
  return 0;
}
