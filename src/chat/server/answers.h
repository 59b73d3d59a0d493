// Answers: what models write into chats, whether somebody looks or not. Each has a log of events that any
// number of pages can follow, from any point on: a page that was closed or lost its connection takes it up
// again.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "chat/server/model_registry.h"
#include "chat/server/sampling_request.h"
#include "chat/store/chat_store.h"

namespace tumbler::chat {

class AnswerLog {
 public:
  // Events (JSON) from number `from` on; waits until there are some, no longer than `until`. `ended`: these
  // are the last.
  std::vector<std::string> read(size_t from, Clock::time_point until, bool& ended);

 private:
  friend class Answers;
  void add(const Json& event, bool last);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> events_;
  bool ended_ = false;
  std::shared_ptr<Generation> generation_;
  std::thread thread_;
};

class Answers {
 public:
  Answers(ChatStore& store, ModelRegistry& models) : store_(store), models_(models) {}
  ~Answers();  // what is written by then is saved as "stopped"

  // {"parent", "model"?, "settings"?, "probabilities"?, "prefix_tokens"?}: the new message, in state
  // "writing". Throws ApiError.
  Message start(int64_t chat, const Json& body);
  // Null where the answer is not known any more: it ended a while ago.
  std::shared_ptr<AnswerLog> find(int64_t message) const;
  void stop(int64_t message);

 private:
  struct Work;
  void write(Work work);
  void forget_some();

  ChatStore& store_;
  ModelRegistry& models_;
  mutable std::mutex mutex_;
  std::map<int64_t, std::shared_ptr<AnswerLog>> logs_;  // by message
};

}  // namespace tumbler::chat
