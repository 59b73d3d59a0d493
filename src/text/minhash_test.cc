#include "text/minhash.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <openssl/sha.h>

namespace tumbler::text {
namespace {

MinhashOptions sha1_options() {
  return {};
}

// NumPy: RandomState(1).randint(1, 2**61 - 1, 112, dtype=uint64), then randint(0, …).
TEST(Minhash, ConstantsOfNumpy) {
  Minhash minhash(sha1_options(), WordStyle::kNltk);
  ASSERT_EQ(minhash.a().size(), 112u);
  EXPECT_EQ(minhash.a()[0], 775169054918279404u);
  EXPECT_EQ(minhash.a()[1], 1758426461858698313u);
  EXPECT_EQ(minhash.a()[2], 2109959069025162u);
  EXPECT_EQ(minhash.a()[3], 965365488286768774u);
  EXPECT_EQ(minhash.b()[0], 1062448801025099917u);
  EXPECT_EQ(minhash.b()[3], 100775521383383736u);
  EXPECT_EQ(minhash.b()[111], 1097409548522419201u);
}

// Computed with NumPy and again in plain Python from the five shingles of this sentence.
TEST(Minhash, WorkedSignature) {
  Minhash minhash(sha1_options(), WordStyle::kNltk);
  const auto signature = minhash.signature("The quick, brown fox jumps over the lazy dog!");
  ASSERT_EQ(signature.size(), 112u);
  EXPECT_EQ(signature[0], 585594454516184072u);
  EXPECT_EQ(signature[1], 284080765670708113u);
  EXPECT_EQ(signature[7], 439255022718586444u);
  EXPECT_EQ(signature[14], 39036697325604139u);
  EXPECT_EQ(signature[110], 306993506350509109u);
  EXPECT_EQ(signature[111], 800584869340422436u);
}

TEST(Minhash, PermutationsMatchPlainArithmetic) {
  for (const size_t n : {1u, 15u, 16u, 17u, 112u, 113u}) {
    std::vector<uint64_t> a(n), b(n), xs, minima(n, ~uint64_t{0} >> 1), expected(n, ~uint64_t{0});
    for (size_t i = 0; i < n; ++i)
      a[i] = i * 0x9e3779b97f4a7c15ull % kMersenne61, b[i] = i * 0xbf58476d1ce4e5b9ull % kMersenne61;
    for (uint64_t i = 0; i < 100; ++i) xs.push_back(i * i * 0x94d049bb133111ebull);
    xs.insert(xs.end(), {0, ~uint64_t{0}, kMersenne61, kMersenne61 - 1});
    detail::permute_minima(xs, a, b, minima);
    for (size_t i = 0; i < n; ++i)
      for (const uint64_t x : xs) expected[i] = std::min(expected[i], (x * a[i] + b[i]) % kMersenne61);
    EXPECT_EQ(minima, expected);
  }
}

TEST(Minhash, Sha1OfEveryLength) {
  std::string text(300, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7);
  std::vector<uint32_t> begin, end;
  for (uint32_t size = 0; size <= 200; ++size) begin.push_back(size % 91), end.push_back(size % 91 + size);
  std::vector<uint64_t> got(begin.size());
  detail::sha1_64(text.data(), begin.data(), end.data(), begin.size(), got.data());
  for (size_t i = 0; i < begin.size(); ++i) {
    unsigned char digest[20];
    SHA1(reinterpret_cast<const unsigned char*>(text.data()) + begin[i], end[i] - begin[i], digest);
    uint64_t expected = 0;
    for (int k = 7; k >= 0; --k) expected = expected << 8 | digest[k];
    EXPECT_EQ(got[i], expected) << i;
  }
}

TEST(Minhash, Normalisation) {
  const auto normalised = [](std::string_view text, bool recipe_2024) {
    std::string out;
    normalise_for_dedup(text, recipe_2024, out);
    return out;
  };
  EXPECT_EQ(normalised("  Caf\xc3\xa9  Ol\xc3\x89! It's 1,234.50 x\n\n\t\xc2\xa0y ", true),
            "cafe ole its 0 x y");
  EXPECT_EQ(normalised("  Caf\xc3\xa9  Ol\xc3\x89! It's 1,234.50 x", false), "cafe ole it s 0 0 x");
  EXPECT_EQ(normalised("1.2.3 \xd9\xa3\xd9\xa4", false), "0 0 0");
  EXPECT_EQ(normalised("", true), "");
  EXPECT_EQ(normalised("...", false), "");
}

TEST(Minhash, ShortTextsHaveNoSignature) {
  Minhash minhash(sha1_options(), WordStyle::kNltk);
  EXPECT_TRUE(minhash.band_keys("one two three four").empty());
  EXPECT_EQ(minhash.band_keys("one two three four five").size(), 14u);
  EXPECT_TRUE(minhash.band_keys("").empty());
}

TEST(Minhash, NearCopiesShareABand) {
  Minhash minhash(sha1_options(), WordStyle::kNltk);
  std::string text;
  for (int i = 0; i < 300; ++i)
    text += "word" + std::string(1, static_cast<char>('a' + i % 26)) +
            std::string(1, static_cast<char>('a' + i / 26)) + " ";
  const auto keys = minhash.band_keys(text);
  const std::vector<uint64_t> first(keys.begin(), keys.end());
  const auto same_bands = [&](std::string_view other) {
    const auto got = minhash.band_keys(other);
    int64_t n = 0;
    for (size_t i = 0; i < got.size(); ++i) n += got[i] == first[i] ? 1 : 0;
    return n;
  };
  EXPECT_EQ(same_bands("  " + text + "!"), 14);
  EXPECT_GT(same_bands(text + "and a few words more"), 0);
  EXPECT_EQ(same_bands("an altogether different text with quite other words in it and nothing shared at all "
                       "with the first"),
            0);
}

}  // namespace
}  // namespace tumbler::text
