#include "chat/server/answers.h"

#include <utility>

#include "base/log.h"
#include "chat/server/answer_text.h"
#include "chat/server/api_error.h"
#include "chat/server/json_request.h"
#include "chat/server/openai_json.h"

namespace tumbler::chat {
namespace {

constexpr int64_t kMaxTop = 20;
constexpr size_t kLogs = 256;                                // of answers that have ended
constexpr auto kSaveEvery = std::chrono::milliseconds(300);  // what a killed server can lose of an answer

double seconds(Clock::duration d) {
  return std::chrono::duration<double>(d).count();
}

const char* finish_name(engine::Finish why) {
  switch (why) {
    case engine::Finish::stop:
      return "stop";
    case engine::Finish::length:
      return "length";
    case engine::Finish::context:
      return "context";
    case engine::Finish::caller:
      return "stopped";
    case engine::Finish::error:
      return "error";
  }
  return "stop";
}

// JSON has no minus infinity: null, for a token that was cut.
Json number_or_null(float x) {
  return x > -1e30f ? Json(x) : Json();
}

Json token_json(const tokens::Tokenizer& tokenizer, const engine::TokenChoice& token) {
  Json out = {{"type", "token"},
              {"id", token.id},
              {"text", ""},
              {"thought", false},
              {"log_prob", token.log_prob},
              {"sampled_log_prob", number_or_null(token.sampled_log_prob)}};
  if (token.top.empty()) return out;
  out["top"] = Json::array();
  for (const engine::Candidate& c : token.top)
    out["top"].push_back({{"id", c.id},
                          {"text", token_text(tokenizer, c.id)},
                          {"log_prob", c.log_prob},
                          {"sampled_log_prob", number_or_null(c.sampled_log_prob)}});
  return out;
}

}  // namespace

std::vector<std::string> AnswerLog::read(size_t from, Clock::time_point until, bool& ended) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, until, [&] { return ended_ || events_.size() > from; });
  ended = ended_;
  if (from >= events_.size()) return {};
  return {events_.begin() + static_cast<std::ptrdiff_t>(from), events_.end()};
}

void AnswerLog::add(const Json& event, bool last) {
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(dump(event));
    ended_ = last;
  }
  changed_.notify_all();
}

// All that writing an answer needs.
struct Answers::Work {
  Message message;
  std::shared_ptr<HostedModel> model;
  std::shared_ptr<Generation> generation;
  std::shared_ptr<AnswerLog> log;
  AnswerText text;
  std::vector<int32_t> prefix;
  int64_t prompt_tokens = 0;
  Clock::time_point begin = Clock::now(), saved = begin, first = begin;
  int64_t cached = 0, tokens = 0;
  bool read_begun = false;

  void add(const AnswerText::Part& part, Json event);
  void take(const Event& event);
};

void Answers::Work::add(const AnswerText::Part& part, Json event) {
  message.content += part.content;
  message.thought += part.thought;
  event["thought"] = part.content.empty() && !part.thought.empty();
  event["text"] = part.content.empty() ? part.thought : part.content;
  if (!part.content.empty() && !part.thought.empty()) {
    Json before = event;
    before["text"] = part.thought;
    before["thought"] = true;
    log->add(before, false);
  }
  log->add(event, false);
}

void Answers::Work::take(const Event& event) {
  const tokens::Tokenizer& tokenizer = model->open().tokenizer;
  switch (event.kind) {
    case Event::Kind::read:
      if (!std::exchange(read_begun, true)) {
        cached = event.read;
        log->add({{"type", "prompt"}, {"tokens", prompt_tokens}, {"cached", cached}}, false);
        for (const int32_t id : prefix)
          add(text.push(id),
              {{"type", "token"}, {"id", id}, {"text", ""}, {"thought", false}, {"given", true}});
      } else {
        log->add({{"type", "reading"}, {"done", event.read}, {"total", prompt_tokens}}, false);
      }
      break;
    case Event::Kind::token:
      if (text.stopped()) break;
      if (tokens++ == 0) first = Clock::now();
      add(text.push(event.token.id), token_json(tokenizer, event.token));
      if (text.stopped()) generation->cancel();
      break;
    case Event::Kind::done: {
      const bool by_text = text.stopped();
      if (const AnswerText::Part rest = text.finish(); !rest.empty())
        add(rest, {{"type", "token"}, {"id", nullptr}, {"text", ""}, {"thought", false}});
      message.finish = by_text ? "stop" : finish_name(event.finish);
      message.state = message.finish == "stopped" ? "stopped" : "done";
      break;
    }
    case Event::Kind::failed:
      message.finish = event.message;
      message.state = "failed";
      break;
    default:
      break;
  }
}

Answers::~Answers() {
  for (const auto& [id, log] : logs_) {
    log->generation_->cancel();
    if (log->thread_.joinable()) log->thread_.join();
  }
}

Message Answers::start(int64_t chat_id, const Json& body) {
  const Keys keys(body);
  const int64_t parent = keys.integer("parent", 0, 1, INT64_MAX - 1);
  const StoredChat chat = store_.get_fields(chat_id);
  const auto model = models_.get(keys.text("model"));
  const Json* given = keys.object("settings");
  const Json settings = given != nullptr ? *given : chat.settings;
  const SamplingRequest sampling = read_sampling(settings, *model);
  Json request = {{"messages", Json::array()}};
  if (!chat.system.empty()) request["messages"].push_back({{"role", "system"}, {"content", chat.system}});
  for (const Message& m : store_.branch(chat_id, parent))
    request["messages"].push_back({{"role", m.role}, {"content", m.content}});
  if (const Json* thinking = Keys(settings).find("enable_thinking"))
    request["chat_template_kwargs"] = {{"enable_thinking", *thinking}};
  Prompt prompt = read_prompt(request, Json::array(), *model);
  const std::vector<int32_t> prefix = keys.ids("prefix_tokens");
  prompt.tokens.insert(prompt.tokens.end(), prefix.begin(), prefix.end());
  check_length(prompt.tokens.size(), *model, "parent");
  const auto prompt_tokens = static_cast<int64_t>(prompt.tokens.size());
  std::vector<engine::Request> requests;
  requests.push_back(make_request(sampling, *model, std::move(prompt.tokens), 0));
  requests[0].top_log_probs = keys.integer("probabilities", 0, 0, kMaxTop);
  const auto generation = chat::start(*model, std::move(requests));

  Message message;
  message.parent = parent;
  message.role = "assistant";
  message.model = model->id();
  message.state = "writing";
  try {
    message = store_.add_message(chat_id, message);
  } catch (...) {
    generation->cancel();
    throw;
  }
  const auto log = std::make_shared<AnswerLog>();
  log->generation_ = generation;
  Work work{.message = message,
            .model = model,
            .generation = generation,
            .log = log,
            .text = AnswerText(
                model->open().tokenizer,
                {.stop_tokens = model->stop_tokens(), .stop = sampling.stop, .thinking = prompt.thinking}),
            .prefix = prefix,
            .prompt_tokens = prompt_tokens};
  const std::lock_guard lock(mutex_);
  forget_some();
  logs_.emplace(message.id, log);
  log->thread_ = std::thread([this, work = std::move(work)]() mutable { write(std::move(work)); });
  return message;
}

void Answers::write(Work work) {
  try {
    while (work.message.state == "writing") {
      for (const Event& event : work.generation->take(Clock::now() + kSaveEvery)) work.take(event);
      if (Clock::now() < work.saved + kSaveEvery || work.message.state != "writing") continue;
      store_.save_answer(work.message);
      work.saved = Clock::now();
    }
  } catch (const std::exception& error) {
    log::error("an answer: {}", error.what());
    work.generation->cancel();
    work.message.state = "failed";
    work.message.finish = error.what();
  }
  Message& m = work.message;
  m.stats = {{"prompt_tokens", work.prompt_tokens},
             {"cached_tokens", work.cached},
             {"tokens", work.tokens},
             {"read_seconds", seconds(work.first - work.begin)},
             {"write_seconds", work.tokens > 0 ? seconds(Clock::now() - work.first) : 0}};
  try {
    store_.save_answer(m);  // before anybody is told that it is done
  } catch (const std::exception& error) {
    m.state = "failed";
    m.finish = error.what();
  }
  const bool failed = m.state == "failed";
  work.log->add(failed ? Json{{"type", "failed"}, {"message", m.finish}}
                       : Json{{"type", "done"}, {"finish", m.finish}, {"stats", m.stats}},
                true);
}

// With the lock held.
void Answers::forget_some() {
  for (auto it = logs_.begin(); it != logs_.end() && logs_.size() > kLogs;) {
    bool ended = false;
    it->second->read(SIZE_MAX, Clock::now(), ended);
    if (!ended) {
      ++it;
      continue;
    }
    it->second->thread_.join();
    it = logs_.erase(it);
  }
}

std::shared_ptr<AnswerLog> Answers::find(int64_t message) const {
  const std::lock_guard lock(mutex_);
  const auto found = logs_.find(message);
  return found == logs_.end() ? nullptr : found->second;
}

void Answers::stop(int64_t message) {
  if (const auto log = find(message)) log->generation_->cancel();
}

}  // namespace tumbler::chat
