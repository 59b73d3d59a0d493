// Precision and recall of extraction on real pages: tools/extract_eval.py in C++, as a test.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include <gtest/gtest.h>
#include <zlib.h>

#include "io/file.h"
#include "text/extract.h"

namespace tumbler::text {
namespace {

std::filesystem::path data_folder() {
  const char* root = std::getenv("TUMBLER_TEST_DATA");
  return std::filesystem::path(root ? root : TUMBLER_SOURCE_DIR "/../shared/data") / "html-trafilatura-eval";
}

std::string gunzip(const std::filesystem::path& path) {
  std::string out;
  std::string buffer(1 << 20, '\0');
  gzFile file = gzopen(path.c_str(), "rb");
  for (int n = 0; file && (n = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()))) > 0;)
    out.append(buffer, 0, static_cast<size_t>(n));
  if (file) gzclose(file);
  return out;
}

// Regular files of a tar archive by their last name: ustar with GNU ('L') or pax ('x') long names.
std::map<std::string, std::string> untar(std::string_view tar) {
  std::map<std::string, std::string> files;
  std::string long_name;
  for (size_t at = 0; at + 512 <= tar.size() && tar[at] != '\0';) {
    const std::string_view header = tar.substr(at, 512);
    const size_t size = std::strtoull(std::string(header.substr(124, 12)).c_str(), nullptr, 8);
    const std::string_view body = tar.substr(std::min(at + 512, tar.size()), size);
    std::string name = long_name.empty()
                           ? std::string(header.substr(0, std::min<size_t>(header.find('\0'), 100)))
                           : long_name;
    long_name.clear();
    if (header[156] == 'L')
      long_name = std::string(body.substr(0, body.find('\0')));
    else if (header[156] == 'x') {
      if (const size_t path = body.find("path="); path != body.npos)
        long_name = std::string(body.substr(path + 5, body.find('\n', path) - path - 5));
    } else if (header[156] == '0' || header[156] == '\0') {
      files[name.substr(name.rfind('/') + 1)] = std::string(body);
    }
    at += 512 + (size + 511) / 512 * 512;
  }
  return files;
}

TEST(SlowExtractEval, RealPages) {
  const std::filesystem::path folder = data_folder();
  if (!std::filesystem::exists(folder / "pages.tar.gz"))
    GTEST_SKIP() << "no test data in " << folder << " (set TUMBLER_TEST_DATA)";
  const std::map<std::string, std::string> pages = untar(gunzip(folder / "pages.tar.gz"));
  const nlohmann::json items = nlohmann::json::parse(io::read_file(folder / "evaldata.json"));
  int n_pages = 0;
  double found = 0, missed = 0, wrong = 0;
  for (const auto& item : items) {
    const auto page = pages.find(item.at("file").get<std::string>());
    if (page == pages.end()) continue;
    ++n_pages;
    const Result<std::string> result = extract_main_text(page->second, {});
    const std::string text = result ? *result : "";
    for (const auto& part : item.at("with"))
      (text.find(part.get<std::string>()) != text.npos ? found : missed) += 1;
    for (const auto& part : item.at("without")) wrong += text.find(part.get<std::string>()) != text.npos;
  }
  const double precision = found / (found + wrong), recall = found / (found + missed);
  const double f1 = 2 * precision * recall / (precision + recall);
  std::printf("%d pages: precision %.4f recall %.4f F1 %.4f\n", n_pages, precision, recall, f1);
  EXPECT_GE(n_pages, 600);
  EXPECT_GE(f1, 0.92);
  EXPECT_GE(precision, 0.905);
}

}  // namespace
}  // namespace tumbler::text
