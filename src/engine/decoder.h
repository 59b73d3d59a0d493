// Decoder: the transformer's forward pass with a key/value cache, for several sequences at once.
//
//   Decoder decoder(parameters, {.sequences = 2});
//   decoder.extend(0, prompt);       // prefill: any number of tokens of one sequence
//   decoder.step(slots, tokens);     // one token for each of several sequences, one pass over the weights
//   decoder.logits(0);               // of the token that would come next
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "nn/parameters.h"

namespace tumbler::engine {

struct DecoderOptions {
  int64_t sequences = 1;  // slots: sequences held at a time
  int64_t capacity = 0;   // tokens a slot, at most the model's max_positions; 0: just that
  int64_t chunk = 512;    // prompt tokens that go through the layers at a time: bounds activations
};

class Decoder {
 public:
  // Computes in parameters.dtype(), which the cache is stored in too. `parameters` must outlive this.
  // Throws Error where the options do not fit the model, or memory cannot be had.
  Decoder(const nn::Parameters& parameters, const DecoderOptions& options);
  ~Decoder();
  Decoder(Decoder&&) noexcept;

  int64_t sequences() const noexcept;
  int64_t capacity() const noexcept;
  int64_t cache_bytes() const noexcept;
  // Tokens that a slot holds.
  int64_t length(int64_t slot) const;

  // Appends tokens (at least one) to a slot. Throws Error, changing nothing, where it would hold more than
  // capacity() (nothing slides silently: what a model no longer sees is the caller's choice) or where a token
  // is no id of the model's.
  void extend(int64_t slot, std::span<const int32_t> tokens);
  // tokens[i] to slots[i]; slots ascending. Errors as above.
  void step(std::span<const int64_t> slots, std::span<const int32_t> tokens);
  // (V) f32, after the last token of a slot.
  std::span<const float> logits(int64_t slot) const;

  // Forgets all but the first n <= length(slot) tokens. logits(slot) are of no use until the next extend or
  // step.
  void truncate(int64_t slot, int64_t n);
  // `to` becomes a copy of `from`, logits too: several continuations of one prompt.
  void copy(int64_t from, int64_t to);

  class Implementation;

 private:
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace tumbler::engine
