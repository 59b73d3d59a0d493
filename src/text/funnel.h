// Funnel: how many pages, bytes and characters went into and out of each filter, and why the rest did not.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "text/page_filter.h"

namespace tumbler::text {

struct FilterCounts {
  int64_t pages_in = 0, pages_out = 0, bytes_in = 0, bytes_out = 0, chars_in = 0, chars_out = 0;
  std::map<std::string, int64_t> reasons;
};

struct Funnel {
  std::array<FilterCounts, kFilters> filters;
  int64_t skipped_records = 0;  // records that are no pages
  int64_t documents = 0, document_bytes = 0, document_chars = 0;
  int64_t emails = 0, ips = 0, documents_with_pii = 0;
  std::map<std::string, int64_t> languages;  // of pages with text
  std::map<int64_t, int64_t> lengths;  // kept documents by the power of two at or below their characters
  std::map<int64_t, int64_t> cluster_sizes;  // near-duplicate clusters by how many documents they have
  std::string language_model;

  FilterCounts& at(Filter filter) { return filters[static_cast<size_t>(filter)]; }
  const FilterCounts& at(Filter filter) const { return filters[static_cast<size_t>(filter)]; }
  // A page that was read, up to the last page filter. Dedup and PII are counted when documents are written.
  void add(const Verdict& verdict);
  void add_unreadable(const Reason& reason);
  // A document that came out of the page filters: a duplicate, or one that is written.
  void add_document(int64_t bytes, int64_t chars, bool duplicate);
  void merge(const Funnel& other);
  // "gopher_quality: gopher_short_doc 12, language: other_language 3": the most frequent reasons.
  std::string top_reasons(size_t most) const;
};

nlohmann::ordered_json to_json(const Funnel& funnel);
// Throws nlohmann::json::exception where fields are missing.
Funnel funnel_from_json(const nlohmann::json& json);

}  // namespace tumbler::text
