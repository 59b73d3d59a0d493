// The report on a run: one self-contained HTML file (no script, no outside file) that shows what every stage
// did.
#pragma once

#include <filesystem>
#include <string>

namespace tumbler::pipeline {

// Where a run keeps what the report shows. Sections whose files are absent say so; nothing is made up.
struct RunLayout {
  explicit RunLayout(std::filesystem::path run_directory) : run(std::move(run_directory)) {}
  std::filesystem::path run;
  std::filesystem::path crawl() const { return run / "crawl"; }
  std::filesystem::path data() const { return run / "data"; }
  std::filesystem::path tokenizer() const { return run / "tokenizer"; }
  std::filesystem::path tokens() const { return run / "tokens"; }
  std::filesystem::path base() const { return run / "base"; }
  std::filesystem::path facts() const {
    return run / "report";
  }  // JSON made for the report by other commands
  std::filesystem::path report() const { return run / "report.html"; }
};

// The HTML of the report. Throws Error where the directory holds no run at all.
std::string render_report(const RunLayout& layout);

}  // namespace tumbler::pipeline
