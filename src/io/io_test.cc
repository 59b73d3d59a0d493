#include <csignal>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/rng.h"
#include "io/file.h"
#include "io/file_lock.h"
#include "io/lines.h"
#include "io/toml.h"

namespace tumbler::io {
namespace {

namespace fs = std::filesystem;

class Io : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("tumbler_io_" + std::to_string(::getpid()));
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(directory_), {}));
  }
  fs::path directory_;
};

TEST_F(Io, AFileAppearsOnlyWhenCommitted) {
  const fs::path path = directory_ / "a";
  {
    AtomicFile file(path);
    file.write("half");
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_EQ(entries(), 0u) << "an uncommitted file leaves nothing behind";
  write_file(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
    EXPECT_EQ(read_file(path), "old");
    file.commit();
  }
  EXPECT_EQ(read_file(path), "new");
}

TEST_F(Io, LargeWritesArriveWhole) {
  std::string bytes(3 << 20, ' ');
  Rng rng(1);
  for (char& c : bytes) c = static_cast<char>(rng());
  AtomicFile file(directory_ / "large");
  for (size_t at = 0; at < bytes.size(); at += 70001) file.write(std::string_view(bytes).substr(at, 70001));
  file.commit();
  EXPECT_EQ(read_file(directory_ / "large"), bytes);
  EXPECT_EQ(MappedFile(directory_ / "large").text(), bytes);
}

TEST_F(Io, AFullDiskIsAnErrorAndTheOldFileStays) {
  const fs::path path = directory_ / "a";
  write_file(path, "finished");
  const pid_t child = ::fork();
  if (child == 0) {  // the limit on file sizes stands in for a disk that fills up
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_file(path, std::string(1 << 21, 'x'));
    } catch (const Error& error) {
      ::_exit(std::string(error.what()).find("free some space") != std::string::npos ? 7 : 8);
    }
    ::_exit(9);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_EQ(read_file(path), "finished");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Io, ALockIsOneProcessesAndEndsWithIt) {
  const fs::path path = directory_ / ".lock";
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const FileLock lock(path, "io", "another has it");
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  try {
    const FileLock lock(path, "io", "another has it");
    ADD_FAILURE() << "two have it";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "[io] " + directory_.string() + ": another has it");
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(fs::exists(path)) << "it was killed";
  { const FileLock lock(path, "io", "another has it"); }
  EXPECT_FALSE(fs::exists(path));
  EXPECT_THROW(FileLock(directory_ / "none/.lock", "io", "busy"), Error);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(Io, MissingFilesAreNamed) {
  EXPECT_THROW(read_file(directory_ / "none"), Error);
  EXPECT_THROW(MappedFile{directory_ / "none"}, Error);
  EXPECT_THROW(MappedFile{directory_}, Error);
  EXPECT_THROW(AtomicFile{directory_ / "none" / "x"}, Error);
  write_file(directory_ / "empty", "");
  EXPECT_TRUE(MappedFile(directory_ / "empty").bytes().empty());
}

TEST_F(Io, LinesRoundTrip) {
  std::vector<std::string> lines = {"", "one", std::string(700000, 'x'), "\xff\x00 two", ""};
  for (const char* name : {"a.jsonl", "a.jsonl.zst"}) {
    LineWriter writer(directory_ / name);
    for (const std::string& line : lines) writer.write_line(line);
    writer.commit();
    LineReader reader(directory_ / name);
    for (const std::string& line : lines) EXPECT_EQ(reader.next(), line);
    EXPECT_EQ(reader.next(), std::nullopt);
    EXPECT_EQ(reader.next(), std::nullopt);
  }
}

TEST_F(Io, ALastLineWithoutNewlineCounts) {
  write_file(directory_ / "a", "x\ny");
  LineReader reader(directory_ / "a");
  EXPECT_EQ(reader.next(), "x");
  EXPECT_EQ(reader.next(), "y");
  EXPECT_EQ(reader.next(), std::nullopt);
}

TEST_F(Io, DamagedCompressionIsAnError) {
  LineWriter writer(directory_ / "a.zst");
  Rng rng(1);
  for (int i = 0; i < 1000; ++i) writer.write_line(std::to_string(rng()));
  writer.commit();
  std::string bytes = read_file(directory_ / "a.zst");
  const auto read_all = [&](const std::string& content) {
    write_file(directory_ / "b.zst", content);
    LineReader reader(directory_ / "b.zst");
    while (reader.next()) {
    }
  };
  EXPECT_NO_THROW(read_all(bytes));
  EXPECT_THROW(read_all(bytes.substr(0, bytes.size() / 2)), Error) << "cut off";
  bytes[bytes.size() / 2] ^= 1;
  EXPECT_THROW(read_all(bytes), Error) << "flipped bit";
}

TEST_F(Io, AnEndlessLineIsAnError) {
  write_file(directory_ / "a", std::string(1 << 20, 'x'));
  LineReader reader(directory_ / "a", 1 << 16);
  EXPECT_THROW((void)reader.next(), Error);
}

TEST_F(Io, GlobMatchesAsAShellDoes) {
  fs::create_directories(directory_ / "d/e");
  for (const char* name : {"b.x", "a.x", "c.y", "d/f.x", "d/e/g.x"}) write_file(directory_ / name, "");
  const auto names = [&](const std::string& pattern) {
    std::string out;
    for (const fs::path& path : glob((directory_ / pattern).string()))
      out += path.lexically_relative(directory_).string() + " ";
    return out;
  };
  EXPECT_EQ(names("*.x"), "a.x b.x ");
  EXPECT_EQ(names("*/*.x"), "d/f.x ");
  EXPECT_EQ(names("**/*.x"), "a.x b.x d/e/g.x d/f.x ");
  EXPECT_EQ(names("c.y"), "c.y ");
  EXPECT_EQ(names("none*"), "");
  EXPECT_EQ(names("none"), "");
}

TEST(Toml, BecomesJson) {
  const auto json = parse_toml("a = 1\n[b]\nc = [1.5, 'x']\nd = true\n", "test");
  EXPECT_EQ(json.dump(), R"({"a":1,"b":{"c":[1.5,"x"],"d":true}})");
}

TEST(Toml, ErrorsSayWhere) {
  try {
    parse_toml("a = 1\nb = = 2\n", "recipe.toml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("[recipe.toml] line 2"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace tumbler::io
