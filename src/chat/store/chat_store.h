// ChatStore: conversations in an SQLite database, each a tree of messages: an edit of a message, or another
// answer to it, is a sibling. `head` names the message whose branch is shown. What a call has returned from
// is on the disk, whatever happens to the process or the machine then.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tumbler::chat {

struct Message {
  int64_t id = 0, parent = 0;  // parent 0: a first message
  std::string role, content, thought = {}, model = {};
  std::string state = "done";  // or "writing", "stopped", "failed"
  std::string finish = {};
  nlohmann::ordered_json stats = nullptr;
  int64_t created = 0;  // milliseconds since 1970
};

struct StoredChat {
  int64_t id = 0;
  std::string title = {}, system = {}, model = {};
  nlohmann::ordered_json settings = nlohmann::ordered_json::object();
  int64_t head = 0, created = 0, updated = 0;
  std::vector<Message> messages = {};  // parents first; get() only
  std::string snippet = {};            // of list() with a query: where it was found, [between] brackets
};

// There is no such chat or message.
class NotFound : public Error {
 public:
  using Error::Error;
};

class ChatStore {
 public:
  static constexpr size_t kMaxText = size_t{16} << 20;  // bytes of a message
  static constexpr size_t kMaxMessages = 1'000'000;     // of a chat

  // In `directory`, which is made. Answers that a killed process left in state "writing" become "stopped".
  // Throws Error where another process has the store, or it is damaged.
  explicit ChatStore(const std::filesystem::path& directory);
  ~ChatStore();

  // Newest first, changed before `before` (0: all). With a query: those that have it in their title or a
  // message, as it stands, whatever its case; three characters or more are looked up in an index.
  std::vector<StoredChat> list(const std::string& query, int64_t limit, int64_t before) const;
  StoredChat create(const StoredChat& fields);
  StoredChat get(int64_t id) const;
  // Only what is given changes.
  struct Change {
    std::optional<std::string> title = {}, system = {}, model = {};
    std::optional<nlohmann::ordered_json> settings = {};
    std::optional<int64_t> head = {};
  };
  void change(int64_t id, const Change& change);
  void remove(int64_t id);

  // Becomes head. `parent` 0: a first message.
  Message add_message(int64_t chat, Message message);
  Message get_message(int64_t chat, int64_t id) const;
  // A message and all that follows it; head goes to its parent where it was among them.
  void remove_message(int64_t chat, int64_t id);
  // What an answer is by now; it must be in state "writing".
  void save_answer(const Message& answer);
  // The messages from the first to `id`.
  std::vector<Message> branch(int64_t chat, int64_t id) const;

  // A whole chat, with ids of its own, which become new ones. Throws Error, and changes nothing, where a
  // parent does not come before its message.
  StoredChat import_chat(StoredChat chat);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace tumbler::chat
