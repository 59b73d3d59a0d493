#include "text/funnel.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

namespace tumbler::text {
namespace {

void merge_counts(std::map<std::string, int64_t>& into, const std::map<std::string, int64_t>& from) {
  for (const auto& [key, n] : from) into[key] += n;
}
void merge_counts(std::map<int64_t, int64_t>& into, const std::map<int64_t, int64_t>& from) {
  for (const auto& [key, n] : from) into[key] += n;
}

nlohmann::ordered_json numbered(const std::map<int64_t, int64_t>& counts) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const auto& [key, n] : counts) out[std::to_string(key)] = n;
  return out;
}

std::map<int64_t, int64_t> numbers(const nlohmann::json& json) {
  std::map<int64_t, int64_t> out;
  for (const auto& [key, n] : json.items()) out[std::stoll(key)] = n.get<int64_t>();
  return out;
}

}  // namespace

void Funnel::add(const Verdict& v) {
  FilterCounts& read = at(Filter::kRead);
  ++read.pages_in, ++read.pages_out;
  read.bytes_in += v.page_bytes, read.bytes_out += v.page_bytes;
  for (const Filter filter : {Filter::kUrl, Filter::kExtraction, Filter::kLanguage, Filter::kGopherRepetition,
                              Filter::kGopherQuality, Filter::kC4, Filter::kFinewebQuality}) {
    FilterCounts& counts = at(filter);
    const bool page = filter <= Filter::kExtraction, after_c4 = filter > Filter::kC4;
    ++counts.pages_in;
    counts.bytes_in += page       ? v.page_bytes
                       : after_c4 ? static_cast<int64_t>(v.text.size())
                                  : v.extracted_bytes;
    counts.chars_in += page ? 0 : after_c4 && v.kept ? v.final_chars : v.extracted_chars;
    if (!v.kept && v.filter == filter) {
      ++counts.reasons[v.reason.code];
      break;
    }
    ++counts.pages_out;
    counts.bytes_out += filter == Filter::kUrl  ? v.page_bytes
                        : filter >= Filter::kC4 ? static_cast<int64_t>(v.text.size())
                                                : v.extracted_bytes;
    counts.chars_out += filter == Filter::kUrl            ? 0
                        : filter >= Filter::kC4 && v.kept ? v.final_chars
                                                          : v.extracted_chars;
  }
  if (v.kept || v.filter > Filter::kExtraction) ++languages[v.language.language];
}

void Funnel::add_unreadable(const Reason& reason) {
  ++at(Filter::kRead).pages_in;
  ++at(Filter::kRead).reasons[reason.code];
}

void Funnel::add_document(int64_t bytes, int64_t chars, bool duplicate) {
  FilterCounts& counts = at(Filter::kMinhash);
  ++counts.pages_in;
  counts.bytes_in += bytes, counts.chars_in += chars;
  if (duplicate) {
    ++counts.reasons["duplicate"];
    return;
  }
  ++counts.pages_out;
  counts.bytes_out += bytes, counts.chars_out += chars;
  ++documents;
  document_bytes += bytes, document_chars += chars;
  ++lengths[static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(chars)))];
}

void Funnel::merge(const Funnel& other) {
  for (size_t i = 0; i < kFilters; ++i) {
    FilterCounts& into = filters[i];
    const FilterCounts& from = other.filters[i];
    into.pages_in += from.pages_in, into.pages_out += from.pages_out;
    into.bytes_in += from.bytes_in, into.bytes_out += from.bytes_out;
    into.chars_in += from.chars_in, into.chars_out += from.chars_out;
    merge_counts(into.reasons, from.reasons);
  }
  skipped_records += other.skipped_records;
  documents += other.documents, document_bytes += other.document_bytes,
      document_chars += other.document_chars;
  emails += other.emails, ips += other.ips, documents_with_pii += other.documents_with_pii;
  merge_counts(languages, other.languages);
  merge_counts(lengths, other.lengths);
  merge_counts(cluster_sizes, other.cluster_sizes);
  if (language_model.empty()) language_model = other.language_model;
}

std::string Funnel::top_reasons(size_t most) const {
  std::vector<std::pair<int64_t, std::string>> all;
  for (size_t i = 0; i < kFilters; ++i)
    for (const auto& [code, n] : filters[i].reasons)
      all.emplace_back(-n, fmt::format("{} {}: {}", kFilterNames[i], code, n));
  std::sort(all.begin(), all.end());
  std::string out;
  for (size_t i = 0; i < std::min(most, all.size()); ++i) out += (i > 0 ? ", " : "") + all[i].second;
  return out;
}

nlohmann::ordered_json to_json(const Funnel& f) {
  nlohmann::ordered_json filters = nlohmann::ordered_json::array();
  for (size_t i = 0; i < kFilters; ++i) {
    const FilterCounts& c = f.filters[i];
    filters.push_back({{"filter", kFilterNames[i]},
                       {"pages_in", c.pages_in},
                       {"pages_out", c.pages_out},
                       {"bytes_in", c.bytes_in},
                       {"bytes_out", c.bytes_out},
                       {"chars_in", c.chars_in},
                       {"chars_out", c.chars_out},
                       {"reasons", c.reasons}});
  }
  return {{"documents", f.documents},
          {"document_bytes", f.document_bytes},
          {"document_chars", f.document_chars},
          {"filters", std::move(filters)},
          {"skipped_records", f.skipped_records},
          {"pii", {{"emails", f.emails}, {"ips", f.ips}, {"documents", f.documents_with_pii}}},
          {"language_model", f.language_model},
          {"languages", f.languages},
          {"lengths", numbered(f.lengths)},
          {"cluster_sizes", numbered(f.cluster_sizes)}};
}

Funnel funnel_from_json(const nlohmann::json& json) {
  Funnel f;
  f.documents = json.at("documents"), f.document_bytes = json.at("document_bytes"),
  f.document_chars = json.at("document_chars");
  f.skipped_records = json.at("skipped_records");
  f.emails = json.at("pii").at("emails"), f.ips = json.at("pii").at("ips"),
  f.documents_with_pii = json.at("pii").at("documents");
  f.language_model = json.at("language_model");
  f.languages = json.at("languages").get<std::map<std::string, int64_t>>();
  f.lengths = numbers(json.at("lengths"));
  f.cluster_sizes = numbers(json.at("cluster_sizes"));
  for (size_t i = 0; i < kFilters; ++i) {
    const nlohmann::json& from = json.at("filters").at(i);
    FilterCounts& c = f.filters[i];
    c.pages_in = from.at("pages_in"), c.pages_out = from.at("pages_out"), c.bytes_in = from.at("bytes_in"),
    c.bytes_out = from.at("bytes_out");
    c.chars_in = from.at("chars_in"), c.chars_out = from.at("chars_out");
    c.reasons = from.at("reasons").get<std::map<std::string, int64_t>>();
  }
  return f;
}

}  // namespace tumbler::text
