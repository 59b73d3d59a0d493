// ChatStore: conversations in an SQLite database, each a tree of messages: an edit of a message, or another
// answer to it, is a sibling. `head` names the message whose branch is shown. What a call has returned from
// is on the disk, whatever happens to the process or the machine then. Any number of threads may use it: one
// writes at a time, and nobody who reads waits for that.
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
  int64_t head = 0;                    // 0: none
  int64_t created = 0, updated = 0;    // no two chats have the same `updated`
  std::vector<Message> messages = {};  // parents first; get() only
  // Of list() with a query: the message that it was found in (0: the title), and its text about there.
  int64_t found = 0;
  std::string snippet = {};
};

// There is no such chat or message.
class NotFound : public Error {
 public:
  using Error::Error;
};

// What cannot be stored: too large, of a role or a state that does not exist, a tree that is none.
class Unfit : public Error {
 public:
  using Error::Error;
};

class ChatStore {
 public:
  static constexpr size_t kMaxText = size_t{16} << 20;  // bytes of a message
  static constexpr size_t kMaxMessages = 1'000'000;     // of a chat

  // In `directory`, which is made. Answers that a killed process left in state "writing" become "stopped".
  // Throws Error where another process has the store, it is damaged, or of a newer version.
  explicit ChatStore(const std::filesystem::path& directory);
  ~ChatStore();

  // Newest first, `updated` before `before` (0: all), at most 1000. With a query: those that have all of its
  // words in their title or in one message (search_text.h), of which the first MB can be found once it is
  // whole.
  std::vector<StoredChat> list(const std::string& query, int64_t limit, int64_t before) const;
  StoredChat create(const StoredChat& fields);
  StoredChat get(int64_t id) const;
  StoredChat get_fields(int64_t id) const;  // without messages
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
  // What an answer is by now. False: it is not in state "writing", or was removed. While it goes on, the disk
  // is not waited for: a killed process loses nothing, a power cut the last moments.
  bool save_answer(const Message& answer);
  // The messages from the first to `id`.
  std::vector<Message> branch(int64_t chat, int64_t id) const;

  // A whole chat, with ids of its own, which become new ones; times are kept. Throws Unfit, and changes
  // nothing, where a parent does not come before its message.
  StoredChat import_chat(StoredChat chat);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace tumbler::chat
