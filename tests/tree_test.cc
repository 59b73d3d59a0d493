// The rules of the tree: who may include whom (read from the table in CMakeLists.txt), where MPI and
// intrinsics may stand, file sizes, and formatting.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/file.h"

namespace tumbler {
namespace {

namespace fs = std::filesystem;
const fs::path kRoot = TUMBLER_SOURCE_DIR;

// folder -> all folders that it may include: itself, what its row USES, and what those use.
std::map<std::string, std::set<std::string>> allowed_includes(const std::string& cmake) {
  std::map<std::string, std::set<std::string>> allowed;
  const std::regex row(R"(tumbler_folder\((\w+)\s*(?:USES\s+([\w\s]+?))?\s*(?:LINK[^)]*)?\))");
  for (auto it = std::sregex_iterator(cmake.begin(), cmake.end(), row); it != std::sregex_iterator(); ++it) {
    std::set<std::string>& set = allowed[(*it)[1]];
    set.insert((*it)[1]);
    const std::string uses = (*it)[2];
    const std::regex word(R"(\w+)");
    for (auto use = std::sregex_iterator(uses.begin(), uses.end(), word); use != std::sregex_iterator();
         ++use) {
      const auto found = allowed.find(use->str());
      EXPECT_NE(found, allowed.end()) << (*it)[1] << " uses " << use->str() << ", which has no row above it";
      if (found != allowed.end()) set.insert(found->second.begin(), found->second.end());
    }
  }
  return allowed;
}

bool is_source(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".h" || extension == ".cc" || extension == ".inl";
}

std::vector<fs::path> sources(const fs::path& folder) {
  std::vector<fs::path> found;
  if (!fs::exists(folder)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && is_source(entry.path())) found.push_back(entry.path());
  return found;
}

// The complaints about one file's includes.
std::vector<std::string> broken_rules(const std::string& folder, const std::string& text,
                                      const std::map<std::string, std::set<std::string>>& allowed) {
  std::vector<std::string> complaints;
  const std::regex include(R"re(#\s*include\s*([<"])([^>"]+)[>"])re");
  for (auto it = std::sregex_iterator(text.begin(), text.end(), include); it != std::sregex_iterator();
       ++it) {
    const std::string path = (*it)[2];
    const std::string first = path.substr(0, path.find('/'));
    if (path == "mpi.h" && folder != "dist") complaints.push_back(path + " outside dist/");
    if ((path.find("intrin.h") != std::string::npos || first == "simde") && folder != "kernels")
      complaints.push_back(path + " outside kernels/");
    if (path.ends_with("utils.h")) complaints.push_back(path + ": name the file after what it does");
    if ((*it)[1] == "<" || folder == "cli") continue;
    if (first == "cli" || !allowed.at(folder).contains(first))
      complaints.push_back(folder + "/ may not include " + path);
  }
  return complaints;
}

TEST(Tree, FoldersIncludeOnlyWhatTheTableAllows) {
  const auto allowed = allowed_includes(io::read_file(kRoot / "CMakeLists.txt"));
  ASSERT_GE(allowed.size(), 10u) << "the table of folders in CMakeLists.txt was not found";
  for (const char* data : {"crawl", "text", "tokens"})
    for (const char* model : {"nn", "train", "engine"})
      EXPECT_FALSE(allowed.at(data).contains(model)) << data << " may never include " << model;
  EXPECT_FALSE(allowed.at("engine").contains("tokens")) << "engine never sees text";
  for (const auto& folder : fs::directory_iterator(kRoot / "src")) {
    const std::string name = folder.path().filename().string();
    ASSERT_TRUE(name == "cli" || allowed.contains(name)) << "src/" << name << " has no row in CMakeLists.txt";
    for (const fs::path& file : sources(folder.path()))
      for (const std::string& complaint : broken_rules(name, io::read_file(file), allowed))
        ADD_FAILURE() << file.lexically_relative(kRoot).string() << ": " << complaint;
  }
}

TEST(Tree, TheRuleCheckerSeesBrokenRules) {
  const std::map<std::string, std::set<std::string>> allowed = {{"text", {"text", "base"}}};
  EXPECT_TRUE(broken_rules("text", "#include \"base/error.h\"\n#include <vector>\n", allowed).empty());
  EXPECT_EQ(broken_rules("text", "#include \"nn/config.h\"\n", allowed).size(), 1u);
  EXPECT_EQ(broken_rules("text", "#include <mpi.h>\n#include <immintrin.h>\n", allowed).size(), 2u);
  EXPECT_EQ(broken_rules("text", "#include \"cli/x.h\"\n", allowed).size(), 1u);
}

TEST(Tree, FilesStayUnder800Lines) {
  for (const char* folder : {"src", "tests", "fuzz"})
    for (const fs::path& file : sources(kRoot / folder)) {
      const std::string text = io::read_file(file);
      EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 800) << file.string();
    }
}

TEST(Tree, SourcesAreFormatted) {
  if (std::system("clang-format --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "clang-format is not installed";
  std::string files;
  for (const char* folder : {"src", "tests", "fuzz"})
    for (const fs::path& file : sources(kRoot / folder))
      if (file.extension() != ".inl") files += " '" + file.string() + "'";
  EXPECT_EQ(std::system(("clang-format --dry-run -Werror --style=file" + files).c_str()), 0)
      << "run clang-format -i on the files named above";
}

}  // namespace
}  // namespace tumbler
