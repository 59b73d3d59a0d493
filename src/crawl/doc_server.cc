#include "crawl/doc_server.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <thread>

#include <httplib.h>

#include "base/error.h"
#include "crawl/ascii.h"
#include "crawl/byte_stream.h"
#include "crawl/page.h"
#include "io/file.h"

namespace fs = std::filesystem;

namespace tumbler::crawl {
namespace {

// Path of a URL without its escapes; nothing where an escape is broken or hides a NUL or a slash.
std::optional<std::string> unescape(std::string_view path) {
  const auto hex = [](char c) {
    return is_digit(c)                                      ? c - '0'
           : ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f' ? ascii_lower(c) - 'a' + 10
                                                            : -1;
  };
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%') {
      out.push_back(path[i]);
      continue;
    }
    if (path.size() - i < 3 || hex(path[i + 1]) < 0 || hex(path[i + 2]) < 0) return std::nullopt;
    const char c = static_cast<char>(hex(path[i + 1]) * 16 + hex(path[i + 2]));
    if (c == '\0' || c == '/') return std::nullopt;
    out.push_back(c);
    i += 2;
  }
  return out;
}

std::string escape(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (is_alnum(c) || std::string_view("/-._~+,=@!").find(c) != std::string_view::npos)
      out.push_back(c);
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string read_page(const fs::path& path, bool gzip) {
  if (!gzip) return io::read_file(path);
  ByteStream stream(path);
  std::string out;
  while (stream.fill() == ByteStream::Fill::kData && out.size() <= static_cast<size_t>(kMaxPageBytes)) {
    out.append(stream.window());
    stream.consume(stream.window().size());
  }
  return out;
}

}  // namespace

HtmlName parse_html_name(std::string_view file_name) {
  HtmlName out;
  const std::string lower = to_lower(file_name);
  std::string_view rest = lower;
  if (rest.ends_with(".gz")) {
    out.is_gzip = true;
    rest.remove_suffix(3);
  }
  size_t at = std::string_view::npos;
  for (const std::string_view ending : {".html", ".htm", ".xhtml"}) {
    at = rest.rfind(ending);
    if (at == std::string_view::npos || at == 0) continue;
    std::string_view tail = rest.substr(at + ending.size());
    if (!tail.empty() && tail.front() != '.') continue;
    out.is_html = true;
    while (!tail.empty()) {  // Apache's way: index.html.pt-br.utf8
      tail.remove_prefix(1);
      const std::string_view part = tail.substr(0, tail.find('.'));
      tail.remove_prefix(part.size());
      if (part == "utf8" || part == "utf-8")
        out.charset = "utf-8";
      else if (part == "koi8-r" || part == "euc-kr" || part == "euc-jp" || part.starts_with("iso-8859-"))
        out.charset = part;
      else if (part.starts_with("iso8859-"))
        out.charset = "iso-" + std::string(part.substr(3));
      else if (part.size() == 2 || (part.size() == 5 && (part[2] == '-' || part[2] == '_')))
        out.language = part;
      else
        out.is_html = false;
    }
    if (out.is_html) return out;
  }
  return {};
}

struct DocServer::State {
  struct SiteFiles {
    fs::path root;
    std::vector<std::string> paths;  // URL paths of HTML files, not escaped, sorted
    std::atomic<int64_t> pages{0}, bytes{0};
  };
  std::map<std::string, SiteFiles> sites;
  std::string seed_page;
  httplib::Server server;
  std::thread thread;
  int port = 0;
  std::atomic<int64_t> served{0};

  static void list(SiteFiles& site) {
    std::error_code error;
    // Symbolic links are neither followed nor listed: their targets are there under their own names.
    for (auto it = fs::recursive_directory_iterator(site.root, fs::directory_options::skip_permission_denied,
                                                    error);
         !error && it != fs::recursive_directory_iterator(); it.increment(error))
      if (it->symlink_status().type() == fs::file_type::regular &&
          parse_html_name(it->path().filename().string()).is_html)
        site.paths.push_back("/" + it->path().lexically_relative(site.root).generic_string());
    std::sort(site.paths.begin(), site.paths.end());
  }

  // Start pages first, so that links are followed in the order that a reader would; then every page.
  void make_seed_page() {
    seed_page = "<!DOCTYPE html><title>seeds</title>\n";
    for (const bool start_pages : {true, false})
      for (const auto& [host, site] : sites)
        for (const std::string& path : site.paths) {
          const bool is_start = path.substr(path.rfind('/') + 1).starts_with("index.");
          if (is_start == start_pages)
            seed_page += fmt::format("<a href=\"http://{}{}\"></a>\n", host, escape(path));
        }
  }

  // An answer for "http://host/path" (to a proxy) or "/path" with a Host header.
  void answer(const httplib::Request& request, httplib::Response& response) {
    response.status = 404;
    std::string_view target = request.target;
    if (request.method != "GET") {
      response.status = 405;
      return;
    }
    std::string host = request.get_header_value("Host");
    if (starts_with_ignore_case(target, "http://")) {
      target.remove_prefix(7);
      host = target.substr(0, target.find('/'));
      target.remove_prefix(std::min(target.size(), host.size()));
    }
    host = to_lower(host.substr(0, host.find(':')));
    if (host == kSeedHost) {
      response.status = 200;
      response.set_header(std::string(kSeedHeader), "1");
      response.set_content(seed_page, "text/html");
      return;
    }
    const auto site = sites.find(host);
    if (site == sites.end()) {
      response.status = 403;  // no page of the world outside
      return;
    }
    // With a query it would be the same page under another address.
    const std::optional<std::string> path = unescape(target);
    if (path) serve(site->second, *path, response);
  }

  void serve(SiteFiles& site, std::string path, httplib::Response& response) {
    if (path.empty() || path.ends_with('/')) path += path.empty() ? "/index.html" : "index.html";
    // The list is what may be served: ".." and links out of the root are not in it.
    if (!std::binary_search(site.paths.begin(), site.paths.end(), path)) return;
    const HtmlName name = parse_html_name(path.substr(path.rfind('/') + 1));
    std::string body = read_page(site.root / path.substr(1), name.is_gzip);
    site.pages += 1;
    site.bytes += static_cast<int64_t>(body.size());
    served += 1;
    response.status = 200;
    if (!name.language.empty()) response.set_header("Content-Language", name.language);
    const bool xhtml = path.ends_with(".xhtml");
    std::string type = xhtml ? "application/xhtml+xml" : "text/html";
    if (!name.charset.empty()) type += "; charset=" + name.charset;
    response.set_content(std::move(body), type);
  }
};

DocServer::DocServer(std::vector<Site> sites) : state_(std::make_unique<State>()) {
  State& s = *state_;
  for (Site& site : sites) {
    State::SiteFiles& files = s.sites[to_lower(site.host)];
    files.root = fs::weakly_canonical(site.root);
    State::list(files);
  }
  s.make_seed_page();
  s.server.set_keep_alive_max_count(1000000);
  s.server.set_tcp_nodelay(true);
  s.server.new_task_queue = [] {
    return new httplib::ThreadPool(4);
  };  // httplib owns it; a thread holds a connection
  s.server.set_pre_routing_handler([&s](const httplib::Request& request, httplib::Response& response) {
    try {
      s.answer(request, response);
    } catch (const std::exception&) {
      response.status = 500;
    }
    return httplib::Server::HandlerResponse::Handled;
  });
  s.port = s.server.bind_to_any_port("127.0.0.1");
  if (s.port <= 0) throw Error("crawl.server", "127.0.0.1: no port to listen on{}", errno_text());
  s.thread = std::thread([&s] { s.server.listen_after_bind(); });
  while (!s.server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

DocServer::~DocServer() {
  state_->server.stop();
  state_->thread.join();
}

int DocServer::port() const {
  return state_->port;
}
std::string DocServer::seed_url() const {
  return fmt::format("http://{}/", kSeedHost);
}
int64_t DocServer::served() const {
  return state_->served;
}

int64_t DocServer::files(std::string_view host) const {
  const auto site = state_->sites.find(std::string(host));
  return site == state_->sites.end() ? 0 : static_cast<int64_t>(site->second.paths.size());
}

int64_t DocServer::total_files() const {
  int64_t total = 0;
  for (const auto& [host, site] : state_->sites) total += static_cast<int64_t>(site.paths.size());
  return total;
}

std::map<std::string, DocServer::Served> DocServer::served_by_host() const {
  std::map<std::string, Served> out;
  for (const auto& [host, site] : state_->sites) out[host] = {site.pages, site.bytes};
  return out;
}

}  // namespace tumbler::crawl
