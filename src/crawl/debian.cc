#include "crawl/debian.h"

#include <algorithm>
#include <map>

#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "crawl/ascii.h"
#include "crawl/doc_server.h"
#include "crawl/process.h"
#include "io/file.h"

namespace fs = std::filesystem;

namespace tumbler::crawl {
namespace {

// Debian Policy, 5.6.1. Also what keeps a name from being a flag or a path.
void check_name(const std::string& name) {
  const bool good =
      name.size() >= 2 && is_alnum(name[0]) && std::all_of(name.begin(), name.end(), [](char c) {
        return is_digit(c) || (c >= 'a' && c <= 'z') || c == '+' || c == '-' || c == '.';
      });
  if (!good)
    throw Error("crawl", "packages: got \"{}\", expected the name of a Debian package; correct the list",
                name);
}

// name_version_arch.deb in `cache` for each name; the last by name where there are several.
std::map<std::string, fs::path> find_debs(const fs::path& cache) {
  std::map<std::string, fs::path> out;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(cache))
    if (entry.path().extension() == ".deb" && entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    out[name.substr(0, name.find('_'))] = file;
  }
  return out;
}

std::string version_of(const fs::path& deb) {
  const std::string name = deb.stem().string();
  const size_t first = name.find('_'), last = name.rfind('_');
  if (first == std::string::npos || last <= first) return {};
  std::string version = name.substr(first + 1, last - first - 1);
  const size_t epoch = version.find("%3a");  // apt writes the colon of 1:2.39 so
  return epoch == std::string::npos ? version : version.substr(0, epoch) + ':' + version.substr(epoch + 3);
}

std::vector<std::string> missing_of(const std::vector<std::string>& names, const fs::path& cache) {
  const std::map<std::string, fs::path> debs = find_debs(cache);
  std::vector<std::string> missing;
  for (const std::string& name : names)
    if (!debs.contains(name)) missing.push_back(name);
  return missing;
}

// `apt-get download` checks hashes and signatures; a file appears under its own name when it is whole.
void download(const std::vector<std::string>& names, const fs::path& cache, const fs::path& log,
              Progress& progress) {
  std::vector<std::string> command = {"apt-get", "download", "-q", "-o", "Acquire::Retries=3"};
  if (::geteuid() == 0)
    command.insert(command.end(), {"-o", "APT::Sandbox::User=root"});  // _apt may not write into the cache
  const auto run = [&](const std::vector<std::string>& some) {
    std::vector<std::string> full = command;
    full.insert(full.end(), some.begin(), some.end());
    return run_program(full, cache, log);
  };
  constexpr size_t kBatch = 8;  // apt takes all or nothing of a command that names an unknown package
  bool updated = false;
  for (size_t i = 0; i < names.size(); i += kBatch) {
    const std::vector<std::string> batch(
        names.begin() + static_cast<std::ptrdiff_t>(i),
        names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), i + kBatch)));
    int code = run(batch);
    if (code != 0 && !updated && ::geteuid() == 0) {  // a bare container has no package lists
      updated = true;
      log::info("apt-get update: the package lists are missing or old");
      run_program({"apt-get", "update", "-q"}, cache, log);
      code = run(batch);
    }
    if (code != 0)
      for (const std::string& name : missing_of(batch, cache)) run({name});
    progress.update(static_cast<int64_t>(i + batch.size()));
  }
}

// The HTML of a package that is installed on this machine, copied with its paths.
bool copy_installed(const std::string& name, const fs::path& root) {
  if (!find_program("dpkg-query")) return false;
  const fs::path list = root.string() + ".list";
  if (run_program({"dpkg-query", "-L", name}, "/", list) != 0) return false;
  bool any = false;
  const std::string text = io::read_file(list);
  for (std::string_view rest = text; !rest.empty();) {
    const fs::path file(take_line(rest));
    std::error_code error;
    if (!parse_html_name(file.filename().string()).is_html ||
        fs::symlink_status(file, error).type() != fs::file_type::regular)
      continue;
    const fs::path target = root / file.relative_path();
    fs::create_directories(target.parent_path(), error);
    any |= fs::copy_file(file, target, error);
  }
  return any;
}

}  // namespace

std::vector<UnpackedPackage> unpack_packages(const std::vector<std::string>& names, const fs::path& cache,
                                             const fs::path& work, Progress& progress) {
  for (const std::string& name : names) check_name(name);
  io::make_directories(cache);
  const fs::path log = work / "packages.log";
  const std::vector<std::string> missing = missing_of(names, cache);
  if (!missing.empty() && find_program("apt-get")) {
    progress.start("download", static_cast<int64_t>(missing.size()), "packages");
    download(missing, fs::absolute(cache), log, progress);
    progress.finish();
  }
  const std::map<std::string, fs::path> debs = find_debs(cache);
  std::vector<UnpackedPackage> out;
  progress.start("unpack", static_cast<int64_t>(names.size()), "packages");
  for (const std::string& name : names) {
    UnpackedPackage package{name, "installed", work / name};
    io::make_directories(package.root);
    if (const auto deb = debs.find(name); deb != debs.end()) {
      package.version = version_of(deb->second);
      if (run_program(
              {"dpkg-deb", "-x", fs::absolute(deb->second).string(), fs::absolute(package.root).string()},
              work, log) != 0)
        throw Error("crawl",
                    "{}: dpkg-deb can't unpack it ({}); free some space, or delete the file so that it is "
                    "fetched again",
                    deb->second.string(), last_lines(log));
    } else if (copy_installed(name, package.root)) {
      log::warn("{}: not fetched; its documentation as installed on this machine is used", name);
    } else {
      throw Error("crawl",
                  "{}: can't be fetched by apt-get and is not installed ({}); run apt-get update, or put its "
                  ".deb into {}",
                  name, last_lines(log), cache.string());
    }
    out.push_back(std::move(package));
    progress.update(static_cast<int64_t>(out.size()));
  }
  progress.finish();
  return out;
}

}  // namespace tumbler::crawl
