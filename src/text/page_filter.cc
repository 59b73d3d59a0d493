#include "text/page_filter.h"

#include <ctime>

#include "text/code_points.h"
#include "text/extract.h"

namespace tumbler::text {
namespace {

// Time that this thread had a processor, so that the shares hold on a busy machine too.
int64_t cpu_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

constexpr Filter kPageFilters[] = {
    Filter::kUrl,           Filter::kExtraction, Filter::kLanguage,      Filter::kGopherRepetition,
    Filter::kGopherQuality, Filter::kC4,         Filter::kFinewebQuality};

std::string note_of(Filter filter, const Verdict& verdict) {
  if (filter == Filter::kLanguage)
    return fmt::format("{} {:.3f}", verdict.language.language, verdict.language.score);
  if (filter == Filter::kExtraction)
    return fmt::format("{} bytes of page, {} characters of text", verdict.page_bytes,
                       verdict.extracted_chars);
  if (filter == Filter::kC4)
    return fmt::format("{} of {} characters kept", count_code_points(verdict.text), verdict.extracted_chars);
  return "";
}

}  // namespace

SharedFilters::SharedFilters(const FilterOptions& filter_options)
    : options((check_options(filter_options), filter_options)),
      urls(filter_options.url.lists),
      language(make_language_identifier(filter_options.language)) {}

PageFilter::PageFilter(const SharedFilters& shared)
    : shared_(shared), minhash_(shared.options.minhash, shared.options.word_style()) {}

std::optional<Reason> PageFilter::extract(crawl::Page& page, Verdict& verdict) const {
  const ExtractionOptions& o = shared_.options.extraction;
  if (verdict.page_bytes > o.max_page_bytes)
    return Reason{"too_large", fmt::format("{} bytes > {}", verdict.page_bytes, o.max_page_bytes)};
  if (page.is_text) {
    verdict.text = std::string(strip(page.content));
  } else {
    ExtractOptions options;
    options.favour_precision = o.favour_precision;
    options.include_comments = o.include_comments;
    options.include_tables = o.include_tables;
    options.max_nodes = o.max_nodes;
    Result<std::string> text = extract_main_text(page.content, options);
    if (!text) return text.reason();
    verdict.text = std::string(strip(*text));
  }
  verdict.extracted_bytes = static_cast<int64_t>(verdict.text.size());
  verdict.extracted_chars = count_code_points(verdict.text);
  if (verdict.extracted_chars > o.max_text_chars)
    return Reason{"too_long", fmt::format("{} characters > {}", verdict.extracted_chars, o.max_text_chars)};
  if (verdict.text.empty()) return Reason{"empty", "no text on the page"};
  return std::nullopt;
}

std::optional<Reason> PageFilter::run(Filter filter, crawl::Page& page, Verdict& v, Trace* trace) {
  const FilterOptions& o = shared_.options;
  switch (filter) {
    case Filter::kUrl:
      return o.url.enabled ? shared_.urls.check(page.url) : std::nullopt;
    case Filter::kExtraction:
      return extract(page, v);
    case Filter::kLanguage:
      v.language = shared_.language->identify(v.text);
      return o.language.enabled ? check_language(v.language, o.language) : std::nullopt;
    case Filter::kGopherRepetition:
      split_words(v.text, o.word_style(), words_);
      return o.gopher_repetition.enabled
                 ? check_gopher_repetition(v.text, words_, o.gopher_repetition, scratch_, trace)
                 : std::nullopt;
    case Filter::kGopherQuality:
      return o.gopher_quality.enabled ? check_gopher_quality(v.text, words_, o.gopher_quality, trace)
                                      : std::nullopt;
    case Filter::kC4:
      return o.c4.enabled ? apply_c4(v.text, o.word_style(), o.c4, trace) : std::nullopt;
    case Filter::kFinewebQuality:
      split_words(v.text, o.word_style(), words_);  // C4 has moved the text
      return o.fineweb_quality.enabled
                 ? check_fineweb_quality(v.text, words_, o.fineweb_quality, scratch_, trace)
                 : std::nullopt;
    default:
      CHECK(false, "{} is the build's", name_of(filter));
  }
  return std::nullopt;
}

Verdict PageFilter::apply(crawl::Page& page, std::vector<FilterReport>* reports) {
  Verdict v;
  v.kept = true;
  v.page_bytes = static_cast<int64_t>(page.content.size());
  int64_t before = cpu_nanoseconds();
  const auto lap = [&](Filter filter) {
    const int64_t now = cpu_nanoseconds();
    v.nanoseconds[static_cast<size_t>(filter)] += now - before;
    before = now;
  };
  for (const Filter filter : kPageFilters) {
    Trace trace;
    const std::optional<Reason> reason = run(filter, page, v, reports != nullptr ? &trace : nullptr);
    lap(filter);
    if (reports != nullptr)
      reports->push_back({filter, !reason, reason.value_or(Reason{}), note_of(filter, v), std::move(trace)});
    if (reason && v.kept) {
      v.kept = false;
      v.filter = filter;
      v.reason = *reason;
    }
    if (!v.kept && (reports == nullptr || (filter == Filter::kExtraction && v.text.empty()))) break;
  }
  if (!v.kept) return v;
  v.final_bytes = static_cast<int64_t>(v.text.size());
  v.final_chars = count_code_points(v.text);
  if (shared_.options.minhash.enabled) {
    const std::span<const uint64_t> keys = minhash_.band_keys(v.text);
    v.band_keys.assign(keys.begin(), keys.end());
    lap(Filter::kMinhash);
  }
  return v;
}

}  // namespace tumbler::text
