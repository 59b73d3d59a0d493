// The crawl: Debian packages full of HTML, served on loopback and fetched by GNU wget into WARC files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"

namespace tumbler::crawl {

struct CrawlConfig {
  std::vector<std::string> packages;
  int64_t warc_mb = 8;
  std::string cache;
  template <class V>
  void visit_fields(V& v) {
    v("packages", packages, "", "Debian packages whose HTML is crawled");
    v("warc_mb", warc_mb, "MB", "a WARC file is closed when it has reached this size");
    v("cache", cache, "", "where .deb files are kept; empty: <output>/debs");
  }
};

struct CrawledPackage {
  std::string name, version;  // version: "installed" where the package's files on this machine were used
  int64_t pages = 0, bytes = 0;
};

struct CrawlResult {
  std::vector<CrawledPackage> packages;
  std::vector<std::string> files;  // names of the WARC files in the output directory
  int64_t pages = 0, bytes = 0;    // HTML pages that were fetched, and their size
  int64_t warc_bytes = 0;
  double seconds = 0;
  bool already_there = false;
};

// Crawls into `output`: crawl-*.warc.gz and, last of all, manifest.json. A finished crawl of the same
// packages is recognised by its manifest and not repeated; one that was cut off is started again (its .deb
// files are still in the cache). Needs wget, and apt-get and dpkg-deb unless everything is in the cache. A
// package that can't be had is taken from this machine's installed documentation, with a warning, or is an
// Error. Throws Error on 0 pages, a full disk, a crawler that fails.
CrawlResult crawl_packages(const CrawlConfig& config, const std::filesystem::path& output,
                           Progress& progress);

}  // namespace tumbler::crawl
