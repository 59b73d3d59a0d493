// MinHash signatures of documents (Broder 1997; Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, ch.
// 3), equal bit for bit to datatrove's: h_i(x) = ((a_i x + b_i) mod 2^64) mod (2^61 - 1) over hashes x of
// word n-grams, a_i and b_i from NumPy's legacy generator.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/recipe.h"
#include "text/words.h"

namespace tumbler::text {

constexpr uint64_t kMersenne61 = (uint64_t{1} << 61) - 1;

// Lower case, no punctuation, no accents, digits as 0, one space between words; overwrites `out`.
void normalise_for_dedup(std::string_view text, bool recipe_2024, std::string& out);

// One object a thread: it holds scratch memory.
class Minhash {
 public:
  explicit Minhash(const MinhashOptions& options, WordStyle style);

  // The (bands, hashes_per_band) minima of a text; empty where it has fewer words than an n-gram. Valid until
  // the next call.
  std::span<const uint64_t> signature(std::string_view text);
  // One 64-bit key a band: a hash of its minima. Two documents with an equal key in one band are duplicates
  // (a false pair has probability 2^-64 a pair and band).
  std::span<const uint64_t> band_keys(std::string_view text);

  std::span<const uint64_t> a() const { return a_; }
  std::span<const uint64_t> b() const { return b_; }

 private:
  void hash_shingles();
  MinhashOptions options_;
  WordStyle style_;
  std::vector<uint64_t> a_, b_, signature_, keys_, shingles_;
  std::string normalised_, joined_;
  std::vector<Word> words_;
  std::vector<uint32_t> ends_;  // of each word in joined_
};

namespace detail {
// First 8 bytes, little endian, of the SHA-1 (FIPS 180-4) of each of `count` pieces of `text`: bytes
// [begin[i], end[i]).
void sha1_64(const char* text, const uint32_t* begin, const uint32_t* end, size_t count, uint64_t* out);
// minima[i] = min(minima[i], h_i(x)) for every x.
void permute_minima(std::span<const uint64_t> xs, std::span<const uint64_t> a, std::span<const uint64_t> b,
                    std::span<uint64_t> minima);
}  // namespace detail

}  // namespace tumbler::text
