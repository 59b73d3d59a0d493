#include "text/filters.h"

#include <algorithm>
#include <bit>

#include <xxhash.h>

#include "text/code_points.h"

namespace tumbler::text {

void FilterScratch::clear_table(size_t n) {
  const size_t size = std::bit_ceil(std::max<size_t>(16, 2 * n));
  if (table_.size() < size) table_.resize(size);
  mask_ = size - 1;
  std::fill(table_.begin(), table_.begin() + static_cast<std::ptrdiff_t>(size), Slot{});
}

FilterScratch::Slot& FilterScratch::slot(uint64_t hash) {
  hash += hash == 0;
  size_t i = hash & mask_;
  while (table_[i].hash != hash && table_[i].hash != 0) i = (i + 1) & mask_;
  table_[i].hash = hash;
  return table_[i];
}

bool detail::Rules::check(std::string_view rule, double value, const char* relation, double limit,
                          bool fails) {
  if (fails && !first_)
    first_ = Reason{std::string(rule), fmt::format("{:.4g} {} {:.4g}", value, relation, limit)};
  if (trace_ != nullptr) trace_->push_back({std::string(rule), value, relation, limit, !fails});
  return fails && trace_ == nullptr;
}

void detail::Duplicates::add(std::string_view element) {
  ++elements;
  FilterScratch::Slot& slot = scratch_.slot(XXH3_64bits(element.data(), element.size()));
  if (slot.count++ == 0) return;
  ++duplicates;
  duplicate_chars += count_code_points(element);
}

}  // namespace tumbler::text
