// The filters of one page in FineWeb's order: URL, extraction, language, Gopher repetition, Gopher quality,
// C4, FineWeb quality, and its MinHash band keys.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crawl/page.h"
#include "crawl/url_filter.h"
#include "text/filters.h"
#include "text/language.h"
#include "text/minhash.h"
#include "text/recipe.h"

namespace tumbler::text {

// kRead drops records that cannot be read, kMinhash near-duplicates; both are the build's.
enum class Filter {
  kRead,
  kUrl,
  kExtraction,
  kLanguage,
  kGopherRepetition,
  kGopherQuality,
  kC4,
  kFinewebQuality,
  kMinhash
};
constexpr size_t kFilters = 9;
constexpr std::array<std::string_view, kFilters> kFilterNames = {
    "read",           "url", "extraction",      "language", "gopher_repetition",
    "gopher_quality", "c4",  "fineweb_quality", "minhash"};
constexpr std::string_view name_of(Filter filter) {
  return kFilterNames[static_cast<size_t>(filter)];
}

// What all threads share, read-only.
struct SharedFilters {
  explicit SharedFilters(const FilterOptions& filter_options);
  FilterOptions options;
  crawl::UrlFilter urls;
  std::unique_ptr<LanguageIdentifier> language;
};

struct Verdict {
  bool kept = false;
  Filter filter = Filter::kRead;  // that dropped it, where not kept
  Reason reason;
  std::string text;  // as far as it got: extracted, shortened by C4
  LanguageGuess language;
  std::vector<uint64_t> band_keys;
  int64_t page_bytes = 0, extracted_bytes = 0, extracted_chars = 0, final_bytes = 0, final_chars = 0;
  std::array<int64_t, kFilters> nanoseconds{};
};

// One filter's part in the story of a page, for `tumbler data explain`.
struct FilterReport {
  Filter filter;
  bool passed = true;
  Reason reason;
  std::string note;  // "en 0.98", "4,321 characters"
  Trace rules;
};

// One a thread.
class PageFilter {
 public:
  explicit PageFilter(const SharedFilters& shared);
  // Moves text out of `page` where it is text already. With `reports`, filters after the first that drops are
  // run too, as far as there is a text.
  Verdict apply(crawl::Page& page, std::vector<FilterReport>* reports = nullptr);

 private:
  std::optional<Reason> extract(crawl::Page& page, Verdict& verdict) const;
  std::optional<Reason> run(Filter filter, crawl::Page& page, Verdict& verdict, Trace* trace);
  const SharedFilters& shared_;
  FilterScratch scratch_;
  Minhash minhash_;
  std::vector<Word> words_;
};

}  // namespace tumbler::text
