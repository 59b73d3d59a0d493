#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/progress_bar.h"
#include "io/file.h"
#include "io/lines.h"
#include "text/build.h"

namespace tumbler::cli {
namespace {

constexpr int kBarWidth = 30;

std::string bar(int64_t part, int64_t whole) {
  const int64_t n = whole == 0 ? 0 : (part * kBarWidth + whole - 1) / whole;
  std::string out;
  for (int64_t i = 0; i < kBarWidth; ++i) out += i < n ? "█" : "·";
  return out;
}

double percent(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

struct Example {
  std::string reason, url, detail, text;
};

// The first removed page of each reason.
std::vector<Example> read_examples(const std::filesystem::path& build, size_t most) {
  std::map<std::string, Example> found;
  for (const auto& path : io::glob((build / "removed/*.jsonl.zst").string())) {
    io::LineReader lines(path);
    while (const auto line = lines.next()) {
      const nlohmann::json entry = nlohmann::json::parse(*line, nullptr, false);
      if (!entry.is_object())
        throw Error("data stats", "{}: a line is not JSON; the file is damaged", path.string());
      const std::string reason = entry.value("filter", "") + " " + entry.value("reason", "");
      if (!found.contains(reason))
        found[reason] = {reason, entry.value("url", ""), entry.value("detail", ""), entry.value("text", "")};
    }
  }
  std::vector<Example> out;
  for (auto& [reason, example] : found)
    if (out.size() < most) out.push_back(std::move(example));
  return out;
}

void print_funnel(const text::Funnel& funnel) {
  const int64_t pages = funnel.at(text::Filter::kRead).pages_in;
  fmt::print("{:18} {:>10} {:>10} {:>7}  of all pages\n", "filter", "pages in", "pages out", "kept");
  for (size_t i = 0; i < text::kFilters; ++i) {
    const text::FilterCounts& c = funnel.filters[i];
    fmt::print("{:18} {:>10} {:>10} {:>6.1f}%  {}\n", text::kFilterNames[i], with_separators(c.pages_in),
               with_separators(c.pages_out), percent(c.pages_out, c.pages_in), bar(c.pages_out, pages));
    std::vector<std::pair<int64_t, std::string>> reasons;
    for (const auto& [code, n] : c.reasons) reasons.emplace_back(-n, code);
    std::sort(reasons.begin(), reasons.end());
    for (const auto& [n, code] : reasons) fmt::print("    {:34} {:>10}\n", code, with_separators(-n));
  }
  fmt::print(
      "\n{} documents, {} characters, {} bytes; {} e-mail addresses and {} IP addresses replaced; {} records "
      "were no pages\n",
      with_separators(funnel.documents), with_separators(funnel.document_chars),
      with_separators(funnel.document_bytes), with_separators(funnel.emails), with_separators(funnel.ips),
      with_separators(funnel.skipped_records));
}

void print_languages(const text::Funnel& funnel) {
  std::vector<std::pair<int64_t, std::string>> order;
  int64_t all = 0;
  for (const auto& [language, n] : funnel.languages) order.emplace_back(-n, language), all += n;
  std::sort(order.begin(), order.end());
  fmt::print("\nlanguages of pages with text (by {})\n", funnel.language_model);
  for (size_t i = 0; i < std::min<size_t>(10, order.size()); ++i)
    fmt::print("  {:8} {:>10} {:>6.1f}%  {}\n", order[i].second, with_separators(-order[i].first),
               percent(-order[i].first, all), bar(-order[i].first, all));
}

void print_lengths(const text::Funnel& funnel) {
  int64_t most = 0;
  for (const auto& [length, n] : funnel.lengths) most = std::max(most, n);
  fmt::print("\ncharacters in a document\n");
  for (const auto& [length, n] : funnel.lengths)
    fmt::print("  {:>9} to {:>9} {:>10}  {}\n", with_separators(length), with_separators(2 * length - 1),
               with_separators(n), bar(n, most));
}

void run(const std::string& build, bool json, int64_t n_examples) {
  const text::Funnel funnel = text::read_funnel(build);
  const std::vector<Example> examples = read_examples(build, static_cast<size_t>(n_examples));
  if (json) {
    nlohmann::ordered_json out =
        nlohmann::ordered_json::parse(io::read_file(std::filesystem::path(build) / "funnel.json"));
    out["examples"] = nlohmann::ordered_json::array();
    for (const Example& e : examples)
      out["examples"].push_back(
          {{"reason", e.reason}, {"url", e.url}, {"detail", e.detail}, {"text", e.text}});
    std::puts(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return;
  }
  print_funnel(funnel);
  print_languages(funnel);
  print_lengths(funnel);
  if (!funnel.cluster_sizes.empty()) {
    fmt::print("\nclusters of near-duplicates by size\n");
    for (const auto& [size, n] : funnel.cluster_sizes)
      fmt::print("  {:>9} {:>10}\n", with_separators(size), with_separators(n));
  }
  if (!examples.empty()) fmt::print("\none dropped page for each reason\n");
  for (const Example& e : examples) {
    std::string head = e.text.substr(0, e.text.find('\n'));
    fmt::print("  {} ({})\n    {}\n    {}\n", e.reason, e.detail, e.url, head);
  }
}

}  // namespace

void add_data_stats(CLI::App& data) {
  struct Flags {
    std::string build;
    bool json = false;
    int64_t examples = 30;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = data.add_subcommand(
      "stats", "What a build kept and dropped: funnel, reasons, languages, lengths, examples.");
  command->add_option("build", flags->build, "the directory of a finished build")
      ->required()
      ->check(CLI::ExistingDirectory);
  command->add_flag("--json", flags->json, "the same as one JSON line");
  command->add_option("--examples", flags->examples, "dropped pages to show")->check(CLI::NonNegativeNumber);
  command->callback([flags] { run(flags->build, flags->json, flags->examples); });
}

}  // namespace tumbler::cli
