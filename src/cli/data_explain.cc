#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/data_options.h"
#include "crawl/page.h"
#include "io/file.h"
#include "io/lines.h"
#include "text/build.h"
#include "text/page_filter.h"

namespace tumbler::cli {
namespace {

struct Flags {
  std::vector<std::string> inputs;
  std::string url, build;
  DataOptionFlags options;
  int64_t head_chars = 800;
  bool json = false;
};

struct Story {
  text::Verdict verdict;
  std::vector<text::FilterReport> reports;
  std::string file;
  std::optional<nlohmann::json> removed;  // what the build says of the page
  bool in_documents = false;
};

std::vector<std::string> input_files(const Flags& flags) {
  std::vector<std::string> files;
  for (const std::string& pattern : flags.inputs)
    for (const auto& path : io::glob(pattern)) files.push_back(path.string());
  if (flags.inputs.empty())
    for (const text::InputFile& input : text::read_manifest(flags.build).inputs) files.push_back(input.path);
  if (files.empty())
    throw Error("data explain", "--input: nothing matches; give files, or --build with a build's directory");
  return files;
}

std::optional<crawl::Page> find_page(const std::vector<std::string>& files, const std::string& url) {
  for (const std::string& file : files) {
    const auto reader = crawl::open_pages(file);
    while (std::optional<Result<crawl::Page>> page = reader->next())
      if (*page && ((**page).url == url || (**page).id == url)) return std::move(**page);
  }
  return std::nullopt;
}

// Looks the page up in a finished build: among the removed (a duplicate, say) or the documents.
void look_up(const std::filesystem::path& build, const std::string& url, Story& story) {
  for (const auto& path : io::glob((build / "removed/*.jsonl.zst").string())) {
    io::LineReader lines(path);
    while (const auto line = lines.next()) {
      if (line->find(url) == std::string_view::npos) continue;
      nlohmann::json entry = nlohmann::json::parse(*line, nullptr, false);
      if (entry.is_object() && (entry.value("url", "") == url || entry.value("id", "") == url)) {
        story.removed = std::move(entry);
        return;
      }
    }
  }
  const std::string quoted = nlohmann::json(url).dump();
  for (const auto& path : io::glob((build / "documents/*.jsonl.zst").string())) {
    io::LineReader lines(path);
    while (const auto line = lines.next())
      if (line->find("\"url\":" + quoted) != std::string_view::npos) {
        story.in_documents = true;
        return;
      }
  }
}

std::string final_verdict(const Story& story) {
  if (!story.verdict.kept)
    return fmt::format("dropped by {}: {} ({})", text::name_of(story.verdict.filter),
                       story.verdict.reason.code, story.verdict.reason.detail);
  if (story.removed)
    return fmt::format("dropped by {}: {} {}", story.removed->value("filter", ""),
                       story.removed->value("reason", ""), story.removed->value("detail", ""));
  if (story.in_documents) return "kept, and in the build's documents";
  return "kept by the page filters (duplicates are known only to a build: --build)";
}

nlohmann::ordered_json as_json(const Story& story, const std::string& url) {
  nlohmann::ordered_json filters = nlohmann::ordered_json::array();
  for (const text::FilterReport& report : story.reports) {
    nlohmann::ordered_json rules = nlohmann::ordered_json::array();
    for (const text::Measurement& m : report.rules)
      rules.push_back({{"rule", m.rule},
                       {"value", m.value},
                       {"drops_if", m.relation},
                       {"limit", m.limit},
                       {"passed", m.passed}});
    filters.push_back({{"filter", text::name_of(report.filter)},
                       {"passed", report.passed},
                       {"reason", report.reason.code},
                       {"detail", report.reason.detail},
                       {"note", report.note},
                       {"rules", rules}});
  }
  return {{"url", url},
          {"file", story.file},
          {"kept", story.verdict.kept && !story.removed},
          {"verdict", final_verdict(story)},
          {"filters", filters},
          {"text", story.verdict.text}};
}

void print(const Story& story, const std::string& url, int64_t head) {
  fmt::print("{}\n  in {}\n\n", url, story.file);
  for (const text::FilterReport& report : story.reports) {
    const std::string why =
        report.passed ? report.note : report.reason.code + " (" + report.reason.detail + ")";
    fmt::print("{} {:18} {}\n", report.passed ? "pass" : "FAIL", text::name_of(report.filter), why);
    for (const text::Measurement& m : report.rules)
      fmt::print("       {} {:30} {:>10.4g}   drops if {} {:.4g}\n", m.passed ? " " : "✗", m.rule, m.value,
                 m.relation, m.limit);
  }
  std::string_view text = story.verdict.text;
  if (static_cast<int64_t>(text.size()) > head) {
    auto end = static_cast<size_t>(head);
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    text = text.substr(0, end);
  }
  fmt::print("\n--- text, {} of {} bytes ---\n{}\n---\n\n{}\n", text.size(), story.verdict.text.size(), text,
             final_verdict(story));
}

void run(const Flags& flags) {
  const std::vector<std::string> files = input_files(flags);
  std::optional<crawl::Page> page = find_page(files, flags.url);
  if (!page)
    throw Error("data explain",
                "--url: none of {} files has a page '{}'; URLs are compared as they are written in the file",
                files.size(), flags.url);
  const text::SharedFilters shared(flags.build.empty() ? flags.options.resolve()
                                                       : text::read_manifest(flags.build).options);
  Story story;
  story.file = page->file_path;
  story.verdict = text::PageFilter(shared).apply(*page, &story.reports);
  if (!flags.build.empty()) look_up(flags.build, flags.url, story);
  if (flags.json)
    std::puts(
        as_json(story, flags.url).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  else
    print(story, flags.url, flags.head_chars);
}

}  // namespace

void add_data_explain(CLI::App& data) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = data.add_subcommand(
      "explain", "Why a page was kept or dropped, filter by filter, with each value beside its threshold.");
  command->add_option("--input", flags->inputs,
                      "files or patterns with the page (default: those of --build)");
  command
      ->add_option("--build", flags->build,
                   "a build's directory: its options, and whether the page is a duplicate there")
      ->check(CLI::ExistingDirectory);
  command->add_option("--url", flags->url, "the page's URL or record id, as it is written in the file")
      ->required();
  command->add_option("--head", flags->head_chars, "bytes of the text to print")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--json", flags->json, "one JSON line, with the whole text");
  flags->options.add_to(*command);
  command->callback([flags] {
    if (flags->inputs.empty() && flags->build.empty())
      throw Error("data explain", "got neither --input nor --build, expected one of them");
    run(*flags);
  });
}

}  // namespace tumbler::cli
