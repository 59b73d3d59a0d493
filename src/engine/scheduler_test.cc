// Requests come out as if each were alone, whatever is shared, batched, chunked or guessed.
#include "engine/scheduler.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/generate.h"
#include "nn/config.h"
#include "nn/parameters.h"

namespace tumbler::engine {
namespace {

const Model& tiny_model() {
  static const Model model = [] {
    nn::ModelConfig c = nn::qwen3_from_depth(2, 61, 700);
    nn::Parameters parameters(c, {.gradients = false});
    parameters.initialize(3);
    for (float& w : parameters.master()) w *= 3;
    parameters.refresh_copy();
    return Model(parameters);
  }();
  return model;
}

std::vector<int32_t> random_prompt(int64_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<int32_t>(rng.below(61)));
  return tokens;
}

struct Result {
  std::vector<int32_t> tokens;
  std::vector<float> log_probs;
  Finish finish = Finish::length;
};

Request make_request(std::vector<int32_t> prompt, uint64_t stream, Result* result) {
  Request request{.prompt = std::move(prompt), .seed = 5, .stream = stream, .max_tokens = 20};
  request.sampling.temperature = stream % 2 == 0 ? 0 : 0.8;
  request.on_token = [result](const TokenChoice& choice) {
    result->tokens.push_back(choice.id);
    result->log_probs.push_back(choice.log_prob);
    return true;
  };
  request.on_finish = [result](Finish why) { result->finish = why; };
  return request;
}

Result run_alone(const std::vector<int32_t>& prompt, uint64_t stream) {
  Decoder decoder(tiny_model(), {.sequences = 1, .capacity = 700});
  Scheduler scheduler(decoder);
  Result result;
  scheduler.submit(make_request(prompt, stream, &result));
  while (scheduler.step()) {
  }
  return result;
}

TEST(Scheduler, ManyRequestsComeOutAsIfAlone) {
  const int64_t lengths[] = {1, 70, 600, 3, 130, 64, 65, 500, 9, 33};
  Decoder decoder(tiny_model(), {.sequences = 3, .capacity = 700});
  Scheduler scheduler(decoder);
  std::vector<Result> results(std::size(lengths));
  std::vector<std::vector<int32_t>> prompts;
  for (size_t i = 0; i < results.size(); ++i) {
    prompts.push_back(random_prompt(lengths[i], i));
    if (i == 7) std::copy_n(prompts[2].begin(), 400, prompts[7].begin());  // shared
    scheduler.submit(make_request(prompts[i], i, &results[i]));
    if (i % 3 == 0) scheduler.step();  // some join while others run
  }
  while (scheduler.step()) {
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const Result alone = run_alone(prompts[i], i);
    EXPECT_EQ(results[i].tokens, alone.tokens) << i;
    EXPECT_EQ(results[i].log_probs, alone.log_probs) << i;
    EXPECT_EQ(results[i].finish, alone.finish) << i;
  }
}

TEST(Scheduler, WhatIsHeldIsNotReadAgain) {
  Decoder decoder(tiny_model(), {.sequences = 2, .capacity = 700});
  Scheduler scheduler(decoder);
  Result first, second, other;
  std::vector<int32_t> prompt = random_prompt(300, 1);
  scheduler.submit(make_request(prompt, 0, &first));
  while (scheduler.step()) {
  }
  EXPECT_EQ(scheduler.counts().prompt_tokens, 300);
  // The next turn: all of the first, its answer, a question.
  prompt.insert(prompt.end(), first.tokens.begin(), first.tokens.end());
  const std::vector<int32_t> question = random_prompt(10, 2);
  prompt.insert(prompt.end(), question.begin(), question.end());
  scheduler.submit(make_request(prompt, 2, &second));
  // One that shares the beginning while the slot is in use.
  std::vector<int32_t> aside(prompt.begin(), prompt.begin() + 200);
  aside.push_back(7);
  scheduler.submit(make_request(aside, 4, &other));
  while (scheduler.step()) {
  }
  EXPECT_EQ(scheduler.counts().reused_tokens, 319 + 200);  // the last token of the answer was never read
  EXPECT_EQ(second.tokens, run_alone(prompt, 2).tokens);
  EXPECT_EQ(other.tokens, run_alone(aside, 4).tokens);
}

TEST(Scheduler, EqualPromptsAreReadOnce) {
  Decoder decoder(tiny_model(), {.sequences = 4, .capacity = 700});
  Scheduler scheduler(decoder);
  const std::vector<int32_t> prompt = random_prompt(200, 1);
  std::vector<Result> results(4);
  for (size_t i = 0; i < 4; ++i) scheduler.submit(make_request(prompt, i, &results[i]));
  while (scheduler.step()) {
  }
  EXPECT_EQ(scheduler.counts().prompt_tokens, 200 + 3);  // the last token again: logits come from it
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(results[i].tokens, run_alone(prompt, i).tokens) << i;
}

TEST(Scheduler, GuessesChangeSpeedAndNothingElse) {
  // A text that repeats itself, so that some guesses are right.
  std::vector<int32_t> prompt;
  for (int i = 0; i < 30; ++i)
    for (const int32_t token : {5, 9, 13, 2, 2, 40}) prompt.push_back(token);
  for (const uint64_t stream : {0u, 1u}) {
    const Result plain = run_alone(prompt, stream);
    Decoder decoder(tiny_model(), {.sequences = 1, .capacity = 700});
    Scheduler scheduler(decoder);
    Result guessed;
    Request request = make_request(prompt, stream, &guessed);
    request.guesses = 5;
    scheduler.submit(std::move(request));
    while (scheduler.step()) {
    }
    EXPECT_EQ(guessed.tokens, plain.tokens);
    EXPECT_EQ(guessed.log_probs, plain.log_probs);
    EXPECT_GT(scheduler.counts().guessed_tokens, 0);
    EXPECT_EQ(scheduler.counts().passes, 1 + 19 - scheduler.counts().right_guesses);
  }
}

TEST(Scheduler, EndsForItsReasons) {
  Decoder decoder(tiny_model(), {.sequences = 1, .capacity = 20});
  Scheduler scheduler(decoder);
  std::map<int, Result> results;
  scheduler.submit(
      make_request(random_prompt(15, 1), 0, &results[0]));  // 5 fit, and one is chosen after them
  const int64_t queued = scheduler.submit(make_request(random_prompt(5, 1), 0, &results[1]));
  scheduler.cancel(queued);
  EXPECT_EQ(results[1].finish, Finish::caller);
  while (scheduler.step()) {
  }
  EXPECT_EQ(results[0].finish, Finish::context);
  EXPECT_EQ(results[0].tokens.size(), 6u);
  Request stop = make_request(random_prompt(15, 1), 0, &results[2]);
  stop.stop_tokens = {results[0].tokens[2]};
  const size_t first = static_cast<size_t>(std::ranges::find(results[0].tokens, stop.stop_tokens[0]) -
                                           results[0].tokens.begin());
  scheduler.submit(std::move(stop));
  while (scheduler.step()) {
  }
  EXPECT_EQ(results[2].finish, Finish::stop);
  EXPECT_EQ(results[2].tokens.size(), first + 1);
  EXPECT_THROW(scheduler.submit(make_request({}, 0, &results[3])), Error);
  EXPECT_THROW(scheduler.submit(make_request(random_prompt(21, 1), 0, &results[3])), Error);
  EXPECT_THROW(scheduler.submit(make_request({61}, 0, &results[3])), Error);
}

// 61 tokens: digits, letters and pairs of them; 60 ends a text.
std::shared_ptr<const TokenTrie> small_vocabulary() {
  std::vector<std::string> tokens;
  for (char c = '0'; c <= '9'; ++c) tokens.emplace_back(1, c);
  for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
  while (tokens.size() < 60) tokens.push_back(tokens[tokens.size() % 36] + tokens[tokens.size() % 7]);
  tokens.emplace_back();
  return std::make_shared<const TokenTrie>(std::move(tokens));
}

Request constrained_request(std::vector<int32_t> prompt, uint64_t stream, const std::string& gbnf,
                            Result* result) {
  Request request = make_request(std::move(prompt), stream, result);
  request.stop_tokens = {60};
  request.constraint =
      std::make_shared<Constraint>(std::make_shared<const Grammar>(Grammar::parse(gbnf)), small_vocabulary());
  return request;
}

std::string text_of(const std::vector<int32_t>& tokens) {
  std::string text;
  for (const int32_t token : tokens) text += small_vocabulary()->bytes(token);
  return text;
}

TEST(Scheduler, ConstrainedTextsFollowTheirGrammarAndOthersDoNotChange) {
  const std::string gbnf = "root ::= [0-9]{3,5} ([a-c] [0-9]{1,3}){2}";
  const std::vector<int32_t> prompt = random_prompt(30, 1);
  const Result free_alone = run_alone(prompt, 0);
  std::vector<Result> alone(6);
  for (const bool together : {false, true})
    for (const int64_t guesses : {0, 4}) {
      Decoder decoder(tiny_model(), {.sequences = 4, .capacity = 700});
      Scheduler scheduler(decoder);
      std::vector<Result> results(6);
      Result unconstrained;
      if (together) scheduler.submit(make_request(prompt, 0, &unconstrained));
      for (size_t i = 0; i < results.size(); ++i) {
        Request request = constrained_request(prompt, i, gbnf, &results[i]);
        request.guesses = guesses;
        scheduler.submit(std::move(request));
        while (!together && scheduler.step()) {
        }
      }
      while (scheduler.step()) {
      }
      if (together) {
        EXPECT_EQ(unconstrained.tokens, free_alone.tokens);
      }
      if (!together && guesses == 0) alone = results;
      for (size_t i = 0; i < results.size(); ++i) {
        EXPECT_EQ(results[i].tokens, alone[i].tokens) << i;
        EXPECT_EQ(results[i].log_probs, alone[i].log_probs) << i;
        Constraint check(std::make_shared<const Grammar>(Grammar::parse(gbnf)), small_vocabulary());
        for (const int32_t token : results[i].tokens)
          if (token != 60) {
            ASSERT_TRUE(check.is_allowed(token)) << text_of(results[i].tokens);
            check.accept(token);
          }
        EXPECT_TRUE(results[i].finish != Finish::stop || check.may_end()) << text_of(results[i].tokens);
      }
    }
  EXPECT_TRUE(std::ranges::any_of(alone, [](const Result& r) { return r.finish == Finish::stop; }));
}

TEST(Scheduler, EndsWhereNothingMayFollow) {
  Decoder decoder(tiny_model(), {.sequences = 1, .capacity = 700});
  Scheduler scheduler(decoder);
  Result result;
  scheduler.submit(constrained_request({1}, 0, "root ::= \"abc\"", &result));
  while (scheduler.step()) {
  }
  EXPECT_EQ(text_of(result.tokens), "abc");
  EXPECT_EQ(result.finish, Finish::stop);
  EXPECT_NE(result.tokens.back(), 60);
}

TEST(Scheduler, ARequestThatFailsEndsAlone) {
  const std::vector<int32_t> prompt = random_prompt(40, 2);
  const Result alone = run_alone(prompt, 2);
  for (const bool told : {true, false}) {
    Decoder decoder(tiny_model(), {.sequences = 2, .capacity = 700});
    Scheduler scheduler(decoder);
    Result other, failed;
    std::string message;
    scheduler.submit(make_request(prompt, 2, &other));
    // No token writes "!".
    Request request = constrained_request(prompt, 4, "root ::= \"1\" \"!\"", &failed);
    if (told) request.on_error = [&](const Error& error) { message = error.what(); };
    scheduler.submit(std::move(request));
    for (bool more = true; more;) {
      try {
        more = scheduler.step();
      } catch (const Error& error) {
        EXPECT_FALSE(told);
        message = error.what();
      }
    }
    EXPECT_NE(message.find("no token that may come next"), std::string::npos) << message;
    EXPECT_EQ(failed.finish, Finish::error);
    EXPECT_EQ(other.tokens, alone.tokens);
    // Its slot is free again, and holds nothing that is wrong.
    Result after;
    scheduler.submit(make_request(prompt, 2, &after));
    while (scheduler.step()) {
    }
    EXPECT_EQ(after.tokens, alone.tokens);
  }
}

}  // namespace
}  // namespace tumbler::engine
