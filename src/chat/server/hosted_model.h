// HostedModel: a model in memory and the thread that runs it. Any thread may start generations; their tokens
// come as events, in batches where the reader is slower than the model.
//
//   HostedModel hosted("smollm2", open_for_inference(path), options);
//   const auto generation = hosted.start(requests);
//   for (const Event& event : generation->take(deadline)) …
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "chat/jinja/template.h"
#include "chat/open_model.h"
#include "engine/decoder.h"
#include "engine/scheduler.h"

namespace tumbler::chat {

using Clock = std::chrono::steady_clock;

struct Event {
  enum class Kind : uint8_t { read, prompt_token, embedding, token, done, failed };
  Kind kind;
  size_t choice = 0;
  int64_t read = 0;  // tokens of the prompt that the cache holds; the first time those that it held already
  engine::TokenChoice token = {};
  std::vector<float> embedding = {};
  engine::Finish finish = engine::Finish::stop;
  std::string message = {};  // of failed
};

// The choices of one request.
class Generation {
 public:
  explicit Generation(size_t choices) : cancelled_(choices), ended_(choices) {}
  // Waits until there are events, but no longer than `until`; empty then. `done` or `failed` comes last of
  // each choice.
  std::vector<Event> take(Clock::time_point until);
  // Ends a choice soon with Finish::caller; nothing where it has ended.
  void cancel(size_t choice) { cancelled_[choice] = true; }
  void cancel();
  size_t choices() const noexcept { return ended_.size(); }

 private:
  friend class HostedModel;
  void put(Event event);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;
  std::vector<std::atomic<bool>> cancelled_;
  std::vector<bool> ended_;  // for the engine's thread: nothing comes any more
};

struct HostOptions {
  int64_t sequences = 16;  // generations at a time
  int64_t context = 8192;  // tokens of each, as far as the model goes
  int64_t waiting = 256;   // generations that may wait for a place
  kernels::CacheType cache = kernels::CacheType::bf16;
  int prefill_threads = 0, decode_threads = 0;
};

// More wait than may.
class QueueFull : public Error {
 public:
  explicit QueueFull(int64_t waiting)
      : Error("serve", "{} requests wait already, which is the most that may; try again later", waiting) {}
};

class HostedModel {
 public:
  // One pass of one model at a time, where several share the machine: `turns` is locked for each.
  HostedModel(std::string id, InferenceModel open, const HostOptions& options,
              std::shared_ptr<std::mutex> turns);
  ~HostedModel();
  HostedModel(const HostedModel&) = delete;
  HostedModel& operator=(const HostedModel&) = delete;

  const std::string& id() const noexcept { return id_; }
  const InferenceModel& open() const noexcept { return open_; }
  // Null where the model has none.
  const jinja::Template* chat_template() const noexcept { return template_.get(); }
  const std::vector<int32_t>& stop_tokens() const noexcept { return stop_tokens_; }
  std::shared_ptr<const engine::TokenTrie> vocabulary();  // made when first asked for
  int64_t context() const noexcept { return decoder_.capacity(); }
  const HostOptions& options() const noexcept { return options_; }
  // For passes of one's own, beside the engine's.
  std::mutex& turns() const noexcept { return *turns_; }

  // One request a choice; their callbacks are set here (on_prompt_token and on_embedding where there is one).
  // Throws QueueFull, or Error as engine::Scheduler::submit does; then none of them runs.
  std::shared_ptr<Generation> start(std::vector<engine::Request> requests);

  // Ends what runs with Event::failed, and takes nothing more.
  void stop();

  struct Status {
    int64_t active = 0, waiting = 0, weight_bytes = 0, cache_bytes = 0;
    double idle_seconds = 0;
    engine::Scheduler::Counts counts;
  };
  Status status() const;

 private:
  struct Job {
    engine::Request request;
    std::shared_ptr<Generation> generation;
    size_t choice = 0;
    int64_t id = -1;  // the scheduler's, once it has it
  };
  void run();
  void take_jobs();
  void cancel_jobs();
  void fail_jobs(const std::string& message);
  void note_status();

  const std::string id_;
  const InferenceModel open_;
  const HostOptions options_;
  std::unique_ptr<const jinja::Template> template_;
  std::vector<int32_t> stop_tokens_;
  engine::Decoder decoder_;
  engine::Scheduler scheduler_;
  std::shared_ptr<std::mutex> turns_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job> incoming_;
  Status status_;
  Clock::time_point last_use_ = Clock::now();
  bool stops_ = false;
  std::mutex vocabulary_mutex_, stop_mutex_;
  std::shared_ptr<const engine::TokenTrie> vocabulary_;

  std::vector<Job> jobs_;  // of the engine's thread alone
  std::thread thread_;
};

}  // namespace tumbler::chat
