// A reader of supervised fastText models (format version 12, dense or product-quantised, softmax or
// hierarchical softmax), for prediction only: read-only, without locks, and several times as fast as the
// library since a word's vector is made once a thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace tumbler::text {

class FasttextModel {
 public:
  // Throws Error where the file is damaged or is another kind of model.
  explicit FasttextModel(const std::filesystem::path& path);
  ~FasttextModel();
  // The most probable label and its probability; newlines are spaces or nothing. ("", 0) where no word of the
  // text is known.
  std::pair<std::string, double> predict(std::string_view text, bool newline_is_space) const;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

}  // namespace tumbler::text
