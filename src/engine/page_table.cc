#include "engine/page_table.h"

#include "base/check.h"

namespace tumbler::engine {

using kernels::kPageTokens;

PageTable::PageTable(int64_t slots, int64_t pages)
    : slots_(static_cast<size_t>(slots)), counts_(static_cast<size_t>(pages), 0) {
  for (int64_t page = pages - 1; page >= 0; --page) free_.push_back(static_cast<int32_t>(page));
}

int32_t PageTable::take() {
  CHECK(!free_.empty());
  const int32_t page = free_.back();
  free_.pop_back();
  counts_[static_cast<size_t>(page)] = 1;
  return page;
}

void PageTable::drop(int32_t page) {
  if (--counts_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

PageTable::CopyPage PageTable::append(int64_t slot, int64_t n) {
  Slot& s = slots_[static_cast<size_t>(slot)];
  CopyPage copy{0, 0};
  if (s.length % kPageTokens != 0 && counts_[static_cast<size_t>(s.pages.back())] > 1) {
    copy = {s.pages.back(), take()};
    drop(s.pages.back());
    s.pages.back() = copy.to;
  }
  s.length += n;
  while (static_cast<int64_t>(s.pages.size()) * kPageTokens < s.length) s.pages.push_back(take());
  return copy;
}

void PageTable::truncate(int64_t slot, int64_t n) {
  Slot& s = slots_.at(static_cast<size_t>(slot));
  CHECK(n >= 0 && n <= s.length);
  s.length = n;
  while ((static_cast<int64_t>(s.pages.size()) - 1) * kPageTokens >= n && !s.pages.empty()) {
    drop(s.pages.back());
    s.pages.pop_back();
  }
}

void PageTable::copy(int64_t from, int64_t to) {
  if (from == to) return;
  truncate(to, 0);
  slots_.at(static_cast<size_t>(to)) = slots_.at(static_cast<size_t>(from));
  for (const int32_t page : pages(to)) ++counts_[static_cast<size_t>(page)];
}

}  // namespace tumbler::engine
