#include "formats/gguf.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "formats/gguf_testing.h"

namespace tumbler::formats {
namespace {

namespace fs = std::filesystem;
using kernels::WeightType;

constexpr uint32_t kF32 = 0, kQ4_0 = 2, kQ8_0 = 8, kQ4_K = 12;
constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

class Gguf : public testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / fmt::format("tumbler_gguf_{}.gguf", ::getpid());
  }
  void TearDown() override { fs::remove(path_); }
  GgufFile open(std::string_view bytes) {
    io::write_file(path_, bytes);
    return GgufFile(path_);
  }
  fs::path path_;
};

#define EXPECT_SAYS(bytes, part)                                                    \
  do {                                                                              \
    const std::string problem = problem_of(bytes);                                  \
    EXPECT_NE(problem.find(part), std::string::npos) << "got: '" << problem << "'"; \
  } while (false)

// A whole file: a key of every type, two tensors.
std::string good() {
  GgufBytes b;
  b.header(2, 16);
  b.key("a.u8", GgufType::u8).number<uint8_t>(200);
  b.key("a.i8", GgufType::i8).number<int8_t>(-100);
  b.key("a.u16", GgufType::u16).number<uint16_t>(60000);
  b.key("a.i16", GgufType::i16).number<int16_t>(-30000);
  b.key("a.u32", GgufType::u32).u32(4000000000u);
  b.key("a.i32", GgufType::i32).number<int32_t>(-2000000000);
  b.key("a.f32", GgufType::f32).number(0.5f);
  b.key("a.bool", GgufType::boolean).number<uint8_t>(1);
  b.key("a.text", GgufType::text).text("caf\xC3\xA9");
  b.key("a.u64", GgufType::u64).u64(kMax);
  b.key("a.i64", GgufType::i64).number<int64_t>(-5);
  b.key("a.f64", GgufType::f64).number(0.25);
  b.key("a.texts", GgufType::array).u32(8).u64(3).text("x").text("").text("yz");
  b.key("a.layers", GgufType::array).u32(5).u64(3).u32(7).u32(7).u32(7);
  b.key("a.mixed", GgufType::array).u32(5).u64(2).u32(7).u32(8);
  b.key("a.nested", GgufType::array)
      .u32(9)
      .u64(2)
      .u32(8)
      .u64(1)
      .text("deep")
      .u32(0)
      .u64(2)
      .number<uint16_t>(3);
  b.tensor("b", {32, 2}, kQ4_0, 64).tensor("a", {4, 3}, kF32, 0);
  b.pad();
  for (int i = 0; i < 12; ++i) b.number(static_cast<float>(i));
  b.pad().zeros(36);
  return b.str();
}

TEST_F(Gguf, ReadsEveryTypeOfValue) {
  const GgufFile f = open(good());
  EXPECT_EQ(f.contents().version(), 3u);
  EXPECT_EQ(f.contents().key_count(), 16);
  EXPECT_EQ(f.find_integer("a.u8"), 200);
  EXPECT_EQ(f.find_integer("a.i8"), -100);
  EXPECT_EQ(f.find_integer("a.u16"), 60000);
  EXPECT_EQ(f.find_integer("a.i16"), -30000);
  EXPECT_EQ(f.find_integer("a.u32"), 4000000000);
  EXPECT_EQ(f.find_integer("a.i32"), -2000000000);
  EXPECT_EQ(f.find_integer("a.i64"), -5);
  EXPECT_EQ(f.find_number("a.f32"), 0.5);
  EXPECT_EQ(f.find_number("a.f64"), 0.25);
  EXPECT_EQ(f.find_number("a.u8"), 200);
  EXPECT_EQ(f.find_flag("a.bool"), true);
  EXPECT_EQ(f.find_text("a.text"), "caf\xC3\xA9");
  EXPECT_EQ(f.find_integer("a.layers"), 7);
  EXPECT_EQ(f.find_integer("a.none"), std::nullopt);
  std::vector<std::string> texts;
  f.find_texts("a.texts")->for_each_text([&](std::string_view t) { texts.emplace_back(t); });
  EXPECT_EQ(texts, (std::vector<std::string>{"x", "", "yz"}));
  // Wrong types and values that do not fit are errors, never zeros.
  EXPECT_THROW(f.find_integer("a.u64"), Error);
  EXPECT_THROW(f.find_integer("a.f32"), Error);
  EXPECT_THROW(f.find_integer("a.bool"), Error);
  EXPECT_THROW(f.find_integer("a.mixed"), Error);
  EXPECT_THROW(f.find_integer("a.texts"), Error);
  EXPECT_THROW(f.find_integer("a.nested"), Error);
  EXPECT_THROW(f.find_number("a.text"), Error);
  EXPECT_THROW(f.find_number("a.bool"), Error);
  EXPECT_THROW(f.find_flag("a.u8"), Error);
  EXPECT_THROW(f.find_text("a.u8"), Error);
  EXPECT_THROW(f.find_texts("a.layers"), Error);
  EXPECT_THROW(f.find_texts("a.text"), Error);
  EXPECT_THROW(f.get_integer("a.none"), Error);
  EXPECT_THROW(f.get_text("a.none"), Error);
}

TEST_F(Gguf, ReadsTensors) {
  const GgufFile f = open(good());
  const GgufTensor a = f.get_tensor("a", std::vector<int64_t>{3, 4});
  EXPECT_EQ(a.type, WeightType::f32);
  float values[12];
  kernels::dequantize(values, a.bytes.data(), a.type, a.count());
  EXPECT_EQ(values[7], 7);
  const kernels::PackedMatrix b = f.contents().find_tensor("b")->matrix();
  EXPECT_EQ(b.rows, 2);
  EXPECT_EQ(b.cols, 32);
  EXPECT_EQ(b.bytes.size(), 36u);
  EXPECT_EQ(f.contents().tensor(0).name, "a");
  EXPECT_THROW(f.get_tensor("a", std::vector<int64_t>{4, 3}), Error);
  EXPECT_THROW(f.get_tensor("c", std::vector<int64_t>{4, 3}), Error);
  EXPECT_EQ(f.contents().find_tensor("c"), std::nullopt);
}

TEST_F(Gguf, ReadsVersion2AndRefusesOthers) {
  std::string bytes = good();
  bytes[4] = 2;
  EXPECT_EQ(problem_of(bytes), "");
  bytes[4] = 1;
  EXPECT_SAYS(bytes, "version: got 1, expected 2 or 3");
  bytes[4] = 0;
  bytes[7] = 3;
  EXPECT_SAYS(bytes, "big-endian");
  EXPECT_SAYS("", "magic");
  EXPECT_SAYS("GGML" + bytes.substr(4), "another kind of file");
}

// However it is cut short, and whichever byte is changed, it is an error or a file whose parts are within it.
TEST_F(Gguf, AnyDamageIsSeenOrHarmless) {
  const std::string bytes = good();
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_NE(problem_of(bytes.substr(0, n)), "") << n;
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {1, 0x80, 0xff}) {
      std::string changed = bytes;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      problem_of(changed);
    }
  }
}

// CVE-2024-21802, -21836, -23605 and their siblings: counts that the file has no room for, before allocation.
TEST_F(Gguf, CountsBeyondTheFile) {
  EXPECT_SAYS(GgufBytes().header(0, kMax).str(), "number of keys: got 18446744073709551615");
  EXPECT_SAYS(GgufBytes().header(kMax, 0).str(), "number of tensors: got 18446744073709551615");
  EXPECT_SAYS(GgufBytes().header(1ull << 61, 0).zeros(1000).str(), "number of tensors");
  EXPECT_SAYS(GgufBytes().header(0, 2).key("k", GgufType::u8).number<uint8_t>(1).zeros(11).str(),
              "number of keys");
  EXPECT_SAYS(GgufBytes().header(1ull << 40, 1).zeros(100).str(), "number of tensors");
}

// CVE-2024-23496: lengths of texts. CVE-2024-21825: lengths of arrays.
TEST_F(Gguf, LengthsBeyondTheFile) {
  EXPECT_SAYS(GgufBytes().header(0, 1).u64(kMax).zeros(100).str(), "got a length of 18446744073709551615");
  EXPECT_SAYS(GgufBytes().header(0, 1).key("k", GgufType::text).u64(kMax - 7).zeros(100).str(),
              "got a length");
  EXPECT_SAYS(GgufBytes().header(0, 1).key("k", GgufType::array).u32(4).u64(1ull << 62).zeros(100).str(),
              "got 4611686018427387904 elements of u32");
  EXPECT_SAYS(GgufBytes().header(0, 1).key("k", GgufType::array).u32(8).u64(kMax / 8 + 1).zeros(100).str(),
              "elements of text");
  EXPECT_SAYS(GgufBytes().header(0, 1).key("k", GgufType::array).u32(9).u64(1ull << 60).zeros(100).str(),
              "elements of array");
  EXPECT_SAYS(GgufBytes().header(0, 1).text(std::string(65536, 'k')).u32(0).zeros(1).str(), "at most 65535");
  EXPECT_SAYS(GgufBytes().header(1, 0).tensor(std::string(65, 't'), {1}, kF32, 0).pad().zeros(4).str(),
              "at most 64");
}

// #26690: types are checked before anything is read as them.
TEST_F(Gguf, UnknownTypes) {
  EXPECT_SAYS(GgufBytes().header(0, 1).text("k").u32(13).zeros(20).str(),
              "key 'k': got type 13, expected 0 to 12");
  EXPECT_SAYS(GgufBytes().header(0, 1).key("k", GgufType::array).u32(0x80000000).u64(1).zeros(20).str(),
              "got type");
  EXPECT_SAYS(GgufBytes().header(1, 0).tensor("t", {256}, 10, 0).pad().zeros(200).str(), "Q2_K (10)");
  EXPECT_SAYS(GgufBytes().header(1, 0).tensor("t", {256}, 4, 0).pad().zeros(200).str(), "number 4");
  EXPECT_SAYS(GgufBytes().header(1, 0).tensor("t", {256}, kMax & 0xffffffff, 0).pad().zeros(200).str(),
              "number 42");
}

TEST_F(Gguf, ArraysTooDeep) {
  GgufBytes b;
  b.header(0, 1).key("k", GgufType::array);
  for (int i = 0; i < 100000; ++i) b.u32(9).u64(1);
  EXPECT_SAYS(b.str(), "deep, expected at most 4");
}

TEST_F(Gguf, Duplicates) {
  GgufBytes keys;
  keys.header(0, 3);
  for (const char* name : {"x", "y", "x"}) keys.key(name, GgufType::u8).number<uint8_t>(1);
  EXPECT_SAYS(keys.str(), "key 'x': got it twice");
  EXPECT_SAYS(
      GgufBytes().header(2, 0).tensor("t", {1}, kF32, 0).tensor("t", {1}, kF32, 32).pad().zeros(64).str(),
      "tensor 't': got it twice");
}

// Sorting, not comparing all pairs: 200,000 names are no work.
TEST_F(Gguf, ManyNames) {
  GgufBytes b;
  b.header(0, 200000);
  for (int i = 0; i < 200000; ++i) b.key(fmt::format("k{}", i), GgufType::u8).number<uint8_t>(1);
  EXPECT_EQ(problem_of(b.str()), "");
}

// CVE-2026-33298, CVE-2026-27940, #27203 and #1517: products that wrap, to anything, and zero dimensions.
TEST_F(Gguf, DimensionsThatOverflow) {
  const auto with = [](const std::vector<uint64_t>& dims, uint32_t type = kF32) {
    return GgufBytes().header(1, 0).tensor("t", dims, type, 0).pad().zeros(64).str();
  };
  EXPECT_SAYS(with({1ull << 32, 1ull << 32}), "beyond 2^63");
  EXPECT_SAYS(with({1ull << 32, 1ull << 31}), "beyond 2^63");
  EXPECT_SAYS(with({1ull << 62, 4, 1, 1}), "beyond 2^63");
  EXPECT_SAYS(with({(1ull << 62) + 1, 4, 4, 4}), "beyond 2^63");
  EXPECT_SAYS(with({1ull << 61}), "beyond 2^63 bytes");
  EXPECT_SAYS(with({1ull << 60}), "expected them within the file");
  EXPECT_SAYS(with({kMax}), "a dimension of -1");
  EXPECT_SAYS(with({4, 0}), "a dimension of 0");
  EXPECT_SAYS(with({0, 1ull << 63}), "a dimension of 0");
  EXPECT_SAYS(with({1ull << 62, 0, 1ull << 62}), "a dimension of 0");
  EXPECT_SAYS(GgufBytes().header(1, 0).text("t").u32(5).zeros(100).str(), "got 5 dimensions");
  EXPECT_SAYS(with({48}, kQ8_0), "rows of 48 elements, expected a multiple of 32");
  EXPECT_SAYS(with({128}, kQ4_K), "a multiple of 256");
}

// CVE-2025-53630 (sum of sizes that wraps), CVE-2026-7482 (offset + size beyond the file).
TEST_F(Gguf, OffsetsBeyondTheFile) {
  const auto with = [](uint64_t offset, uint64_t other = 0) {
    return GgufBytes()
        .header(2, 0)
        .tensor("t", {8}, kF32, offset)
        .tensor("u", {8}, kF32, other)
        .pad()
        .zeros(64)
        .str();
  };
  EXPECT_EQ(problem_of(with(32)), "");
  EXPECT_EQ(problem_of(with(0, 32)), "");
  EXPECT_SAYS(with(64), "expected them within the file");
  EXPECT_SAYS(with(kMax - 31), "expected them within the file");
  EXPECT_SAYS(with(1ull << 63, 1ull << 63), "expected them within the file");
  EXPECT_SAYS(with(33), "a multiple of 32");
  EXPECT_SAYS(with(0), "overlaps");
  GgufBytes many;  // each size fits, their sum wraps
  many.header(5, 0);
  for (uint64_t i = 0; i < 5; ++i) many.tensor(fmt::format("t{}", i), {1ull << 60}, kF32, (i << 62));
  EXPECT_SAYS(many.pad().zeros(64).str(), "expected them within the file");
}

// #24997 and #26978: alignments without bound, whose padding wraps.
TEST_F(Gguf, Alignments) {
  const auto with = [](uint32_t alignment, uint64_t offset) {
    return GgufBytes()
        .header(2, 1)
        .key("general.alignment", GgufType::u32)
        .u32(alignment)
        .tensor("t", {1}, kF32, 0)
        .tensor("u", {1}, kF32, offset)
        .pad(64)
        .zeros(128)
        .str();
  };
  EXPECT_EQ(problem_of(with(64, 64)), "");
  EXPECT_SAYS(with(64, 32), "a multiple of 64");
  for (const uint32_t bad : {0u, 1u, 4u, 33u, 0x80000000u, 0xffffffffu})
    EXPECT_SAYS(with(bad, 64), "general.alignment: got ");
  EXPECT_SAYS(GgufBytes().header(0, 1).key("general.alignment", GgufType::text).text("32").str(),
              "general.alignment: got text");
}

TEST_F(Gguf, WhatIsWrittenIsRead) {
  GgufWriter w;
  w.set_text("general.architecture", "x");
  w.set_u32("x.u", 5);
  w.set_f32("x.f", 1e-6);
  w.set_flag("x.b", true);
  w.set_texts("x.t", std::vector<std::string>{"a", "", "b c"});
  w.set_i32s("x.i", std::vector<int32_t>{1, -2});
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const auto source = [&](const GgufWriter::Sink& sink) { sink(std::as_bytes(std::span(values))); };
  w.add("m", {3, 2}, WeightType::f32, source);
  w.add("v", {6}, WeightType::f32, source);
  EXPECT_EQ(w.tensor_bytes(), 48);
  w.write(path_);
  const GgufFile f(path_);
  EXPECT_EQ(f.get_text("general.architecture"), "x");
  EXPECT_EQ(f.find_integer("x.u"), 5);
  EXPECT_EQ(f.find_number("x.f"), static_cast<double>(1e-6f));
  EXPECT_EQ(f.find_flag("x.b"), true);
  EXPECT_EQ(f.find_texts("x.t")->count, 3u);
  EXPECT_EQ(f.contents().find("x.i")->integer(1), -2);
  EXPECT_EQ(f.get_tensor("m", std::vector<int64_t>{3, 2}).bytes.size(), 24u);
  EXPECT_EQ(f.get_tensor("v", std::vector<int64_t>{6}).bytes.size(), 24u);
  EXPECT_THROW(w.set_u32("x.large", int64_t{1} << 32), Error);
  EXPECT_THROW(w.set_u32("x.negative", -1), Error);
  EXPECT_DEATH(w.set_u32("x.u", 6), "set twice");
}

TEST_F(Gguf, ErrorsNameTheFileAndShowNoControlCharacters) {
  io::write_file(path_, GgufBytes().header(0, 1).text("k\x1b[31m").u32(99).zeros(8).str());
  try {
    const GgufFile f(path_);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(path_.string()), std::string::npos);
    EXPECT_EQ(std::string(e.what()).find('\x1b'), std::string::npos);
  }
  EXPECT_EQ(printable(std::string(100, 'x')).size(), 60 + std::string("…").size());
}

}  // namespace
}  // namespace tumbler::formats
