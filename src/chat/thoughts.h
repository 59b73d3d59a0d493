// Tells what a model thinks from what it says, in a stream of text: thoughts stand between <think> and
// </think>.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace tumbler::chat {

class Thoughts {
 public:
  // A part of the text, without tags, and whether it is thought. Never empty.
  using Use = std::function<void(std::string_view text, bool thought)>;
  // `thinking`: the prompt ended in <think>.
  explicit Thoughts(bool thinking) : thinking_(thinking) {}
  // The start of what may become a tag is held back.
  void push(std::string_view text, const Use& use);
  void flush(const Use& use);

 private:
  bool thinking_;
  std::string held_;
};

}  // namespace tumbler::chat
