// Messages of a conversation, in the form chat templates read.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace tumbler::chat {

class Conversation {
 public:
  // Empty: no system message.
  void set_system(std::string text) { system_ = std::move(text); }
  const std::string& system() const noexcept { return system_; }

  void add_user(std::string text) { add("user", std::move(text)); }
  void add_assistant(std::string text) { add("assistant", std::move(text)); }
  // Takes the last answer away, so that its question can be answered again. False where there is none.
  bool drop_answer();
  // Takes the last question and its answer away. False where there is none.
  bool undo();
  void clear() { turns_ = nlohmann::ordered_json::array(); }

  int64_t turns() const noexcept;  // questions
  // [{"role", "content"}…], the system message first.
  nlohmann::ordered_json messages() const;

 private:
  void add(const char* role, std::string text);
  bool last_is(const char* role) const;
  std::string system_;
  nlohmann::ordered_json turns_ = nlohmann::ordered_json::array();
};

}  // namespace tumbler::chat
