#include "tokens/shards.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tokens/test_data.h"

namespace tumbler::tokens {
namespace {

using testing_data::TemporaryDirectory;

void write_three(const std::filesystem::path& path, int64_t vocab_size) {
  TokenShardWriter writer(path, "a|b", vocab_size);
  const std::vector<TokenId> first = {1, 2, static_cast<TokenId>(vocab_size - 1)}, third = {0};
  writer.add_document(first);
  writer.add_document({});
  writer.add_document(third);
  writer.commit();
}

TEST(Shards, RoundTripAroundThe16BitBoundary) {
  const TemporaryDirectory directory;
  for (const auto& [vocab_size, bytes] :
       {std::pair<int64_t, int>{300, 2}, {65536, 2}, {65537, 4}, {262144, 4}}) {
    const auto path = directory / "x.ds";
    write_three(path, vocab_size);
    const TokenShardReader reader(path);
    EXPECT_EQ(reader.token_bytes(), bytes);
    EXPECT_EQ(reader.tokenizer_name(), "a|b");
    EXPECT_EQ(reader.size(), 4);
    EXPECT_EQ(reader.documents(), 3);
    EXPECT_EQ(reader[2], vocab_size - 1);
    EXPECT_EQ(reader.max_token(), vocab_size - 1);
    EXPECT_EQ(reader.document(0), (std::pair<int64_t, int64_t>{0, 3}));
    EXPECT_EQ(reader.document(1), (std::pair<int64_t, int64_t>{3, 3}));
    EXPECT_EQ(reader.document(2), (std::pair<int64_t, int64_t>{3, 4}));
    std::vector<TokenId> ids(2);
    reader.read(1, ids);
    EXPECT_EQ(ids, (std::vector<TokenId>{2, static_cast<TokenId>(vocab_size - 1)}));
  }
}

TEST(Shards, FilesAreDatatrovesFormat) {
  const TemporaryDirectory directory;
  write_three(directory / "x.ds", 300);
  EXPECT_EQ(io::read_file(directory / "x.ds"), std::string("\x01\x00\x02\x00\x2B\x01\x00\x00", 8));
  EXPECT_EQ(io::read_file(directory / "x.ds.index"),
            std::string("\3\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0", 24));
  EXPECT_EQ(io::read_file(directory / "x.ds.metadata"), "a|b|2\n4\n4");
}

TEST(Shards, EmptyShard) {
  const TemporaryDirectory directory;
  TokenShardWriter(directory / "x.ds", "t", 300).commit();
  const TokenShardReader reader(directory / "x.ds");
  EXPECT_EQ(reader.size(), 0);
  EXPECT_EQ(reader.documents(), 0);
  EXPECT_EQ(reader.max_token(), -1);
}

TEST(Shards, NothingAppearsWithoutCommit) {
  const TemporaryDirectory directory;
  {
    TokenShardWriter writer(directory / "x.ds", "t", 300);
    writer.add_document(std::vector<TokenId>{1});
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(Shards, DamagedFilesAreErrors) {
  const TemporaryDirectory directory;
  const auto damage = [&](const char* name, const std::string& bytes) {
    write_three(directory / "x.ds", 300);
    io::write_file(directory / name, bytes);
    EXPECT_THROW(TokenShardReader(directory / "x.ds"), Error) << name;
  };
  damage("x.ds", std::string(7, '\0'));  // odd
  damage("x.ds", std::string(6, '\0'));  // a token short
  damage("x.ds", "");
  damage("x.ds.index", std::string(23, '\0'));  // no multiple of 8
  damage("x.ds.index", "");                     // no documents, but tokens
  damage("x.ds.index", std::string("\3\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0", 24));  // ends go down
  damage("x.ds.index", std::string("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8));
  for (const char* metadata : {"", "t", "t|3\n4\n", "t|2\n", "t|2\nx\n4", "t|2\n-4\n",
                               "t|2\n99999999999999999999\n", "t|2\n5\n5", "|\n4\n4"})
    damage("x.ds.metadata", metadata);
  std::filesystem::remove(directory / "x.ds.metadata");
  EXPECT_THROW(TokenShardReader(directory / "x.ds"), Error);
}

}  // namespace
}  // namespace tumbler::tokens
