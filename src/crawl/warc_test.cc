#include "crawl/warc.h"

#include <map>
#include <vector>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "base/rng.h"
#include "crawl/page.h"
#include "crawl/test_files.h"

namespace tumbler::crawl {
namespace {

using test::deflated;
using test::response;
using test::TempDirectory;
using test::warc_record;

struct Read {
  std::vector<std::string> records;  // target URIs
  std::vector<std::string> reasons;  // codes, in order
  std::vector<std::string> blocks;
};

Read read_all(const std::filesystem::path& path) {
  Read out;
  WarcReader reader(path);
  while (auto record = reader.next()) {
    if (out.records.size() + out.reasons.size() > 100000) throw Error("test", "no end");
    if (*record) {
      out.records.push_back((*record)->target_uri);
      out.blocks.emplace_back((*record)->block);
    } else {
      out.reasons.push_back(record->reason().code);
    }
  }
  EXPECT_EQ(reader.position(), static_cast<int64_t>(std::filesystem::file_size(path)));
  EXPECT_FALSE(reader.next());  // the end stays the end
  return out;
}

using Names = std::vector<std::string>;

std::string page(char c, size_t size = 3000) {
  Rng rng(static_cast<uint64_t>(c));
  std::string out = "<p>";
  while (out.size() < size) out += fmt::format("{} word{} ", c, rng.below(100000));
  return out;
}

// The same three records in each container.
struct Container {
  const char* name;
  std::string (*wrap)(std::string_view);
  bool per_record;
};
std::string as_is(std::string_view bytes) {
  return std::string(bytes);
}
std::string gzip(std::string_view bytes) {
  return deflated(bytes);
}
const Container kContainers[] = {
    {"a.warc", as_is, true},
    {"b.warc.gz", gzip, true},
    {"c.warc.gz", gzip, false},
    {"d.warc.zst", test::zstd_frame, true},
    {"e.warc.zst", test::zstd_frame, false},
};

std::string pack(const Container& c, const std::vector<std::string>& records) {
  std::string out;
  for (const std::string& record : records) out += c.per_record ? c.wrap(record) : record;
  return c.per_record ? out : c.wrap(out);
}

class EveryContainer : public testing::TestWithParam<Container> {
 protected:
  Read read(const std::vector<std::string>& records) {
    return read_all(directory_.write(GetParam().name, pack(GetParam(), records)));
  }
  TempDirectory directory_;
};
INSTANTIATE_TEST_SUITE_P(Warc, EveryContainer, testing::ValuesIn(kContainers),
                         [](const auto& param) { return std::string(1, param.param.name[0]); });

TEST_P(EveryContainer, GivesRecordsWithTheirBlocks) {
  const Read got = read({response("u1", page('1')), response("u2", page('2', 400000)), response("u3", "")});
  EXPECT_EQ(got.records, (Names{"u1", "u2", "u3"}));
  EXPECT_TRUE(got.reasons.empty());
  EXPECT_EQ(got.blocks[1], test::http_message(page('2', 400000)));
}

TEST_P(EveryContainer, EmptyFileAndOnlyBlankLines) {
  EXPECT_TRUE(read_all(directory_.write(GetParam().name, "")).records.empty());
  const Read got = read({"\r\n\r\n"});
  EXPECT_TRUE(got.records.empty());
  EXPECT_TRUE(got.reasons.empty());
}

TEST_P(EveryContainer, LengthTooLong) {
  const Read got = read({response("u1", page('1')), warc_record("response", "bad", "x/y", "short", 4000),
                         response("u3", page('3')), response("u4", "x")});
  EXPECT_EQ(got.records, (Names{"u1", "u3", "u4"}));
  EXPECT_EQ(got.reasons, Names{"bad_length"});
}

TEST_P(EveryContainer, LengthBeyondTheFile) {
  const Read got =
      read({warc_record("response", "bad", "x/y", "short", 30000000), response("u2", page('2'))});
  EXPECT_EQ(got.records, Names{"u2"});
  EXPECT_EQ(got.reasons, Names{"bad_length"});
}

TEST_P(EveryContainer, LengthTooShort) {
  const Read got =
      read({warc_record("response", "bad", "x/y", "longer than that", 4), response("u2", page('2'))});
  EXPECT_EQ(got.records, Names{"u2"});
  EXPECT_EQ(got.reasons, Names{"bad_length"});
}

TEST_P(EveryContainer, LengthOfManyGigabytes) {
  const Read got =
      read({warc_record("response", "bad", "x/y", "short", int64_t{1} << 50), response("u2", page('2'))});
  EXPECT_EQ(got.records, Names{"u2"});
  EXPECT_EQ(got.reasons, Names{"bad_length"});
}

TEST_P(EveryContainer, LengthThatIsNoNumber) {
  for (const char* length : {"-5", "12x", "", "99999999999999999999999", "1e3"}) {
    const Read got = read(
        {fmt::format("WARC/1.0\r\nWARC-Type: response\r\nContent-Length: {}\r\n\r\nbody\r\n\r\n", length),
         response("u2", "x")});
    EXPECT_EQ(got.records, Names{"u2"}) << length;
    EXPECT_EQ(got.reasons, Names{"bad_header"}) << length;
  }
}

TEST_P(EveryContainer, LargeRecordIsPassedOver) {
  const std::string large(static_cast<size_t>(kMaxPageBytes) + (size_t{2} << 20), 'a');
  const Read got =
      read({response("u1", "x"), warc_record("resource", "large", "text/html", large), response("u3", "y")});
  EXPECT_EQ(got.records, (Names{"u1", "u3"}));
  EXPECT_EQ(got.reasons, Names{"too_large"});
}

TEST_P(EveryContainer, GarbageBetweenRecords) {
  const Read got =
      read({"what is this\n", response("u1", "x"), "and\nthis? WARC/1.0\n", response("u2", "y"), "\n\n???"});
  EXPECT_EQ(got.records, (Names{"u1", "u2"}));
  EXPECT_EQ(got.reasons, (Names{"garbage", "garbage", "garbage"}));
}

TEST_P(EveryContainer, MissingBlankLines) {
  std::string record = response("u1", page('1'));
  record.resize(record.size() - 4);
  const Read got = read({record, response("u2", "y")});
  EXPECT_EQ(got.records, (Names{"u1", "u2"}));
  EXPECT_TRUE(got.reasons.empty());
}

TEST_P(EveryContainer, HeaderWithoutEnd) {
  const Read got = read({"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 5\r\n" + response("u2", "y"),
                         response("u3", "z")});
  EXPECT_EQ(got.records, (Names{"u2", "u3"}));
  EXPECT_EQ(got.reasons, Names{"bad_header"});
}

TEST_P(EveryContainer, EndlessHeader) {
  std::string endless = "WARC/1.0\r\n";
  while (endless.size() < 600000) endless += "X-Header: more and more of it\r\n";
  const Read got = read({endless, response("u2", "y")});
  EXPECT_EQ(got.records, Names{"u2"});
  EXPECT_EQ(got.reasons, Names{"bad_header"});
}

TEST_P(EveryContainer, FileCutOffAtAnyByteKeepsEarlierRecords) {
  const std::string first = pack(GetParam(), {response("u1", page('1', 300))});
  const std::string whole =
      pack(GetParam(), {response("u1", page('1', 300)), response("u2", page('2', 300))});
  const size_t from = GetParam().per_record ? first.size() : whole.size() - 8;
  for (size_t size = from; size < whole.size(); ++size) {
    const Read got = read_all(directory_.write(GetParam().name, whole.substr(0, size)));
    // A zstd block gives nothing until it is whole, and this frame is one block.
    if (got.records.empty() && GetParam().name[0] == 'e') continue;
    ASSERT_GE(got.records.size(), 1u) << size;
    EXPECT_EQ(got.records[0], "u1");
    EXPECT_LE(got.reasons.size(), 1u) << size;
    EXPECT_LE(got.records.size(), 2u);
  }
}

TEST(Warc, TruncatedMemberIsTold) {
  const TempDirectory directory;
  const std::string good = deflated(response("u1", page('1')));
  const std::string cut = deflated(response("u2", page('2')));
  const Read got = read_all(directory.write("a.warc.gz", good + cut.substr(0, cut.size() / 2)));
  EXPECT_EQ(got.records, Names{"u1"});
  EXPECT_EQ(got.reasons, Names{"truncated_gzip"});
  const Read zstd = read_all(directory.write(
      "a.warc.zst", test::zstd_frame(response("u1", "x")) + test::zstd_frame(page('2')).substr(0, 500)));
  EXPECT_EQ(zstd.records, Names{"u1"});
  EXPECT_EQ(zstd.reasons.back(), "truncated_zstd");
}

// Every byte of the middle member damaged in turn: the records around it are always there.
TEST(Warc, BadGzipInTheMiddleLosesOnlyThatRecord) {
  const TempDirectory directory;
  const std::string a = deflated(response("u1", page('1', 500))),
                    b = deflated(response("u2", page('2', 500))),
                    c = deflated(response("u3", page('3', 500)));
  for (size_t i = 0; i < b.size(); ++i) {
    std::string broken = b;
    broken[i] = static_cast<char>(broken[i] ^ 0x55);
    const Read got = read_all(directory.write("a.warc.gz", a + broken + c));
    ASSERT_GE(got.records.size(), 2u) << i;
    EXPECT_EQ(got.records.front(), "u1") << i;
    EXPECT_EQ(got.records.back(), "u3") << i;
    // Time, level, system and the padding bits of the last byte are covered by nothing: then the record must
    // be whole.
    if (got.records.size() == 3) {
      EXPECT_EQ(got.blocks[1], test::http_message(page('2', 500))) << i;
    } else {
      EXPECT_EQ(got.records.size(), 2u) << i;
      EXPECT_GE(got.reasons.size(), 1u) << i;
    }
  }
}

TEST(Warc, GarbageBetweenMembers) {
  const TempDirectory directory;
  const std::string bytes = deflated(response("u1", "x")) + "\x1f\x8b garbage \x1f\x8b\x08 more" +
                            deflated(response("u2", "y")) + std::string(512, '\0') +
                            deflated(response("u3", "z"));
  const Read got = read_all(directory.write("a.warc.gz", bytes));
  EXPECT_EQ(got.records, (Names{"u1", "u2", "u3"}));
  EXPECT_GE(got.reasons.size(), 1u);
}

TEST(Warc, RecordsThatSpanMembers) {  // blocked gzip, as bgzip writes it
  const TempDirectory directory;
  const std::string plain = response("u1", page('1', 9000)) + response("u2", page('2', 9000));
  std::string bytes;
  for (size_t i = 0; i < plain.size(); i += 1000) bytes += deflated(plain.substr(i, 1000));
  const Read got = read_all(directory.write("a.warc.gz", bytes));
  EXPECT_EQ(got.records, (Names{"u1", "u2"}));
  EXPECT_TRUE(got.reasons.empty());
}

TEST(Warc, ZstdDictionaryFrame) {
  const TempDirectory directory;
  const std::string record = response("u1", page('1'));
  const std::string dictionary = response("u0", page('0'));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::string frame(ZSTD_compressBound(record.size()), '\0');
  frame.resize(ZSTD_compress_usingDict(context, frame.data(), frame.size(), record.data(), record.size(),
                                       dictionary.data(), dictionary.size(), 3));
  ZSTD_freeCCtx(context);
  const auto size = static_cast<uint32_t>(dictionary.size());
  std::string bytes("\x5d\x2a\x4d\x18", 4);
  for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<char>(size >> (8 * i)));
  const Read got = read_all(directory.write("a.warc.zst", bytes + dictionary + frame));
  EXPECT_EQ(got.records, Names{"u1"});
  EXPECT_TRUE(got.reasons.empty());
}

TEST(Warc, LineFeedsFoldedAndLowerCaseHeaders) {
  const TempDirectory directory;
  const std::string bytes =
      "warc/0.18\nwarc-type: RESPONSE\nwarc-target-uri: <http://a.example/>\nno colon "
      "here\nwarc-identified-payload-type:\n\tTEXT/HTML\n"
      "warc-record-id: <urn:uuid:1>\ncontent-length:\n 4\n\nbody\n\n";
  WarcReader reader(directory.write("a.warc", bytes));
  const auto record = reader.next();
  ASSERT_TRUE(record && *record);
  EXPECT_EQ((*record)->type, "response");
  EXPECT_EQ((*record)->target_uri, "http://a.example/");
  EXPECT_EQ((*record)->payload_type, "text/html");
  EXPECT_EQ((*record)->id, "urn:uuid:1");
  EXPECT_EQ((*record)->block, "body");
}

TEST(Warc, OffsetsAreThoseOfTheMembers) {
  const TempDirectory directory;
  const std::string a = deflated(response("u1", page('1'))), b = deflated(response("u2", page('2')));
  WarcReader reader(directory.write("a.warc.gz", a + b));
  EXPECT_EQ((**reader.next()).offset, 0);
  EXPECT_EQ((**reader.next()).offset, static_cast<int64_t>(a.size()));
}

TEST(Warc, ArcIsNamed) {
  const TempDirectory directory;
  const std::string arc =
      "filedesc://a.arc 0.0.0.0 20080430204825 text/plain 20\n1 0 InternetArchive\n\n\nhttp://a.example/ "
      "1.2.3.4 2008 text/html 4\nabcd\n";
  for (const bool packed : {false, true}) {
    const Read got = read_all(directory.write(packed ? "a.arc.gz" : "a.arc", packed ? deflated(arc) : arc));
    EXPECT_TRUE(got.records.empty());
    EXPECT_EQ(got.reasons, Names{"arc_file"});
  }
}

TEST(Warc, MissingFileIsAnError) {
  EXPECT_THROW(WarcReader("/nonexistent/a.warc.gz"), Error);
}

// 1.5 GB of blanks in 7 MB of gzip: neither memory nor the records after it are lost.
TEST(SlowWarc, GzipBombIsBounded) {
  const TempDirectory directory;
  const std::string zeros(size_t{64} << 20, ' ');
  z_stream z{};
  deflateInit2(&z, 1, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY);
  std::string bomb(size_t{16} << 20, '\0');
  z.next_out = reinterpret_cast<Bytef*>(bomb.data());
  z.avail_out = static_cast<uInt>(bomb.size());
  const std::string header = warc_record("response", "bomb", "text/html", "", int64_t{3} << 30);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(header.data()));
  z.avail_in = static_cast<uInt>(header.size() - 4);
  deflate(&z, Z_NO_FLUSH);
  for (int i = 0; i < 24; ++i) {
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(zeros.data()));
    z.avail_in = static_cast<uInt>(zeros.size());
    deflate(&z, i == 23 ? Z_FINISH : Z_NO_FLUSH);
  }
  bomb.resize(z.total_out);
  deflateEnd(&z);
  const auto path =
      directory.write("a.warc.gz", deflated(response("u1", "x")) + bomb + deflated(response("u2", "y")));
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const Read got = read_all(path);
  getrusage(RUSAGE_SELF, &after);
  EXPECT_EQ(got.records, (Names{"u1", "u2"}));
  EXPECT_GE(got.reasons.size(), 1u);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 200 << 10);  // kB
}

// A mutated file never crashes, hangs or throws.
TEST(Warc, RandomDamage) {
  const TempDirectory directory;
  for (const Container& container : kContainers) {
    const std::string bytes =
        pack(container, {response("u1", page('1')), response("u2", page('2')), response("u3", page('3'))});
    Rng rng(7);
    for (int i = 0; i < 60; ++i) {
      std::string broken = bytes;
      for (int k = 0; k < 4; ++k) broken[rng.below(broken.size())] = static_cast<char>(rng());
      if (i % 3 == 0) broken.erase(rng.below(broken.size()), rng.below(200));
      read_all(directory.write(container.name, broken));
    }
  }
}

// Records by type in files that others wrote: Heritrix, Nutch, wget, warcio's and JWAT's test suites.
TEST(WarcData, CountsByType) {
  if (test::test_data("warc-jwat").empty()) GTEST_SKIP() << "no real data: set TUMBLER_TEST_DATA";
  struct Expected {
    const char* file;
    std::map<std::string, int> count;
  };
  const Expected all[] = {
      {"warc-jwat/warc/IAH-20080430204825-00000-blackbook.warc.gz",
       {{"warcinfo", 1}, {"response", 299}, {"request", 261}, {"metadata", 261}}},
      {"warc-resiliparse/warcfile.warc.gz",
       {{"warcinfo", 1}, {"response", 16}, {"request", 17}, {"metadata", 16}}},
      {"warc-resiliparse/clueweb-quirk.warc.gz", {{"warcinfo", 1}, {"response", 29}}},
      {"warc-resiliparse/clipped.warc.gz", {{"!truncated_gzip", 1}}},
      {"warc-resiliparse/block-sized-records.warc.gz", {{"unknown", 3}}},
      {"warc-dolma-cc/warc/sample-0000.warc.gz",
       {{"warcinfo", 1}, {"response", 22}, {"request", 22}, {"metadata", 1}, {"resource", 2}}},
      {"warc-warcio/example-bad-non-chunked.warc.gz",
       {{"warcinfo", 2}, {"response", 1}, {"request", 2}, {"revisit", 1}}},
      {"warc-warcio/example-trunc.warc", {{"warcinfo", 2}, {"response", 1}, {"request", 1}}},
      {"warc-warcio/example.arc.gz", {{"!arc_file", 1}}},
      {"warc-whirlwind/whirlwind.warc.wet.gz", {{"warcinfo", 1}, {"conversion", 1}}},
      {"warc-jwat/warc/valid-warcfile-upper-lower-case.warc", {{"warcinfo", 1}, {"response", 4}}},
      {"warc-jwat/warc/valid-warcfile-fields-continuation.warc", {{"continuation", 1}}},
      {"warc-jwat/warc/invalid-warcfile-record-then-garbage.warc", {{"response", 1}, {"!garbage", 1}}},
      {"warc-jwat/warc/invalid-warcfile-lonely-request-response-resource-conversion.warc",
       {{"!bad_header", 4}}},
  };
  for (const Expected& expected : all) {
    std::map<std::string, int> count;
    WarcReader reader(test::test_data(expected.file));
    while (auto record = reader.next()) ++count[*record ? (*record)->type : "!" + record->reason().code];
    EXPECT_EQ(count, expected.count) << expected.file;
  }
}

}  // namespace
}  // namespace tumbler::crawl
