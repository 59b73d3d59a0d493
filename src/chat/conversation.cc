#include "chat/conversation.h"

#include <algorithm>

namespace tumbler::chat {

void Conversation::add(const char* role, std::string text) {
  turns_.push_back({{"role", role}, {"content", std::move(text)}});
}

bool Conversation::last_is(const char* role) const {
  return !turns_.empty() && turns_.back()["role"] == role;
}

bool Conversation::drop_answer() {
  if (!last_is("assistant")) return false;
  turns_.erase(turns_.size() - 1);
  return true;
}

bool Conversation::undo() {
  drop_answer();
  if (!last_is("user")) return false;
  turns_.erase(turns_.size() - 1);
  return true;
}

int64_t Conversation::turns() const noexcept {
  return std::count_if(turns_.begin(), turns_.end(), [](const auto& turn) { return turn["role"] == "user"; });
}

nlohmann::ordered_json Conversation::messages() const {
  nlohmann::ordered_json all = turns_;
  if (!system_.empty())
    all.insert(all.begin(), nlohmann::ordered_json::object({{"role", "system"}, {"content", system_}}));
  return all;
}

}  // namespace tumbler::chat
