#include "text/minhash.h"

#include <algorithm>
#include <array>
#include <random>

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <xxhash.h>

#include "base/check.h"
#include "text/code_points.h"

namespace tumbler::text {
namespace {

// NumPy's legacy RandomState(seed).randint(low, high, dtype=uint64): 64-bit draws of two 32-bit ones, high
// word first, masked to the range's bits and drawn again where they exceed it.
std::vector<uint64_t> draw(std::mt19937& generator, uint64_t low, uint64_t high, int64_t count) {
  const uint64_t range = high - low - 1;
  uint64_t mask = range;
  for (int shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
  std::vector<uint64_t> out;
  while (static_cast<int64_t>(out.size()) < count) {
    const uint64_t upper = generator();
    const uint64_t value = (upper << 32 | generator()) & mask;
    if (value <= range) out.push_back(low + value);
  }
  return out;
}

bool is_decimal_separator(char32_t c) {
  return c == '.' || c == ',' || c == 0x60c || c == 0x66b || (c >= 0x2396 && c <= 0x2398);
}

// Lower case and canonical decomposition without marks, code point by code point.
void append_folded(char32_t c, std::string& out) {
  static const UNormalizer2* const nfd = [] {
    UErrorCode error = U_ZERO_ERROR;
    const UNormalizer2* made = unorm2_getNFDInstance(&error);
    CHECK(U_SUCCESS(error));
    return made;
  }();
  UChar buffer[32];
  UErrorCode error = U_ZERO_ERROR;
  const int32_t n = unorm2_getDecomposition(nfd, static_cast<UChar32>(c), buffer, 32, &error);
  if (n < 0 || U_FAILURE(error)) {
    if ((classes_of(c) & kNonspacing) == 0) append_utf8(out, c);
    return;
  }
  for (int32_t i = 0; i < n;) {
    UChar32 d = buffer[i++];
    if (d >= 0xd800 && d < 0xdc00 && i < n) d = 0x10000 + ((d - 0xd800) << 10) + (buffer[i++] - 0xdc00);
    if ((classes_of(static_cast<char32_t>(d)) & kNonspacing) == 0) append_utf8(out, static_cast<char32_t>(d));
  }
}

// What to do with one ASCII byte: itself in lower case, or one of these.
constexpr char kDelete = 1, kDigitMark = 2, kSpaceMark = 3;
constexpr std::array<char, 128> ascii_actions(bool recipe_2024) {
  std::array<char, 128> table{};
  for (unsigned char c = 0; c < 128; ++c) {
    const uint8_t classes = ascii_classes(c);
    table[c] = static_cast<char>((classes & kUpper) != 0 ? c + 32 : c);
    if ((classes & kPunctuation) != 0) table[c] = recipe_2024 ? kDelete : kSpaceMark;
    if ((classes & kDigit) != 0) table[c] = kDigitMark;
    if ((classes & kSpace) != 0) table[c] = kSpaceMark;
  }
  return table;
}
constexpr std::array<char, 128> kActions2024 = ascii_actions(true), kActionsHead = ascii_actions(false);

// Writes normalised characters: runs of spaces are one, and numbers one 0.
class Normaliser {
 public:
  Normaliser(std::string_view text, bool recipe_2024, std::string& out)
      : text_(text), recipe_2024_(recipe_2024), out_(out) {}

  void run() {
    const auto& actions = recipe_2024_ ? kActions2024 : kActionsHead;
    while (i_ < text_.size()) {
      const auto byte = static_cast<unsigned char>(text_[i_]);
      const char action = byte < 128 ? actions[byte] : wide();
      if (byte < 128) ++i_;
      if (action == kDelete) continue;
      if (action == kSpaceMark) {
        space();
      } else if (action == kDigitMark) {
        digit();
      } else if (action != 0) {
        out_ += action;
        number_ = false;
      }
    }
    if (out_.ends_with(' ')) out_.pop_back();
  }

 private:
  // 0: written already.
  char wide() {
    const char32_t c = next_code_point(text_, i_);
    const uint8_t classes = classes_of(c);
    if ((classes & kSpace) != 0) return kSpaceMark;
    if ((classes & kPunctuation) != 0) return recipe_2024_ ? kDelete : kSpaceMark;
    if ((classes & kDigit) != 0) return kDigitMark;
    const auto lower = static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
    const size_t before = out_.size();
    append_folded(lower, out_);
    if (out_.size() > before) number_ = false;
    return 0;
  }

  void space() {
    if (!out_.empty() && out_.back() != ' ') out_ += ' ';
    number_ = false;
  }

  // 2024: a run of digits, after deletions. 0.10: also the decimal part behind one separator.
  void digit() {
    if (!number_) out_ += '0';
    number_ = true;
    if (recipe_2024_) return;
    skip_digits();
    size_t next = i_;
    if (next < text_.size() && is_decimal_separator(next_code_point(text_, next)) && next < text_.size()) {
      size_t digit_end = next;
      if ((classes_of(next_code_point(text_, digit_end)) & kDigit) != 0) {
        i_ = digit_end;
        skip_digits();
      }
    }
    number_ = false;  // a further number, as in 1.2.3, is another 0
  }

  void skip_digits() {
    while (i_ < text_.size()) {
      size_t next = i_;
      if ((classes_of(next_code_point(text_, next)) & kDigit) == 0) return;
      i_ = next;
    }
  }

  std::string_view text_;
  bool recipe_2024_;
  std::string& out_;
  size_t i_ = 0;
  bool number_ = false;
};

}  // namespace

void normalise_for_dedup(std::string_view text, bool recipe_2024, std::string& out) {
  out.clear();
  Normaliser(text, recipe_2024, out).run();
}

Minhash::Minhash(const MinhashOptions& options, WordStyle style) : options_(options), style_(style) {
  std::mt19937 generator(static_cast<uint32_t>(options.seed));
  const int64_t n = options.bands * options.hashes_per_band;
  a_ = draw(generator, 1, kMersenne61, n);
  b_ = draw(generator, 0, kMersenne61, n);
}

// The n-grams of the words, joined by one space, are slices of one buffer.
void Minhash::hash_shingles() {
  joined_.clear();
  ends_.clear();
  for (const Word& word : words_) {
    if (!joined_.empty()) joined_ += ' ';
    joined_ += word.text;
    ends_.push_back(static_cast<uint32_t>(joined_.size()));
  }
  const auto n = static_cast<size_t>(options_.ngram);
  const size_t count = words_.size() - n + 1;
  shingles_.resize(count);
  std::vector<uint32_t>& ends = ends_;
  if (options_.hash == "sha1") {
    thread_local std::vector<uint32_t> begins;
    begins.resize(count);
    for (size_t i = 0; i < count; ++i) begins[i] = i == 0 ? 0 : ends[i - 1] + 1;
    detail::sha1_64(joined_.data(), begins.data(), ends.data() + n - 1, count, shingles_.data());
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const size_t begin = i == 0 ? 0 : ends[i - 1] + 1;
    shingles_[i] = XXH64(joined_.data() + begin, ends[i + n - 1] - begin, 0);
  }
}

std::span<const uint64_t> Minhash::signature(std::string_view text) {
  normalise_for_dedup(text, options_.normalisation == "2024", normalised_);
  split_words(normalised_, style_, words_);
  if (static_cast<int64_t>(words_.size()) < options_.ngram) return {};
  hash_shingles();
  signature_.assign(a_.size(), ~uint64_t{0} >> 1);
  detail::permute_minima(shingles_, a_, b_, signature_);
  return signature_;
}

std::span<const uint64_t> Minhash::band_keys(std::string_view text) {
  const std::span<const uint64_t> minima = signature(text);
  keys_.clear();
  if (minima.empty()) return {};
  const auto width = static_cast<size_t>(options_.hashes_per_band);
  for (size_t band = 0; band < static_cast<size_t>(options_.bands); ++band)
    keys_.push_back(XXH3_64bits_withSeed(minima.data() + band * width, width * sizeof(uint64_t), band));
  return keys_;
}

}  // namespace tumbler::text
