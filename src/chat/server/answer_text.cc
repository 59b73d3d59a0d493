#include "chat/server/answer_text.h"

namespace tumbler::chat {

AnswerText::AnswerText(const tokens::Tokenizer& tokenizer, AnswerTextOptions options)
    : stream_(tokenizer, std::move(options.stop_tokens), std::move(options.stop), options.goes_on),
      thoughts_(options.thinking),
      split_thoughts_(options.thoughts) {
  if (options.tools != nullptr && !options.tools->empty()) calls_.emplace(*options.tools);
}

AnswerText::Part AnswerText::push(int32_t token) {
  return split(stream_.push(token), false);
}

AnswerText::Part AnswerText::finish() {
  return split(stream_.finish(), true);
}

AnswerText::Part AnswerText::split(const std::string& text, bool last) {
  Part part;
  if (!split_thoughts_) {
    part.content = text;
    return part;
  }
  const auto use = [&](std::string_view piece, bool thought) {
    (thought ? part.thought : part.content) += piece;
  };
  thoughts_.push(text, use);
  if (last) thoughts_.flush(use);
  if (calls_) {
    part.content = calls_->push(part.content);
    if (last) part.content += calls_->finish();
  }
  return part;
}

const std::vector<ToolCall>& AnswerText::calls() const {
  static const std::vector<ToolCall> none;
  return calls_ ? calls_->calls() : none;
}

}  // namespace tumbler::chat
