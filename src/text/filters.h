// FineWeb's text filters (Penedo et al. 2024, arXiv:2406.17557), each a function of one text: nothing, or the
// Reason why the document is dropped, with the measured value and the threshold in its detail ("0.2301 >
// 0.2"). Lengths are code points.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/recipe.h"
#include "text/words.h"

namespace tumbler::text {

// One rule's measured value beside its limit: what `tumbler data explain` prints.
struct Measurement {
  std::string rule;
  double value = 0;
  std::string relation;  // what would drop the document: ">", "<", ">=", "<="
  double limit = 0;
  bool passed = true;
};
// Where a trace is given, every rule is measured; without one a filter stops at the first that fails.
using Trace = std::vector<Measurement>;

// Hash tables and arrays that the filters reuse from document to document; one a thread.
class FilterScratch {
 public:
  struct Slot {
    uint64_t hash = 0;  // 0: free
    uint32_t first = 0, count = 0;
  };
  // Empties the table and makes room for n distinct hashes.
  void clear_table(size_t n);
  // The slot of a hash; count is 0 where it is new.
  Slot& slot(uint64_t hash);
  std::span<const Slot> slots() const { return {table_.data(), mask_ + 1}; }

  std::vector<uint64_t> word_hashes, ngram_hashes;
  std::vector<uint32_t> ngram_chars;

 private:
  std::vector<Slot> table_ = std::vector<Slot>(16);
  size_t mask_ = 15;
};

// `words` are those of `text`.
std::optional<Reason> check_gopher_repetition(std::string_view text, std::span<const Word> words,
                                              const GopherRepetitionOptions& options, FilterScratch& scratch,
                                              Trace* trace = nullptr);
std::optional<Reason> check_gopher_quality(std::string_view text, std::span<const Word> words,
                                           const GopherQualityOptions& options, Trace* trace = nullptr);
// Shortens `text` to the lines that are kept.
std::optional<Reason> apply_c4(std::string& text, WordStyle style, const C4Options& options,
                               Trace* trace = nullptr);
std::optional<Reason> check_fineweb_quality(std::string_view text, std::span<const Word> words,
                                            const FinewebQualityOptions& options, FilterScratch& scratch,
                                            Trace* trace = nullptr);

namespace detail {
// Collects measurements, and the first rule that failed.
class Rules {
 public:
  explicit Rules(Trace* trace) : trace_(trace) {}
  // Each returns true where the filter is to stop.
  bool above(std::string_view rule, double value, double limit) {
    return check(rule, value, ">", limit, value > limit);
  }
  bool below(std::string_view rule, double value, double limit) {
    return check(rule, value, "<", limit, value < limit);
  }
  bool at_least(std::string_view rule, double value, double limit) {
    return check(rule, value, ">=", limit, value >= limit);
  }
  bool at_most(std::string_view rule, double value, double limit) {
    return check(rule, value, "<=", limit, value <= limit);
  }
  std::optional<Reason> reason() && { return std::move(first_); }

 private:
  bool check(std::string_view rule, double value, const char* relation, double limit, bool fails);
  Trace* trace_;
  std::optional<Reason> first_;
};

// Elements that were there before, and their characters, over calls of add().
class Duplicates {
 public:
  // At most n elements will be added.
  Duplicates(FilterScratch& scratch, size_t n) : scratch_(scratch) { scratch_.clear_table(n); }
  void add(std::string_view element);
  int64_t elements = 0, duplicates = 0, duplicate_chars = 0;

 private:
  FilterScratch& scratch_;
};
}  // namespace detail

}  // namespace tumbler::text
