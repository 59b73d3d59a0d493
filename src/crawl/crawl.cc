#include "crawl/crawl.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "crawl/byte_stream.h"
#include "crawl/debian.h"
#include "crawl/doc_server.h"
#include "crawl/process.h"
#include "io/file.h"
#include "io/file_lock.h"

namespace fs = std::filesystem;

namespace tumbler::crawl {
namespace {

constexpr std::string_view kDomain = "debian.example";  // RFC 2606: a name that no one can have
constexpr double kStallSeconds = 120;                   // wget without a page for this long has hung
constexpr std::string_view kManifest = "manifest.json";
constexpr int kManifestVersion = 1;

nlohmann::ordered_json to_json(const CrawlResult& result) {
  nlohmann::ordered_json packages = nlohmann::ordered_json::array(), files = nlohmann::ordered_json::array();
  for (const CrawledPackage& p : result.packages)
    packages.push_back({{"name", p.name}, {"version", p.version}, {"pages", p.pages}, {"bytes", p.bytes}});
  for (const std::string& name : result.files) files.push_back(name);
  return {{"version", kManifestVersion},     {"pages", result.pages},     {"bytes", result.bytes},
          {"warc_bytes", result.warc_bytes}, {"seconds", result.seconds}, {"packages", std::move(packages)},
          {"files", std::move(files)}};
}

// A crawl of just these packages that is all there.
std::optional<CrawlResult> find_finished(const CrawlConfig& config, const fs::path& output) {
  const fs::path path = output / kManifest;
  if (!fs::exists(path)) return std::nullopt;
  const nlohmann::json json = nlohmann::json::parse(io::read_file(path), nullptr, false);
  try {
    if (json.at("version") != kManifestVersion) return std::nullopt;
    CrawlResult result;
    for (const auto& p : json.at("packages"))
      result.packages.push_back({p.at("name"), p.at("version"), p.at("pages"), p.at("bytes")});
    int64_t bytes = 0;
    for (const auto& name : json.at("files")) {
      result.files.push_back(name);
      std::error_code error;
      bytes += static_cast<int64_t>(fs::file_size(output / result.files.back(), error));
      if (error) return std::nullopt;
    }
    result.pages = json.at("pages");
    result.bytes = json.at("bytes");
    result.warc_bytes = json.at("warc_bytes");
    result.seconds = json.at("seconds");
    result.already_there = true;
    std::vector<std::string> names;
    for (const CrawledPackage& p : result.packages) names.push_back(p.name);
    if (names != config.packages || bytes != result.warc_bytes) return std::nullopt;
    return result;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

// What a crawl that was cut off has left.
void remove_leftovers(const fs::path& output) {
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(output)) {
    const std::string name = entry.path().filename().string();
    if (name == kManifest || name.starts_with(".work.") ||
        (name.starts_with("crawl-") && name.ends_with(".warc.gz")))
      old.push_back(entry.path());
  }
  std::sort(old.rbegin(), old.rend());  // the manifest before the files that it speaks of
  for (const fs::path& path : old) fs::remove_all(path);
  io::remove_temporaries(output, kManifest);
}

std::string host_of(std::string package) {
  std::replace(package.begin(), package.end(), '+', 'x');  // c++-annotations: '+' is for no host name
  return fmt::format("{}.{}", package, kDomain);
}

std::vector<std::string> wget_command(const DocServer& server, const CrawlConfig& config) {
  return {"wget", "--no-config", "--no-verbose", "--no-hsts", "--tries=2", "--timeout=30", "-e",
          "use_proxy=on", "-e", "no_proxy=", "-e",
          fmt::format("http_proxy=http://127.0.0.1:{}/", server.port()), "-e", "robots=off", "--recursive",
          "--level=inf", "--span-hosts", fmt::format("--domains={}", kDomain), "--delete-after",
          "--directory-prefix=tmp",
          // Only what can be HTML by its name: images, styles and scripts are not asked for. (--accept-regex
          // took a fifth longer.)
          "--accept=*.html,*.htm,*.xhtml,*.HTML,*.HTM,*.html.*,*.htm.*", "--user-agent=tumbler (GNU wget)",
          "--warc-file=crawl", fmt::format("--warc-max-size={}M", config.warc_mb), "--no-warc-keep-log",
          "--warc-tempdir=.", server.seed_url()};
}

// wget's manual, "Exit Status"; on a full disk it may also abort in its own assertions.
[[noreturn]] void wget_failed(int code, const fs::path& work, const fs::path& output) {
  const std::string log = last_lines(work / "wget.log");
  constexpr int64_t kFull = int64_t{1} << 20;
  if (io::free_bytes(work) < kFull)
    throw Error("crawl", "wget: no space left in {} (exit code {}); free some space and run again",
                output.string(), code);
  switch (code) {
    case 3:
      throw Error("crawl", "wget: could not write into {} ({}); free some space", output.string(), log);
    case 4:
      throw Error("crawl", "wget: lost the connection to the server on 127.0.0.1 ({}); run again", log);
    default:
      throw Error("crawl",
                  "wget: got exit code {}, expected 0 or 8 (some pages are missing); its last lines: {}",
                  code, log);
  }
}

void run_wget(const DocServer& server, const CrawlConfig& config, const fs::path& work,
              const fs::path& output, Progress& progress) {
  using Clock = std::chrono::steady_clock;
  ChildProcess wget(wget_command(server, config), work, work / "wget.log");
  progress.start("crawl", server.total_files(), "pages");
  int64_t last = -1;
  Clock::time_point moved = Clock::now();
  std::optional<int> code;
  while (!(code = wget.poll())) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const int64_t served = server.served();
    if (served == last) {
      if (std::chrono::duration<double>(Clock::now() - moved).count() > kStallSeconds)
        throw Error("crawl", "wget: got no page for {} s after {} pages; run again ({})", kStallSeconds,
                    served, last_lines(work / "wget.log"));
      continue;
    }
    last = served;
    moved = Clock::now();
    progress.update(served);
  }
  progress.update(server.served());
  progress.finish();
  if (*code != 0 && *code != 8)
    wget_failed(*code, work, output);  // 8: links that lead nowhere, as on any web
}

// A full disk does not always make wget fail: every member of every file has to be whole.
void check_warcs(const std::vector<fs::path>& files, const fs::path& output) {
  if (files.empty())
    throw Error("crawl", "{}: wget wrote no WARC file; is it GNU wget with --warc-file?", output.string());
  for (const fs::path& file : files) {
    if (fs::file_size(file) == 0)
      throw Error("crawl", "{}: wget wrote an empty file; free some space", file.string());
    ByteStream stream(file);
    for (ByteStream::Fill fill; (fill = stream.fill()) != ByteStream::Fill::kEnd;) {
      if (fill == ByteStream::Fill::kDamaged)
        throw Error("crawl", "{}: wget wrote a damaged file ({}); free some space and run again",
                    file.string(), stream.damage().detail);
      stream.consume(stream.window().size());
    }
  }
}

}  // namespace

CrawlResult crawl_packages(const CrawlConfig& config, const fs::path& output, Progress& progress) {
  if (config.packages.empty())
    throw Error("crawl",
                "packages: got none, expected names of Debian packages; give --packages or a recipe");
  if (config.warc_mb < 1)
    throw Error("crawl", "warc_mb: got {}, expected 1 or more; correct the recipe", config.warc_mb);
  io::make_directories(output);
  const io::FileLock lock(output / ".lock", "crawl",
                          "another crawl is running in it; wait for it or choose another --output");
  if (std::optional<CrawlResult> finished = find_finished(config, output)) return *finished;
  if (!find_program("wget"))
    throw Error("crawl", "wget: not found in PATH; install it (apt-get install wget)");
  remove_leftovers(output);

  const auto start = std::chrono::steady_clock::now();
  const fs::path work = fs::absolute(output) / fmt::format(".work.{}", ::getpid());
  io::make_directories(work / "packages");
  const struct RemoveWork {
    const fs::path& path;
    ~RemoveWork() {
      std::error_code error;
      fs::remove_all(path, error);
    }
  } remove_work{work};

  const fs::path cache = config.cache.empty() ? output / "debs" : fs::path(config.cache);
  const std::vector<UnpackedPackage> packages =
      unpack_packages(config.packages, cache, work / "packages", progress);
  std::vector<DocServer::Site> sites;
  for (const UnpackedPackage& package : packages) sites.push_back({host_of(package.name), package.root});
  const DocServer server(std::move(sites));
  for (const UnpackedPackage& package : packages)
    if (server.files(host_of(package.name)) == 0)
      log::warn("{}: has no HTML; take it off the list", package.name);
  if (server.total_files() == 0)
    throw Error(
        "crawl",
        "packages: got no HTML page in any of them, expected some; choose packages with HTML documentation");
  run_wget(server, config, work, output, progress);

  CrawlResult result;
  const auto served = server.served_by_host();
  for (const UnpackedPackage& package : packages) {
    const DocServer::Served& s = served.at(host_of(package.name));
    result.packages.push_back({package.name, package.version, s.pages, s.bytes});
    result.pages += s.pages;
    result.bytes += s.bytes;
  }
  if (result.pages == 0)
    throw Error("crawl", "wget: fetched 0 of {} pages ({}); run again", server.total_files(),
                last_lines(work / "wget.log"));
  const std::vector<fs::path> warcs = io::glob((work / "crawl-[0-9]*.warc.gz").string());
  check_warcs(warcs, output);
  for (const fs::path& file : warcs) {
    result.warc_bytes += static_cast<int64_t>(fs::file_size(file));
    result.files.push_back(file.filename().string());
    fs::rename(file, output / file.filename());
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  // Before the manifest: a crawl that is killed after it counts as whole, and nothing cleans up behind it.
  fs::remove_all(work);
  io::sync_directory(output);
  io::write_file(output / kManifest, to_json(result).dump(2) + "\n");
  return result;
}

}  // namespace tumbler::crawl
