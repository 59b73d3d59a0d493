#include "chat/server/hosted_model.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "chat/session.h"

namespace tumbler::chat {
namespace {

constexpr int64_t kPassTokens = 256;  // of prompts: what answers that are being written wait for

engine::DecoderOptions decoder_options(const HostOptions& options, const nn::ModelConfig& config) {
  return {.sequences = options.sequences,
          .capacity = std::min(options.context, config.max_positions),
          .cache = options.cache,
          .prefill_threads = options.prefill_threads,
          .decode_threads = options.decode_threads};
}

}  // namespace

std::vector<Event> Generation::take(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, until, [this] { return !events_.empty(); });
  return std::exchange(events_, {});
}

void Generation::cancel() {
  for (std::atomic<bool>& choice : cancelled_) choice = true;
}

void Generation::put(Event event) {
  if (ended_[event.choice]) return;
  ended_[event.choice] = event.kind == Event::Kind::done || event.kind == Event::Kind::failed;
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  changed_.notify_one();
}

HostedModel::HostedModel(std::string id, InferenceModel open, const HostOptions& options,
                         std::shared_ptr<std::mutex> turns)
    : id_(std::move(id)),
      open_(std::move(open)),
      options_(options),
      template_(open_.chat_template.empty()
                    ? nullptr
                    : std::make_unique<jinja::Template>(jinja::Template::parse(open_.chat_template))),
      stop_tokens_(end_tokens(open_.tokenizer, open_.files.eos_token_ids)),
      decoder_(open_.model, decoder_options(options, open_.model.config())),
      scheduler_(decoder_, kPassTokens),
      turns_(std::move(turns)) {
  note_status();
  thread_ = std::thread([this] { run(); });
}

HostedModel::~HostedModel() {
  stop();
}

void HostedModel::stop() {
  {
    const std::lock_guard lock(mutex_);
    stops_ = true;
  }
  wake_.notify_one();
  const std::lock_guard lock(stop_mutex_);
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<const engine::TokenTrie> HostedModel::vocabulary() {
  const std::lock_guard lock(vocabulary_mutex_);
  if (!vocabulary_) vocabulary_ = get_vocabulary(open_.tokenizer);
  return vocabulary_;
}

std::shared_ptr<Generation> HostedModel::start(std::vector<engine::Request> requests) {
  auto generation = std::make_shared<Generation>(requests.size());
  Generation* const g = generation.get();
  std::vector<Job> jobs;
  for (size_t i = 0; i < requests.size(); ++i) {
    engine::Request& request = requests[i];
    scheduler_.check(request);
    request.on_read = [g, i](int64_t read) {
      g->put({.kind = Event::Kind::read, .choice = i, .read = read});
    };
    if (request.on_prompt_token)
      request.on_prompt_token = [g, i](const engine::TokenChoice& token) {
        g->put({.kind = Event::Kind::prompt_token, .choice = i, .token = token});
      };
    if (request.on_embedding)
      request.on_embedding = [g, i](std::span<const float> mean) {
        g->put({.kind = Event::Kind::embedding, .choice = i, .embedding = {mean.begin(), mean.end()}});
      };
    request.on_token = [g, i](const engine::TokenChoice& token) {
      g->put({.kind = Event::Kind::token, .choice = i, .token = token});
      return !g->cancelled_[i];
    };
    request.on_error = [g, i](const Error& error) {
      g->put({.kind = Event::Kind::failed, .choice = i, .message = error.what()});
    };
    request.on_finish = [g, i](engine::Finish why) {
      if (why != engine::Finish::error) g->put({.kind = Event::Kind::done, .choice = i, .finish = why});
    };
    jobs.push_back({std::move(request), generation, i});
  }
  {
    const std::lock_guard lock(mutex_);
    if (stops_) throw Error("serve", "{}: the model is being ejected", id_);
    const auto size = static_cast<int64_t>(jobs.size());
    const int64_t places = std::max<int64_t>(0, options_.sequences - status_.active);
    if (status_.waiting + size > options_.waiting + places) throw QueueFull(status_.waiting);
    status_.waiting += size;
    last_use_ = Clock::now();
    std::move(jobs.begin(), jobs.end(), std::back_inserter(incoming_));
  }
  wake_.notify_one();
  return generation;
}

HostedModel::Status HostedModel::status() const {
  const std::lock_guard lock(mutex_);
  Status status = status_;
  if (status.active + status.waiting == 0)
    status.idle_seconds = std::chrono::duration<double>(Clock::now() - last_use_).count();
  return status;
}

void HostedModel::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stops_ || !incoming_.empty() || !jobs_.empty(); });
      if (stops_) break;
    }
    take_jobs();
    cancel_jobs();
    try {
      const std::lock_guard turn(*turns_);
      scheduler_.step();
    } catch (const std::exception& error) {
      // Of the machine and not of a request (those end alone): no memory for the cache, mostly.
      log::error("{}: {}", id_, error.what());
      fail_jobs(error.what());
    }
    std::erase_if(jobs_, [](const Job& job) { return job.generation->ended_[job.choice]; });
    note_status();
  }
  take_jobs();
  fail_jobs("the model was ejected");
}

void HostedModel::take_jobs() {
  std::vector<Job> jobs;
  {
    const std::lock_guard lock(mutex_);
    jobs = std::exchange(incoming_, {});
  }
  for (Job& job : jobs) {
    if (job.generation->cancelled_[job.choice]) {
      job.generation->put(
          {.kind = Event::Kind::done, .choice = job.choice, .finish = engine::Finish::caller});
      continue;
    }
    job.id = scheduler_.submit(std::move(job.request));
    jobs_.push_back(std::move(job));
  }
}

void HostedModel::cancel_jobs() {
  for (const Job& job : jobs_)
    if (job.generation->cancelled_[job.choice] && !job.generation->ended_[job.choice])
      scheduler_.cancel(job.id);
}

void HostedModel::fail_jobs(const std::string& message) {
  for (Job& job : jobs_) {
    if (job.generation->ended_[job.choice]) continue;
    job.generation->put({.kind = Event::Kind::failed, .choice = job.choice, .message = message});
    scheduler_.cancel(job.id);
  }
  jobs_.clear();
}

void HostedModel::note_status() {
  const std::lock_guard lock(mutex_);
  if (status_.active > 0) last_use_ = Clock::now();
  status_.active = std::min<int64_t>(static_cast<int64_t>(jobs_.size()), options_.sequences);
  status_.waiting = static_cast<int64_t>(incoming_.size() + jobs_.size()) - status_.active;
  status_.weight_bytes = open_.model.weight_bytes();
  status_.cache_bytes = decoder_.cache_bytes();
  status_.counts = scheduler_.counts();
}

}  // namespace tumbler::chat
