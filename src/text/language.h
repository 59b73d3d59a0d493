// Language identification of a text: a fastText model (Joulin et al. 2016, arXiv:1607.01759) where a path is
// given, CLD2 otherwise.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/recipe.h"

namespace tumbler::text {

struct LanguageGuess {
  std::string language = "un";  // ISO 639-1 where there is one; "un" unknown
  double score = 0;             // 0 to 1: fastText's probability; CLD2's share of the text in that language
};

class LanguageIdentifier {
 public:
  virtual ~LanguageIdentifier() = default;
  // Safe from many threads; depends on the text alone.
  virtual LanguageGuess identify(std::string_view text) const = 0;
  virtual std::string name() const = 0;  // for the run's summary
};

// Throws Error where options.model cannot be read or is no supervised fastText model.
std::unique_ptr<LanguageIdentifier> make_language_identifier(const LanguageOptions& options);

// "" where the guess is a language to keep with a score above the threshold.
std::optional<Reason> check_language(const LanguageGuess& guess, const LanguageOptions& options);

}  // namespace tumbler::text
