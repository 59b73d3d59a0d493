#include "chat/server/openai.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <optional>
#include <utility>

#include "chat/server/answer_text.h"
#include "chat/server/api_error.h"
#include "chat/server/connection.h"
#include "chat/server/json_request.h"
#include "chat/server/openai_json.h"
#include "chat/server/sampling_request.h"
#include "chat/session.h"

namespace tumbler::chat {
namespace {

constexpr int64_t kMaxTop = 20;
constexpr auto kLook = std::chrono::milliseconds(100);  // between two looks at whether the client is there

// One request and what became of its choices so far.
class Job {
 public:
  struct Choice {
    AnswerText text;
    std::string content = {}, thought = {};
    Json log_probs = Json::array();  // chat: of each token
    LegacyLogProbs legacy = {};      // completions
    size_t told_calls = 0;
    bool read_begun = false;
    std::string finish = {};  // empty: it goes on
  };

  std::shared_ptr<HostedModel> model;
  std::shared_ptr<Generation> generation;
  std::string id;
  bool chat = true, streams = false, include_usage = false, log_probs = false;
  int64_t created = std::time(nullptr);
  int64_t top = 0, prompt_tokens = 0, cached_tokens = 0, tokens = 0;
  Json tools = Json::array();
  std::vector<Choice> choices;
  size_t choices_per_prompt = 1;
  Clock::time_point begin = Clock::now(), deadline;
  bool first_token_noted = false;

  bool ended() const {
    return std::none_of(choices.begin(), choices.end(), [](const Choice& c) { return c.finish.empty(); });
  }
  // Waits a little for events. Calls tell(choice index, new part, new log-probs' begin) for each choice that
  // has something new.
  template <class Tell>
  void go_on(Metrics& metrics, const Tell& tell);

 private:
  void take(const Event& event, AnswerText::Part& part);
  void end(size_t index, const std::string& finish, AnswerText::Part& part);
};

std::string finish_text(engine::Finish why) {
  switch (why) {
    case engine::Finish::stop:
      return "stop";
    case engine::Finish::length:
    case engine::Finish::context:
      return "length";
    case engine::Finish::caller:
      return "stop";
    case engine::Finish::error:
      return "error";
  }
  return "stop";
}

void add(AnswerText::Part& to, const AnswerText::Part& from) {
  to.content += from.content;
  to.thought += from.thought;
}

void Job::end(size_t index, const std::string& finish, AnswerText::Part& part) {
  Choice& choice = choices[index];
  if (!choice.finish.empty()) return;
  add(part, choice.text.finish());
  choice.finish = finish == "stop" && !choice.text.calls().empty() ? "tool_calls" : finish;
}

void Job::take(const Event& event, AnswerText::Part& part) {
  Choice& choice = choices[event.choice];
  const tokens::Tokenizer& tokenizer = model->open().tokenizer;
  switch (event.kind) {
    case Event::Kind::read:
      // The first says what the cache held. Of a prompt's choices the later ones find all of it.
      if (!std::exchange(choice.read_begun, true) && event.choice % choices_per_prompt == 0)
        cached_tokens += event.read;
      break;
    case Event::Kind::prompt_token:
      if (log_probs) choice.legacy.add(tokenizer, event.token);
      break;
    case Event::Kind::embedding:
      break;
    case Event::Kind::token: {
      if (!choice.finish.empty()) break;
      ++tokens;
      const auto& stops = model->stop_tokens();
      if (std::find(stops.begin(), stops.end(), event.token.id) != stops.end()) break;
      if (log_probs && chat) choice.log_probs.push_back(token_log_prob(tokenizer, event.token));
      if (log_probs && !chat) choice.legacy.add(tokenizer, event.token);
      add(part, choice.text.push(event.token.id));
      if (choice.text.stopped()) {
        generation->cancel(event.choice);
        end(event.choice, "stop", part);
      }
      break;
    }
    case Event::Kind::done:
      end(event.choice, finish_text(event.finish), part);
      break;
    case Event::Kind::failed:
      // Before anything was sent this becomes the request's answer.
      throw ApiError(500, event.message, {}, "generation_failed");
  }
}

template <class Tell>
void Job::go_on(Metrics& metrics, const Tell& tell) {
  const std::vector<Event> events = generation->take(std::min(deadline, Clock::now() + kLook));
  std::vector<AnswerText::Part> parts(choices.size());
  std::vector<size_t> log_probs_before;
  for (const Choice& choice : choices)
    log_probs_before.push_back(chat ? choice.log_probs.size() : choice.legacy.size());
  std::vector<bool> changed(choices.size(), false);
  const auto mark = [&](const Event& event) {
    changed[event.choice] = changed[event.choice] || event.kind != Event::Kind::read;
  };
  for (const Event& event : events) {
    const bool was_done = !choices[event.choice].finish.empty();
    take(event, parts[event.choice]);
    if (!was_done) mark(event);
  }
  if (tokens > 0 && !first_token_noted) {
    first_token_noted = true;
    metrics.note_first_token(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  if (events.empty() && Clock::now() >= deadline) {
    generation->cancel();
    for (size_t i = 0; i < choices.size(); ++i) {
      changed[i] = choices[i].finish.empty();
      end(i, "time", parts[i]);
    }
  }
  for (size_t i = 0; i < choices.size(); ++i) {
    if (!changed[i]) continue;
    choices[i].content += parts[i].content;
    choices[i].thought += parts[i].thought;
    tell(i, parts[i], log_probs_before[i]);
  }
}

// The whole answer.

Json usage_json(const Job& job) {
  return {{"prompt_tokens", job.prompt_tokens},
          {"completion_tokens", job.tokens},
          {"total_tokens", job.prompt_tokens + job.tokens},
          {"prompt_tokens_details", {{"cached_tokens", job.cached_tokens}}}};
}

Json head_json(const Job& job, const char* object) {
  return {{"id", job.id}, {"object", object}, {"created", job.created}, {"model", job.model->id()}};
}

Json calls_json(const std::vector<ToolCall>& calls, size_t from, bool index) {
  Json out = Json::array();
  for (size_t i = from; i < calls.size(); ++i) {
    Json call = {{"id", new_id("call")},
                 {"type", "function"},
                 {"function", {{"name", calls[i].name}, {"arguments", calls[i].arguments}}}};
    if (index) call["index"] = i;
    out.push_back(std::move(call));
  }
  return out;
}

Json choice_json(const Job& job, size_t i) {
  const Job::Choice& choice = job.choices[i];
  Json out = {{"index", i}};
  if (job.chat) {
    Json message = {{"role", "assistant"}, {"content", choice.content}};
    if (!choice.thought.empty()) message["reasoning_content"] = choice.thought;
    if (!choice.text.calls().empty()) {
      message["tool_calls"] = calls_json(choice.text.calls(), 0, false);
      if (choice.content.empty()) message["content"] = nullptr;
    }
    out["message"] = std::move(message);
    out["logprobs"] = job.log_probs ? Json{{"content", choice.log_probs}} : Json();
  } else {
    out["text"] = choice.content;
    out["logprobs"] = job.log_probs ? choice.legacy.json(0) : Json();
  }
  out["finish_reason"] = choice.finish;
  return out;
}

void answer_whole(Job& job, Metrics& metrics, const httplib::Request& request, httplib::Response& response) {
  const Connection connection(request);
  while (!job.ended()) {
    try {
      job.go_on(metrics, [](size_t, const AnswerText::Part&, size_t) {});
    } catch (...) {
      job.generation->cancel();
      throw;
    }
    if (connection.closed()) {
      job.generation->cancel();
      metrics.count_cancelled();
      throw ApiError(499, "the client went away");
    }
  }
  Json out = head_json(job, job.chat ? "chat.completion" : "text_completion");
  out["choices"] = Json::array();
  for (size_t i = 0; i < job.choices.size(); ++i) out["choices"].push_back(choice_json(job, i));
  out["usage"] = usage_json(job);
  response.set_content(dump(out), "application/json");
}

// The answer as a stream of server-sent events.

Json delta_json(Job& job, size_t i, const AnswerText::Part& part, size_t log_probs_before) {
  Job::Choice& choice = job.choices[i];
  Json out = {{"index", i}};
  if (job.chat) {
    Json delta = Json::object();
    if (!part.thought.empty()) delta["reasoning_content"] = part.thought;
    if (!part.content.empty()) delta["content"] = part.content;
    if (choice.text.calls().size() > choice.told_calls) {
      delta["tool_calls"] = calls_json(choice.text.calls(), choice.told_calls, true);
      choice.told_calls = choice.text.calls().size();
    }
    out["delta"] = std::move(delta);
    if (job.log_probs) {
      Json news = Json::array();
      for (size_t k = log_probs_before; k < choice.log_probs.size(); ++k) news.push_back(choice.log_probs[k]);
      out["logprobs"] = {{"content", std::move(news)}};
    }
  } else {
    out["text"] = part.content;
    out["logprobs"] = job.log_probs ? choice.legacy.json(log_probs_before) : Json();
  }
  out["finish_reason"] = choice.finish.empty() ? Json() : Json(choice.finish);
  return out;
}

class Stream {
 public:
  Stream(std::shared_ptr<Job> job, Metrics& metrics) : job_(std::move(job)), metrics_(metrics) {}

  // Writes what there is; false: the client went away.
  bool write(httplib::DataSink& sink) {
    if (!sink.is_writable()) return leave();
    std::string out;
    if (!std::exchange(begun_, true)) out += begin();
    try {
      job_->go_on(metrics_, [&](size_t i, const AnswerText::Part& part, size_t before) {
        const Job::Choice& choice = job_->choices[i];
        const bool calls = choice.text.calls().size() > choice.told_calls;
        if (!part.empty() || calls || job_->log_probs || !choice.finish.empty())
          out += chunk(Json::array({delta_json(*job_, i, part, before)}));
      });
    } catch (const ApiError& error) {
      job_->generation->cancel();
      out += "data: " + error.json() + "\n\n";
      sink.write(out.data(), out.size());
      sink.done();
      return true;
    }
    const bool ended = job_->ended();
    if (ended) out += end();
    if (!out.empty() && !sink.write(out.data(), out.size())) return leave();
    if (ended) sink.done();
    return true;
  }

 private:
  std::string chunk(Json choices) const {
    Json out = head_json(*job_, job_->chat ? "chat.completion.chunk" : "text_completion");
    out["choices"] = std::move(choices);
    if (job_->include_usage) out["usage"] = nullptr;
    return "data: " + dump(out) + "\n\n";
  }
  std::string begin() const {
    std::string out;
    if (!job_->chat) return out;
    for (size_t i = 0; i < job_->choices.size(); ++i)
      out += chunk(Json::array(
          {{{"index", i}, {"delta", {{"role", "assistant"}, {"content", ""}}}, {"finish_reason", nullptr}}}));
    return out;
  }
  std::string end() const {
    std::string out;
    if (job_->include_usage) {
      Json last = head_json(*job_, job_->chat ? "chat.completion.chunk" : "text_completion");
      last["choices"] = Json::array();
      last["usage"] = usage_json(*job_);
      out += "data: " + dump(last) + "\n\n";
    }
    return out + "data: [DONE]\n\n";
  }
  bool leave() {
    job_->generation->cancel();
    metrics_.count_cancelled();
    return false;
  }
  std::shared_ptr<Job> job_;
  Metrics& metrics_;
  bool begun_ = false;
};

void answer(const std::shared_ptr<Job>& job, Metrics& metrics, const httplib::Request& request,
            httplib::Response& response) {
  if (!job->streams) return answer_whole(*job, metrics, request, response);
  const auto stream = std::make_shared<Stream>(job, metrics);
  response.set_chunked_content_provider(
      "text/event-stream", [stream](size_t, httplib::DataSink& sink) { return stream->write(sink); },
      [job](bool) { job->generation->cancel(); });
}

// Requests.

std::shared_ptr<Job> read_job(const Json& body, ModelRegistry& models, const ApiOptions& options) {
  const Keys keys(body);
  auto job = std::make_shared<Job>();
  job->model = models.get(keys.text("model"));
  job->streams = keys.boolean("stream", false);
  if (const Json* stream_options = keys.object("stream_options"))
    job->include_usage = Keys(*stream_options).boolean("include_usage", false);
  job->deadline =
      job->begin + std::chrono::milliseconds(static_cast<int64_t>(1000 * options.request_seconds));
  return job;
}

// {"type": "function", "function": {"name": …}} each, as the templates and the parser of calls read them.
Json read_tools(const Keys& keys) {
  const Json* tools = keys.array("tools");
  if (tools == nullptr) return Json::array();
  for (const Json& tool : *tools) {
    const bool good = tool.is_object() && tool.contains("function") && tool["function"].is_object() &&
                      tool["function"].contains("name") && tool["function"]["name"].is_string();
    if (!good) throw wrong("tools", R"(expected {{"type": "function", "function": {{"name": …}}}} each)");
  }
  return *tools;
}

// What "tool_choice" forces, as a grammar; empty: nothing. "none" takes the tools away.
std::string read_tool_choice(const Keys& keys, Json& tools) {
  const Json* choice = keys.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return {};
  if (*choice == "none") {
    tools = Json::array();
    return {};
  }
  std::string name;
  if (choice->is_object() && choice->contains("function") && (*choice)["function"].is_object())
    name = Keys((*choice)["function"]).text("name");
  if (*choice != "required" && name.empty())
    throw wrong("tool_choice", "expected none, auto, required or a function's name");
  try {
    return tool_call_grammar(tools, name);
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "tool_choice");
  }
}

void handle_chat(ModelRegistry& models, Metrics& metrics, const ApiOptions& options,
                 const httplib::Request& request, httplib::Response& response) {
  const Json body = parse_body(request.body);
  const Keys keys(body);
  const auto job = read_job(body, models, options);
  job->id = new_id("chatcmpl");
  job->log_probs = keys.boolean("logprobs", false);
  job->top = keys.integer("top_logprobs", 0, 0, kMaxTop);
  if (job->top > 0 && !job->log_probs) throw wrong("top_logprobs", "needs \"logprobs\": true");
  job->tools = read_tools(keys);
  const std::string grammar = read_tool_choice(keys, job->tools);
  const SamplingRequest sampling = read_sampling(body, *job->model, grammar);
  job->choices_per_prompt = static_cast<size_t>(sampling.choices);
  const Prompt prompt = read_prompt(body, job->tools, *job->model);
  check_length(prompt.tokens.size(), *job->model, "messages");
  job->prompt_tokens = static_cast<int64_t>(prompt.tokens.size());
  std::vector<engine::Request> requests;
  for (int64_t i = 0; i < sampling.choices; ++i) {
    requests.push_back(make_request(sampling, *job->model, prompt.tokens, i));
    job->choices.push_back(
        {AnswerText(job->model->open().tokenizer, {.stop_tokens = job->model->stop_tokens(),
                                                   .stop = sampling.stop,
                                                   .thinking = prompt.thinking,
                                                   .tools = &job->tools})});
  }
  for (engine::Request& one : requests) one.top_log_probs = job->top;
  job->generation = start(*job->model, std::move(requests));
  answer(job, metrics, request, response);
}

void handle_completion(ModelRegistry& models, Metrics& metrics, const ApiOptions& options,
                       const httplib::Request& request, httplib::Response& response) {
  constexpr int64_t kDefaultTokens = 16;  // OpenAI's
  const Json body = parse_body(request.body);
  const Keys keys(body);
  const auto job = read_job(body, models, options);
  job->id = new_id("cmpl");
  job->chat = false;
  job->log_probs = keys.find("logprobs") != nullptr;
  job->top = keys.integer("logprobs", 0, 0, kMaxTop);
  const bool echo = keys.boolean("echo", false);
  SamplingRequest sampling = read_sampling(body, *job->model);
  job->choices_per_prompt = static_cast<size_t>(sampling.choices);
  if (!sampling.max_tokens) sampling.max_tokens = kDefaultTokens;
  const auto prompts = read_prompts(keys, "prompt", *job->model);
  if (static_cast<int64_t>(prompts.size()) * sampling.choices > 2048)
    throw wrong("prompt", "got {} prompts of {} choices, expected at most 2048 together", prompts.size(),
                sampling.choices);
  const tokens::Tokenizer& tokenizer = job->model->open().tokenizer;
  std::vector<engine::Request> requests;
  for (const std::vector<int32_t>& prompt : prompts) {
    check_length(prompt.size(), *job->model, "prompt");
    job->prompt_tokens += static_cast<int64_t>(prompt.size());
    for (int64_t i = 0; i < sampling.choices; ++i) {
      requests.push_back(make_request(sampling, *job->model, prompt, i));
      if (echo && job->log_probs) requests.back().on_prompt_token = [](const engine::TokenChoice&) {};
      job->choices.push_back({AnswerText(tokenizer, {.stop_tokens = job->model->stop_tokens(),
                                                     .stop = sampling.stop,
                                                     .thoughts = false,
                                                     .goes_on = true})});
      if (echo) {
        job->choices.back().content = tokenizer.decode(prompt);
        if (job->log_probs) job->choices.back().legacy.add_first(tokenizer, prompt[0]);
      }
    }
  }
  for (engine::Request& one : requests) one.top_log_probs = job->top;
  job->generation = start(*job->model, std::move(requests));
  answer(job, metrics, request, response);
}

Json model_json(const HostedModel& model) {
  return {{"id", model.id()},
          {"object", "model"},
          {"created", 0},
          {"owned_by", "local"},
          {"context_length", model.context()}};
}

}  // namespace

void add_openai_routes(httplib::Server& server, ModelRegistry& models, Metrics& metrics,
                       const ApiOptions& options) {
  server.Post("/v1/chat/completions", [&models, &metrics, options](const auto& request, auto& response) {
    handle_chat(models, metrics, options, request, response);
  });
  server.Post("/v1/completions", [&models, &metrics, options](const auto& request, auto& response) {
    handle_completion(models, metrics, options, request, response);
  });
  server.Get("/v1/models", [&models](const auto&, auto& response) {
    Json list = Json::array();
    for (const auto& model : models.loaded()) list.push_back(model_json(*model));
    response.set_content(dump({{"object", "list"}, {"data", std::move(list)}}), "application/json");
  });
  server.Get(R"(/v1/models/(.+))", [&models](const auto& request, auto& response) {
    response.set_content(dump(model_json(*models.get(request.matches[1]))), "application/json");
  });
}

}  // namespace tumbler::chat
