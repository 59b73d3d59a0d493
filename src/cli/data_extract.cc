#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "io/file.h"
#include "text/extract.h"

namespace tumbler::cli {
namespace {

struct Flags {
  std::vector<std::string> paths;
  text::ExtractOptions options;
  bool recall = false, no_tables = false, json = false;
};

void print_json(const std::string& path, const Result<std::string>& text, double ms) {
  nlohmann::ordered_json line = {{"file", path}, {"ms", ms}};
  if (text)
    line["text"] = *text;
  else
    line["reason"] = text.reason().code;
  std::puts(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

void run(const Flags& flags) {
  for (const std::string& path : flags.paths) {
    const std::string html = io::read_file(path);
    const auto start = std::chrono::steady_clock::now();
    const Result<std::string> text = text::extract_main_text(html, flags.options);
    const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
    if (flags.json)
      print_json(path, text, spent.count());
    else if (!text)
      throw Error("data extract", "{}: {} ({})", path, text.reason().code, text.reason().detail);
    else
      std::puts(text->c_str());
  }
}

}  // namespace

void add_data_extract(CLI::App& data) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = data.add_subcommand("extract", "Print the main text of HTML files.");
  command->add_option("files", flags->paths, "HTML in UTF-8")->required()->check(CLI::ExistingFile);
  command->add_flag("--recall", flags->recall, "keep what is doubtful (default: drop it, as FineWeb does)");
  command->add_flag("--comments", flags->options.include_comments, "keep readers' comments");
  command->add_flag("--no-tables", flags->no_tables, "drop tables");
  command->add_flag("--json", flags->json,
                    "one JSON line a file: file, ms, text or the reason why there is none");
  command->add_option("--max-nodes", flags->options.max_nodes, "a page with more nodes is dropped");
  command->callback([flags] {
    flags->options.favour_precision = !flags->recall;
    flags->options.include_tables = !flags->no_tables;
    run(*flags);
  });
}

}  // namespace tumbler::cli
