// Debian packages: fetched by apt-get into a directory, unpacked by dpkg-deb.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"

namespace tumbler::crawl {

struct UnpackedPackage {
  std::string name, version;
  std::filesystem::path root;  // as "/" of the package
};

// Makes sure that `cache` has a .deb of each package, as far as apt-get can; then unpacks them to
// `work`/<name>. What could not be fetched but is installed here is copied from /usr/share, with a warning.
// Throws Error on a bad name and on what is nowhere.
std::vector<UnpackedPackage> unpack_packages(const std::vector<std::string>& names,
                                             const std::filesystem::path& cache,
                                             const std::filesystem::path& work, Progress& progress);

}  // namespace tumbler::crawl
