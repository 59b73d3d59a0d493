// Decoder: the transformer's forward pass with a cache of keys and values, for several sequences at once.
//
//   Decoder decoder(model, {.sequences = 2});
//   decoder.extend(0, prompt);       // prefill: any number of tokens of one sequence
//   decoder.step(slots, tokens);     // one token for each of several sequences, one pass over the weights
//   decoder.logits(0);               // of the token that would come next
//
// The cache is in pages of 64 positions (kernels/paged_attention.h) that slots share where they hold the same
// tokens: copy() costs no memory. A token's logits depend on its own sequence alone, to the last bit: not on
// what else is in the batch, on how its prompt was cut or on the number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/model.h"
#include "kernels/paged_attention.h"

namespace tumbler::engine {

// Looks on as tokens go through the layers (engine/inspector.h).
class DecoderProbe {
 public:
  virtual ~DecoderProbe() = default;
  // Of the tokens of a pass: queries (rows, H, D) and keys (rows, KV, D), normed and rotated.
  virtual void on_attention(int64_t layer, std::span<const float> q, std::span<const float> k) = 0;
  // What a layer leaves in the residual stream (rows, C), and the logits (rows, V) of a model that ends
  // there.
  virtual void on_layer(int64_t layer, std::span<const float> residual, std::span<const float> logits) = 0;
  virtual bool wants_layers() const = 0;
};

struct DecoderOptions {
  int64_t sequences = 1;  // slots: sequences held at a time
  int64_t capacity = 0;   // tokens a slot, at most the model's max_positions; 0: just that
  int64_t chunk = 512;    // tokens that go through the layers at a time: bounds activations
  kernels::CacheType cache = kernels::CacheType::bf16;
  int prefill_threads = 0;  // 0: kernels::thread_count()
  int decode_threads = 0;   // of passes of a few tokens, which wait for memory and not for arithmetic
  DecoderProbe* probe = nullptr;
};

class Decoder {
 public:
  // The model must outlive this. Throws Error where the options do not fit it, or memory cannot be had.
  Decoder(const Model& model, const DecoderOptions& options);
  // Packs the parameters' values of now.
  Decoder(const nn::Parameters& parameters, const DecoderOptions& options);
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;

  const Model& model() const noexcept;
  int64_t sequences() const noexcept;
  int64_t capacity() const noexcept;
  // Of the pages in use.
  int64_t cache_bytes() const noexcept;
  // Tokens that a slot holds.
  int64_t length(int64_t slot) const;

  // Some tokens of one slot (at least one).
  struct Piece {
    int64_t slot;
    std::span<const int32_t> tokens;
    bool all_logits = false;  // of every token: piece_logits()
    float* hidden =
        nullptr;  // where to put what the head sees of each token: (tokens, C), after the final norm
  };
  // Appends pieces to their slots, all in one pass as far as `chunk` reaches; no slot twice. Throws Error,
  // changing nothing, where a slot would hold more than capacity() (nothing slides silently: what a model no
  // longer sees is the caller's choice) or where a token is no id of the model's.
  void read(std::span<const Piece> pieces);
  void extend(int64_t slot, std::span<const int32_t> tokens);
  // tokens[i] to slots[i].
  void step(std::span<const int64_t> slots, std::span<const int32_t> tokens);
  // (V) f32, after the last token of a slot.
  std::span<const float> logits(int64_t slot) const;
  // (tokens, V) f32 of piece i of the last read(), which asked for all_logits.
  std::span<const float> piece_logits(int64_t i) const;

  // Forgets all but the first n <= length(slot) tokens. logits(slot) are of no use until the next read.
  void truncate(int64_t slot, int64_t n);
  // `to` becomes a copy of `from`, logits too: several continuations of one prompt.
  void copy(int64_t from, int64_t to);

  class Implementation;

 private:
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace tumbler::engine
