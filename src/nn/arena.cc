#include "nn/arena.h"

#include <sys/mman.h>

#include "base/error.h"

namespace tumbler::nn {

Arena::Arena(int64_t size_bytes, bool huge_pages) : size_(size_bytes) {
  if (size_ <= 0) return;
  // A private anonymous map is zero, page aligned, and costs memory page by page as it is touched.
  void* data = mmap(nullptr, static_cast<size_t>(size_), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    throw Error("nn.arena", "memory: got none for {} MB{}; use a smaller model, batch or context",
                size_ >> 20, errno_text());
  }
  data_ = data;
  // Weights are streamed through once a product: with 4 KB pages the TLB (2048 entries, 8 MB) misses all the
  // way.
  madvise(data_, static_cast<size_t>(size_), huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

Arena::~Arena() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(size_));
}

}  // namespace tumbler::nn
