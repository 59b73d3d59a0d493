// A web server on loopback that serves directories of HTML under made-up host names. A crawler uses it as its
// HTTP proxy, so that the addresses of the pages have no port and are the same in every run.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tumbler::crawl {

// A page that the server makes itself: links to everything, for pages that no other page links to. The header
// marks it as no document.
constexpr std::string_view kSeedHost = "seeds.debian.example";
constexpr std::string_view kSeedHeader = "x-tumbler-seeds";

class DocServer {
 public:
  struct Site {
    std::string host;            // "sqlite3-doc.debian.example"
    std::filesystem::path root;  // its "/"
  };
  // Finds the HTML files below every root and starts to serve them, and nothing else: only paths that exist
  // as they are written, without "..", and through no symbolic link. Throws Error where no port can be had.
  explicit DocServer(std::vector<Site> sites);
  ~DocServer();  // stops
  DocServer(const DocServer&) = delete;
  DocServer& operator=(const DocServer&) = delete;

  int port() const;
  std::string seed_url() const;
  int64_t files(std::string_view host) const;  // HTML files of a site
  int64_t total_files() const;
  int64_t served() const;  // answers with status 200, without the seed page
  struct Served {
    int64_t pages = 0, bytes = 0;
  };
  std::map<std::string, Served> served_by_host() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What a file's name says about it: "index.html.ja.utf8" → HTML, "ja", "utf-8"; "a.html.gz" → HTML,
// compressed.
struct HtmlName {
  bool is_html = false, is_gzip = false;
  std::string language, charset;  // empty: not said
};
HtmlName parse_html_name(std::string_view file_name);

}  // namespace tumbler::crawl
