// Scheduler: many requests, one decoder. Requests join and leave between passes (continuous batching, Yu et
// al. 2022, OSDI "Orca"); prompts are read in chunks beside the steps of others; what a slot still holds of
// an earlier request or turn is not read again; repetitive text may be guessed ahead and checked in one pass
// (prompt look-up decoding: speculation of Leviathan et al. 2023, arXiv:2211.17192, without a draft model).
//
//   Scheduler scheduler(decoder);
//   scheduler.submit({.prompt = ids, .on_token = …, .on_finish = …});
//   while (scheduler.step()) {}
//
// A request's tokens do not depend on what else is there, nor on guesses: greedy ones to the bit, drawn ones
// as well, since each token takes its numbers from the request's own stream.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "engine/constraint.h"
#include "engine/decoder.h"
#include "engine/sampler.h"

namespace tumbler::engine {

// A token that was chosen, and what the model thought of it and of the likeliest ones before sampling.
struct TokenChoice {
  int32_t id;
  float log_prob;  // of the plain softmax
  float
      sampled_log_prob;  // of the distribution that it was drawn from: after penalties, temperature and cuts
  std::vector<Candidate> top;  // likeliest first
};

// Why a sequence ended: a stop token, max_tokens, a full context window, or the caller said so.
// Where the text has to follow a grammar, stop also says that nothing may follow.
enum class Finish { stop, length, context, caller, error };

struct Request {
  std::vector<int32_t> prompt;  // at least one token
  SamplingOptions sampling = {};
  uint64_t seed = 0, stream = 0;                // draws come from Rng(seed, stream)
  int64_t max_tokens = 128;                     // prompt not counted
  std::vector<int32_t> stop_tokens = {};        // end the sequence, and are its last token
  int64_t top_log_probs = 0;                    // likeliest candidates to report with each token
  int64_t guesses = 0;                          // most tokens to guess ahead; 0: none
  std::shared_ptr<Constraint> constraint = {};  // what the text has to follow; of this request alone
  // With the number of the prompt's tokens that the cache holds: those held already, then after each pass
  // that reads some.
  std::function<void(int64_t)> on_read = {};
  // What the model thought of each token of the prompt but the first; then nothing of it is taken from the
  // cache. Its max_tokens may be 0.
  std::function<void(const TokenChoice&)> on_prompt_token = {};
  // With the mean over the prompt's tokens of what the head sees (C), when it is read. As above.
  std::function<void(std::span<const float>)> on_embedding = {};
  std::function<bool(const TokenChoice&)> on_token = {};  // false ends the sequence with that token
  std::function<void(Finish)> on_finish = {};             // called once, last
  // Before on_finish(Finish::error): what went wrong with this request. Where it is empty, step() throws
  // that, with the request ended and all others as they were.
  std::function<void(const Error&)> on_error = {};
};

class Scheduler {
 public:
  // Tokens that go through the layers together with little more time than one.
  static constexpr int64_t kPassTokens = 512;

  // Uses all slots of the decoder, which must outlive this. A pass reads at most `pass_tokens` of prompts:
  // fewer, and step() returns sooner.
  explicit Scheduler(Decoder& decoder, int64_t pass_tokens = kPassTokens);

  // Queues a request; returns its number. Throws Error where the prompt is empty, too long or has wrong ids,
  // or an option is out of range.
  int64_t submit(Request request);
  // Throws what submit() would. From any thread.
  void check(const Request& request) const;
  // Ends a request with Finish::caller, queued or running. Nothing where it has ended. Not from within
  // on_token, which returns false instead.
  void cancel(int64_t id);
  // One pass over the model. False where there is nothing to do.
  bool step();

  struct Counts {
    int64_t prompt_tokens = 0, reused_tokens = 0, generated_tokens = 0;
    int64_t guessed_tokens = 0, right_guesses = 0, passes = 0;
  };
  const Counts& counts() const noexcept { return counts_; }

 private:
  struct Running {
    int64_t id, slot;
    Request request;
    Sampler sampler;
    Rng rng;
    std::vector<int32_t> generated, guesses;
    int64_t read = 0;                          // of the prompt
    std::vector<float> hidden = {}, sum = {};  // for on_embedding: of a piece, and of all so far
  };
  struct Held {
    std::vector<int32_t> tokens;  // whose keys and values the slot has
    int64_t last_use = 0;
    bool busy = false;
  };

  void admit();
  bool is_being_read(const std::vector<int32_t>& prompt) const;
  int64_t place(const Request& request);
  void add_pieces();
  void guess(Running& running) const;
  // Takes tokens from a running request's rows of logits; true where it goes on.
  bool advance(Running& running, int64_t piece);
  void add_hidden(Running& running, int64_t tokens) const;
  void judge_prompt(const Running& running, int64_t piece);
  std::optional<Finish> choose(Running& running, std::span<const float> logits);
  std::span<const float> constrain(Running& running, std::span<const float> logits);
  void fail(Running& running, const Error& error);
  void finish(Running& running, Finish why);

  Decoder& decoder_;
  int64_t pass_tokens_;
  std::deque<std::pair<int64_t, Request>> queue_;
  std::vector<Running> running_;
  std::vector<Held> slots_;
  std::vector<Decoder::Piece> pieces_;
  std::vector<std::vector<int32_t>> piece_tokens_;
  std::vector<size_t> piece_owner_;
  std::vector<float> constrained_;  // scratch
  std::optional<Error> failure_;    // for step() to throw
  Counts counts_;
  int64_t next_id_ = 0, clock_ = 0;
};

}  // namespace tumbler::engine
