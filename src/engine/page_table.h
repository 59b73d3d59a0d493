// Which pages of the cache each slot holds. Pages are counted: slots may share them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/paged_attention.h"

namespace tumbler::engine {

class PageTable {
 public:
  PageTable(int64_t slots, int64_t pages);

  std::span<const int32_t> pages(int64_t slot) const { return slots_[static_cast<size_t>(slot)].pages; }
  int64_t length(int64_t slot) const { return slots_.at(static_cast<size_t>(slot)).length; }
  int64_t used_pages() const noexcept { return static_cast<int64_t>(counts_.size() - free_.size()); }

  // A page to copy before the slot writes to it, because another slot holds the old one too.
  struct CopyPage {
    int32_t from, to;
  };
  // Makes room for n more tokens and counts them in. CHECKs that there are pages: slots * pages of the
  // longest were announced. Returns what to copy first (from == to: nothing).
  CopyPage append(int64_t slot, int64_t n);
  void truncate(int64_t slot, int64_t n);
  void copy(int64_t from, int64_t to);

 private:
  struct Slot {
    std::vector<int32_t> pages;
    int64_t length = 0;
  };
  int32_t take();
  void drop(int32_t page);
  std::vector<Slot> slots_;
  std::vector<int32_t> counts_, free_;
};

}  // namespace tumbler::engine
