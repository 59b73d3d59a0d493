#include "text/language.h"

#include <algorithm>

#include <cld2/public/compact_lang_det.h>
#include <cld2/public/encodings.h>

#include "base/error.h"
#include "text/fasttext_model.h"

namespace tumbler::text {
namespace {

constexpr size_t kMaxBytes = 1 << 20;  // of a text that are looked at

// The longest prefix of at most kMaxBytes that ends between characters.
std::string_view prefix(std::string_view text) {
  if (text.size() <= kMaxBytes) return text;
  size_t size = kMaxBytes;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

class Cld2 : public LanguageIdentifier {
 public:
  LanguageGuess identify(std::string_view text) const override {
    text = prefix(text);
    // CLD2 leaves these as they are where it gives up early (text that is not UTF-8).
    CLD2::Language top[3] = {CLD2::UNKNOWN_LANGUAGE, CLD2::UNKNOWN_LANGUAGE, CLD2::UNKNOWN_LANGUAGE};
    int percent[3] = {}, text_bytes = 0, valid_bytes = 0;
    double scores[3] = {};
    bool reliable = false;
    const CLD2::CLDHints hints{nullptr, nullptr, CLD2::UNKNOWN_ENCODING, CLD2::UNKNOWN_LANGUAGE};
    CLD2::ExtDetectLanguageSummaryCheckUTF8(text.data(), static_cast<int>(text.size()),
                                            /*is_plain_text=*/true, &hints, 0, top, percent, scores, nullptr,
                                            &text_bytes, &reliable, &valid_bytes);
    if (top[0] == CLD2::UNKNOWN_LANGUAGE || percent[0] <= 0) return {};
    return {CLD2::LanguageCode(top[0]), percent[0] / 100.0};
  }
  std::string name() const override { return "cld2"; }
};

class FastText : public LanguageIdentifier {
 public:
  explicit FastText(const LanguageOptions& options)
      : model_(options.model), space_(options.newline == "space"), path_(options.model) {}
  LanguageGuess identify(std::string_view text) const override {
    const auto [label, probability] = model_.predict(prefix(text), space_);
    return {label.starts_with("__label__") ? label.substr(9) : label, probability};
  }
  std::string name() const override { return "fasttext " + path_.substr(path_.rfind('/') + 1); }

 private:
  FasttextModel model_;
  bool space_;
  std::string path_;
};

}  // namespace

std::unique_ptr<LanguageIdentifier> make_language_identifier(const LanguageOptions& options) {
  if (options.model.empty()) return std::make_unique<Cld2>();
  return std::make_unique<FastText>(options);
}

std::optional<Reason> check_language(const LanguageGuess& guess, const LanguageOptions& options) {
  const bool wanted = options.languages.empty() ||
                      std::find(options.languages.begin(), options.languages.end(), guess.language) !=
                          options.languages.end();
  if (!wanted)
    return Reason{"other_language", fmt::format("{} ({:.3f}), wanted {}", guess.language, guess.score,
                                                fmt::join(options.languages, ", "))};
  if (guess.score > options.min_score) return std::nullopt;
  return Reason{"unsure_language",
                fmt::format("{} {:.4g} <= {:.4g}", guess.language, guess.score, options.min_score)};
}

}  // namespace tumbler::text
