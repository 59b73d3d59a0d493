#include "crawl/crawl.h"

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "cli/commands.h"
#include "cli/progress_bar.h"
#include "io/toml.h"

namespace tumbler::cli {
namespace {

struct Flags {
  std::string recipe, output, cache;
  std::vector<std::string> packages, settings;
  bool json = false;
};

void run(const Flags& flags) {
  crawl::CrawlConfig config;
  if (!flags.recipe.empty()) {
    const nlohmann::json recipe = io::read_toml(flags.recipe);
    if (!recipe.contains("crawl"))
      throw Error("crawl", "{}: got no [crawl] table, expected one; add it or use --packages", flags.recipe);
    config::from_json(config, recipe.at("crawl"), flags.recipe + " [crawl]");
  }
  if (!flags.packages.empty()) config.packages = flags.packages;
  if (!flags.cache.empty()) config.cache = flags.cache;
  for (const std::string& setting : flags.settings) config::set(config, setting);
  const std::unique_ptr<Progress> progress = make_progress();
  const crawl::CrawlResult result = crawl::crawl_packages(config, flags.output, *progress);
  if (flags.json) {
    nlohmann::ordered_json packages = nlohmann::ordered_json::array();
    for (const crawl::CrawledPackage& p : result.packages)
      packages.push_back({{"name", p.name}, {"version", p.version}, {"pages", p.pages}, {"bytes", p.bytes}});
    const nlohmann::ordered_json line = {
        {"pages", result.pages},          {"bytes", result.bytes},
        {"files", result.files},          {"warc_bytes", result.warc_bytes},
        {"seconds", result.seconds},      {"already_there", result.already_there},
        {"packages", std::move(packages)}};
    std::puts(line.dump().c_str());
    return;
  }
  for (const crawl::CrawledPackage& p : result.packages)
    fmt::print("{:<32} {:<28} {:>6} pages {:>8.2f} MB\n", p.name, p.version, p.pages,
               static_cast<double>(p.bytes) / 1e6);
  fmt::print("{} pages, {:.1f} MB of HTML in {} WARC files of {:.1f} MB, {:.1f} s{}\n", result.pages,
             static_cast<double>(result.bytes) / 1e6, result.files.size(),
             static_cast<double>(result.warc_bytes) / 1e6, result.seconds,
             result.already_there ? " (was already there)" : "");
}

}  // namespace

void add_crawl(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "crawl", "Fetch the HTML of Debian packages into WARC files: served on loopback, crawled by wget.");
  command->add_option("--recipe", flags->recipe, "TOML file with a [crawl] table")->check(CLI::ExistingFile);
  command->add_option("--packages", flags->packages, "names of Debian packages, instead of the recipe's")
      ->delimiter(',');
  command->add_option("--output", flags->output, "directory for crawl-*.warc.gz and manifest.json")
      ->required();
  command->add_option("--cache", flags->cache, "where .deb files are kept (default: OUTPUT/debs)");
  command->add_option("--set", flags->settings, "key=value of the [crawl] table");
  command->add_flag("--json", flags->json, "one JSON line: pages, bytes, files, seconds, packages");
  command->footer("[crawl]\n" + config::help_text(config::fields(crawl::CrawlConfig{})));
  command->callback([flags] { run(*flags); });
}

}  // namespace tumbler::cli
