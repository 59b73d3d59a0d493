// `tumbler bench data`: pages a second on one core, from the bytes of the file to kept text, and where the
// time goes.
#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/data_options.h"
#include "crawl/page.h"
#include "io/file.h"
#include "text/page_filter.h"
#include "text/pii.h"

namespace tumbler::cli {
namespace {

struct Flags {
  std::vector<std::string> inputs;
  DataOptionFlags options;
  int64_t runs = 10, pages = 2000;
  bool json = false;
};

// Time that this thread had a processor: the figure is one a core, and other programs do not change it.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Run {
  double total = 0, read = 0;
  int64_t pages = 0, kept = 0, page_bytes = 0;
  std::array<double, text::kFilters> filters{};
};

Run run_once(const Flags& flags, const std::vector<std::filesystem::path>& files,
             const text::SharedFilters& shared) {
  Run run;
  text::PageFilter filter(shared);
  const text::PiiReplacer pii(shared.options.pii);
  const double begin = cpu_seconds();
  while (run.pages < flags.pages) {
    const int64_t before = run.pages;
    for (const auto& file : files) {
      const auto reader = crawl::open_pages(file);
      double start = cpu_seconds();
      while (std::optional<Result<crawl::Page>> page = reader->next()) {
        run.read += cpu_seconds() - start;
        if (*page) {
          ++run.pages;
          text::Verdict verdict = filter.apply(**page);
          run.page_bytes += verdict.page_bytes;
          run.kept += verdict.kept ? 1 : 0;
          if (verdict.kept) pii.replace(verdict.text, (**page).id);
          for (size_t i = 0; i < text::kFilters; ++i)
            run.filters[i] += 1e-9 * static_cast<double>(verdict.nanoseconds[i]);
        }
        start = cpu_seconds();
      }
    }
    if (run.pages == before)
      throw Error("bench.data", "--input: got no pages; give WARC, WET, HTML or JSONL files that have some");
  }
  run.total = cpu_seconds() - begin;
  return run;
}

void bench(const Flags& flags) {
  std::vector<std::filesystem::path> files;
  for (const std::string& pattern : flags.inputs)
    for (const auto& path : io::glob(pattern)) files.push_back(path);
  const text::SharedFilters shared(flags.options.resolve());
  const Run first =
      run_once(flags, files, shared);  // warms up, and is the answer that the others must repeat
  std::vector<Run> runs;
  for (int64_t i = 0; i < flags.runs; ++i) {
    runs.push_back(run_once(flags, files, shared));
    if (runs.back().kept != first.kept)
      throw Error("bench.data", "kept {} pages, then {}; this is a bug", first.kept, runs.back().kept);
  }
  std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.total < b.total; });
  const Run& middle = runs[runs.size() / 2];
  const auto rate = [](const Run& run) { return static_cast<double>(run.pages) / run.total; };
  nlohmann::ordered_json split = {{"read", middle.read / middle.total}};
  for (size_t i = 1; i < text::kFilters; ++i)
    split[std::string(text::kFilterNames[i])] = middle.filters[i] / middle.total;
  const double mb_s = static_cast<double>(middle.page_bytes) * 1e-6 / middle.total;
  if (flags.json) {
    const nlohmann::ordered_json line = {{"bench", "data"},        {"config", flags.options.recipe},
                                         {"isa", "portable"},      {"threads", 1},
                                         {"value", rate(middle)},  {"unit", "pages/s"},
                                         {"peak", nullptr},        {"percent_of_peak", nullptr},
                                         {"median", rate(middle)}, {"best", rate(runs[0])},
                                         {"runs", runs.size()},    {"commit", TUMBLER_VERSION},
                                         {"mb_s", mb_s},           {"pages", middle.pages},
                                         {"kept", middle.kept},    {"time_share", split}};
    std::puts(line.dump().c_str());
    return;
  }
  std::printf(
      "%.0f pages/s on one core (median of %zu, best %.0f), %.1f MB/s of pages; %lld of %lld pages kept\n",
      rate(middle), runs.size(), rate(runs[0]), mb_s, static_cast<long long>(middle.kept),
      static_cast<long long>(middle.pages));
  for (const auto& [name, share] : split.items())
    std::printf("  %-18s %5.1f %%\n", name.c_str(), 100 * share.get<double>());
}

}  // namespace

void add_bench_data(CLI::App& group) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = group.add_subcommand(
      "data", "Pages a second on one core, WARC to kept text, and the share of each filter.");
  command->add_option("--input", flags->inputs, "files or patterns with pages")->required();
  command->add_option("--runs", flags->runs, "runs to take the median of")->check(CLI::Range(1, 1000));
  command->add_option("--pages", flags->pages, "pages a run: the input is read again until it is reached")
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", flags->json, "one JSON line");
  flags->options.add_to(*command);
  command->callback([flags] { bench(*flags); });
}

}  // namespace tumbler::cli
