#include "engine/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/embedding.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "nn/arena.h"
#include "nn/transformer.h"

namespace tumbler::engine {

class Decoder::Implementation {
 public:
  virtual ~Implementation() = default;
  virtual void extend(int64_t slot, std::span<const int32_t> tokens) = 0;
  virtual void step(std::span<const int64_t> slots, std::span<const int32_t> tokens) = 0;
  virtual std::span<const float> logits(int64_t slot) const = 0;
  virtual void copy(int64_t from, int64_t to) = 0;

  int64_t sequences = 0, capacity = 0, cache_bytes = 0;
  std::vector<int64_t> lengths;  // (sequences)
};

namespace {

using kernels::Matrix;

// Where each of N new tokens goes: position[n] of slot[n].
struct Placement {
  std::vector<int32_t> tokens, position;
  std::vector<int64_t> slot;

  int64_t size() const noexcept { return static_cast<int64_t>(tokens.size()); }
  void clear() {
    tokens.clear();
    position.clear();
    slot.clear();
  }
  void add(int32_t token, int64_t s, int64_t p) {
    tokens.push_back(token);
    slot.push_back(s);
    position.push_back(static_cast<int32_t>(p));
  }
  // Calls f(first, count) for each stretch of tokens that stand in consecutive slots.
  template <class F>
  void for_each_run(F&& f) const {
    for (int64_t first = 0; first < size();) {
      int64_t end = first + 1;
      while (end < size() && slot[end] == slot[end - 1] + 1) ++end;
      f(first, end - first);
      first = end;
    }
  }
};

template <class T>
class DecoderOf final : public Decoder::Implementation {
 public:
  DecoderOf(const nn::Parameters& parameters, const DecoderOptions& options)
      : parameters_(parameters), config_(parameters.config()), chunk_(options.chunk) {
    sequences = options.sequences;
    capacity = options.capacity > 0 ? options.capacity : config_.max_positions;
    if (sequences < 1 || chunk_ < 1)
      throw Error("decoder", "got {} sequences in chunks of {}, expected 1 or more", sequences, chunk_);
    if (capacity > config_.max_positions)
      throw Error("decoder", "capacity: got {} tokens, expected at most the model's {} positions", capacity,
                  config_.max_positions);
    lengths.assign(static_cast<size_t>(sequences), 0);
    chunk_ = std::min(chunk_, capacity);
    rows_ = std::max(sequences, chunk_);
    nn::ArenaLayout sizes;
    lay_out(sizes);
    arena_ = nn::Arena(sizes.size_bytes());
    nn::ArenaLayout views(&arena_);
    lay_out(views);
    if (config_.rope()) nn::rope_table(config_, cos_sin_, capacity);
  }

  void extend(int64_t slot, std::span<const int32_t> tokens) override {
    const auto count = static_cast<int64_t>(tokens.size());
    check_room(slot, count);
    for (const int32_t token : tokens) check_token(token);
    for (int64_t at = 0; at < count;) {
      const int64_t n = std::min(chunk_, count - at);
      placement_.clear();
      for (int64_t i = 0; i < n; ++i) placement_.add(tokens[at + i], slot, lengths[slot] + i);
      run_layers(/*one_slot=*/true);
      lengths[slot] += n;
      at += n;
    }
    compute_logits(placement_.size() - 1, 1, slot);
  }

  void step(std::span<const int64_t> slots, std::span<const int32_t> tokens) override {
    CHECK(slots.size() == tokens.size() && !slots.empty());
    placement_.clear();
    for (size_t i = 0; i < slots.size(); ++i) {
      CHECK(i == 0 || slots[i] > slots[i - 1]);
      check_room(slots[i], 1);
      check_token(tokens[i]);
      placement_.add(tokens[i], slots[i], lengths[slots[i]]);
    }
    run_layers(/*one_slot=*/false);
    for (const int64_t slot : slots) ++lengths[slot];
    placement_.for_each_run(
        [&](int64_t first, int64_t count) { compute_logits(first, count, placement_.slot[first]); });
  }

  std::span<const float> logits(int64_t slot) const override {
    CHECK(slot >= 0 && slot < sequences);
    return logits_.subspan(slot * config_.vocab_size, config_.vocab_size);
  }

  void copy(int64_t from, int64_t to) override {
    CHECK(from >= 0 && from < sequences && to >= 0 && to < sequences);
    if (from == to) return;
    const size_t bytes = static_cast<size_t>(lengths[from] * token_size()) * sizeof(T);
    for (int64_t layer = 0; layer < config_.n_layer; ++layer) {
      std::memcpy(cached(keys_, layer, to, 0), cached(keys_, layer, from, 0), bytes);
      std::memcpy(cached(values_, layer, to, 0), cached(values_, layer, from, 0), bytes);
    }
    const int64_t V = config_.vocab_size;
    std::copy_n(&logits_[from * V], V, &logits_[to * V]);
    lengths[to] = lengths[from];
  }

 private:
  // Elements of one token's keys in one layer.
  int64_t token_size() const noexcept { return config_.n_kv_head * config_.head_dim; }

  kernels::AttentionShape shape(int64_t B, int64_t time) const {
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config_.head_dim)));
    return {B, time, config_.n_head, config_.n_kv_head, config_.head_dim, scale};
  }

  void lay_out(nn::ArenaLayout& layout) {
    const int64_t C = config_.n_embd, HD = config_.n_head * config_.head_dim, F = config_.n_ff, N = rows_;
    keys_ = layout.take<T>(config_.n_layer * sequences * capacity * token_size());
    values_ = layout.take<T>(config_.n_layer * sequences * capacity * token_size());
    cache_bytes = layout.size_bytes();
    residual_ = layout.take<T>(N * C);
    normed_ = layout.take<T>(N * C);
    delta_ = layout.take<T>(N * C);
    qkv_ = layout.take<T>(N * config_.qkv_rows());
    q_ = layout.take<T>(N * HD);
    k_ = layout.take<T>(N * token_size());
    attended_ = layout.take<T>(N * HD);
    up_ = layout.take<T>(N * F * (config_.gated() ? 2 : 1));
    hidden_ = layout.take<T>(N * F);
    mean_ = layout.take<float>(N);
    rstd_ = layout.take<float>(N);
    lse_ = layout.take<float>(N * config_.n_head);
    scratch_ = layout.take<std::byte>(kernels::attention_scratch(shape(1, chunk_)));
    cos_sin_ = layout.take<float>(config_.rope() ? capacity * config_.head_dim : 0);
    logits_ = layout.take<float>(sequences * config_.vocab_size);
  }

  T* cached(std::span<T> keys_or_values, int64_t layer, int64_t slot, int64_t position) {
    return keys_or_values.data() + ((layer * sequences + slot) * capacity + position) * token_size();
  }

  void check_room(int64_t slot, int64_t tokens) const {
    CHECK(slot >= 0 && slot < sequences && tokens > 0);
    if (tokens > capacity - lengths[slot])
      throw Error("decoder", "context: got {} tokens, expected at most {}; shorten the prompt",
                  lengths[slot] + tokens, capacity);
  }
  void check_token(int32_t token) const {
    if (token < 0 || token >= config_.vocab_size)
      throw Error("decoder", "token id: got {}, expected 0 to {}; is this the model's tokenizer?", token,
                  config_.vocab_size - 1);
  }

  // normed_ = norm(residual_ += delta)
  void norm(const T* delta, std::span<const float> weight, std::span<const float> bias) {
    const int64_t N = placement_.size(), C = config_.n_embd;
    const auto eps = static_cast<float>(config_.norm_eps);
    if (config_.layer_norm())
      kernels::layer_norm_forward<T>(normed_.data(), mean_.data(), rstd_.data(), residual_.data(), delta,
                                     weight.data(), bias.data(), N, C, eps);
    else
      kernels::rms_norm_forward<T>(normed_.data(), rstd_.data(), residual_.data(), delta, weight.data(), N, C,
                                   eps);
  }

  // out (N, rows) = inp (N, cols) * weight (rows, cols)^T + bias
  void matmul(std::span<T> out, std::span<T> inp, std::span<const T> weight, std::span<const float> bias,
              int64_t rows, int64_t cols) {
    const int64_t N = placement_.size();
    kernels::matmul_forward<T, T>(Matrix<T>(out.data(), N, rows), Matrix<const T>(inp.data(), N, cols),
                                  Matrix<const T>(weight.data(), rows, cols), bias.data(), false);
  }

  // The placed tokens through all layers; their keys and values go into the cache, normed_ to the head.
  void run_layers(bool one_slot) {
    const int64_t C = config_.n_embd, HD = config_.n_head * config_.head_dim;
    const nn::ModelWeights<T>& model = parameters_.model<T>();
    kernels::embedding_forward<T>(residual_.data(), placement_.tokens.data(), placement_.position.data(),
                                  model.embedding.data(), model.positions.data(), 1.0f, placement_.size(), C);
    const T* delta = nullptr;
    for (int64_t layer = 0; layer < config_.n_layer; ++layer) {
      const nn::LayerWeights<T>& w = parameters_.layers<T>()[layer];
      norm(delta, w.attn_norm, w.attn_norm_bias);
      matmul(qkv_, normed_, w.qkv, w.qkv_bias, config_.qkv_rows(), C);
      place_keys(layer, w);
      if (one_slot)
        attend_chunk(layer);
      else
        attend_step(layer);
      matmul(delta_, attended_, w.out, w.out_bias, C, HD);
      norm(delta_.data(), w.mlp_norm, w.mlp_norm_bias);
      mlp(w);
      delta = delta_.data();
    }
    norm(delta, model.final_norm, model.final_norm_bias);
  }

  void mlp(const nn::LayerWeights<T>& w) {
    const int64_t N = placement_.size(), C = config_.n_embd, F = config_.n_ff;
    matmul(up_, normed_, w.up, w.up_bias, config_.gated() ? 2 * F : F, C);
    const auto gate = config_.mlp == "silu_glu" ? kernels::Gate::silu : kernels::Gate::gelu_tanh;
    if (config_.gated())
      kernels::glu_forward<T>(hidden_.data(), up_.data(), gate, N, F);
    else
      kernels::gelu_forward<T>(hidden_.data(), up_.data(), N * F);
    matmul(delta_, hidden_, w.down, w.down_bias, C, F);
  }

  // q_ = the queries; keys and values to their places in the cache.
  void place_keys(int64_t layer, const nn::LayerWeights<T>& w) {
    const int64_t N = placement_.size(), H = config_.n_head, D = config_.head_dim, row = token_size();
    const kernels::QkShape qk{N, H, config_.n_kv_head, D, static_cast<float>(config_.norm_eps)};
    kernels::qk_forward<T>(q_.data(), k_.data(), qkv_.data(), w.q_norm.data(), w.k_norm.data(),
                           config_.rope() ? cos_sin_.data() : nullptr, placement_.position.data(), qk);
    for (int64_t n = 0; n < N; ++n) {
      const int64_t slot = placement_.slot[n], position = placement_.position[n];
      std::copy_n(k_.data() + n * row, row, cached(keys_, layer, slot, position));
      std::copy_n(qkv_.data() + n * config_.qkv_rows() + H * D + row, row,
                  cached(values_, layer, slot, position));
    }
  }

  // A chunk of one slot. At the start of the slot the queries' tokens are all there is to see: the kernel of
  // training. Further on each token looks back by itself.
  void attend_chunk(int64_t layer) {
    const int64_t N = placement_.size(), HD = config_.n_head * config_.head_dim;
    const T* keys = cached(keys_, layer, placement_.slot[0], 0);
    const T* values = cached(values_, layer, placement_.slot[0], 0);
    if (placement_.position[0] == 0) {
      kernels::attention_forward<T>({attended_.data(), HD}, lse_.data(), {q_.data(), HD},
                                    {keys, token_size()}, {values, token_size()}, nullptr, shape(1, N),
                                    scratch_.data());
      return;
    }
    for (int64_t n = 0; n < N; ++n) {
      const int64_t length = placement_.position[n] + 1;
      kernels::attention_decode<T>(attended_.data() + n * HD, q_.data() + n * HD, keys, values, &length,
                                   capacity, shape(1, 1));
    }
  }

  // One token each of several slots.
  void attend_step(int64_t layer) {
    const int64_t HD = config_.n_head * config_.head_dim;
    seen_.clear();
    for (const int32_t position : placement_.position) seen_.push_back(position + 1);
    placement_.for_each_run([&](int64_t first, int64_t count) {
      const int64_t slot = placement_.slot[first];
      kernels::attention_decode<T>(attended_.data() + first * HD, q_.data() + first * HD,
                                   cached(keys_, layer, slot, 0), cached(values_, layer, slot, 0),
                                   seen_.data() + first, capacity, shape(count, 1));
    });
  }

  // Logits of `count` slots from `slot` on, from as many rows of normed_.
  void compute_logits(int64_t row, int64_t count, int64_t slot) {
    const int64_t C = config_.n_embd, V = config_.vocab_size;
    kernels::matmul_forward<T, float>(Matrix<float>(logits_.data() + slot * V, count, V),
                                      Matrix<const T>(normed_.data() + row * C, count, C),
                                      Matrix<const T>(parameters_.model<T>().head.data(), V, C), nullptr,
                                      false);
  }

  const nn::Parameters& parameters_;
  const nn::ModelConfig config_;
  int64_t chunk_, rows_ = 0;
  Placement placement_;
  std::vector<int64_t> seen_;
  nn::Arena arena_;
  std::span<T> keys_, values_;              // (L, sequences, capacity, KV, D)
  std::span<T> residual_, normed_, delta_;  // (rows, C)
  std::span<T> qkv_;                        // (rows, H + 2 KV, D)
  std::span<T> q_, k_, attended_;           // (rows, H, D), (rows, KV, D), (rows, H, D)
  std::span<T> up_, hidden_;                // (rows, F or 2 F), (rows, F)
  std::span<float> mean_, rstd_, lse_;      // (rows), (rows), (H, rows)
  std::span<float> cos_sin_, logits_;       // (capacity, D), (sequences, V)
  std::span<std::byte> scratch_;
};

std::unique_ptr<Decoder::Implementation> make(const nn::Parameters& parameters,
                                              const DecoderOptions& options) {
  if (parameters.dtype() == kernels::DType::bf16)
    return std::make_unique<DecoderOf<kernels::bf16>>(parameters, options);
  return std::make_unique<DecoderOf<float>>(parameters, options);
}

}  // namespace

Decoder::Decoder(const nn::Parameters& parameters, const DecoderOptions& options)
    : implementation_(make(parameters, options)) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;

int64_t Decoder::sequences() const noexcept {
  return implementation_->sequences;
}
int64_t Decoder::capacity() const noexcept {
  return implementation_->capacity;
}
int64_t Decoder::cache_bytes() const noexcept {
  return implementation_->cache_bytes;
}
int64_t Decoder::length(int64_t slot) const {
  return implementation_->lengths.at(static_cast<size_t>(slot));
}
void Decoder::extend(int64_t slot, std::span<const int32_t> tokens) {
  implementation_->extend(slot, tokens);
}
void Decoder::step(std::span<const int64_t> slots, std::span<const int32_t> tokens) {
  implementation_->step(slots, tokens);
}
std::span<const float> Decoder::logits(int64_t slot) const {
  return implementation_->logits(slot);
}
void Decoder::truncate(int64_t slot, int64_t n) {
  CHECK(n >= 0 && n <= length(slot));
  implementation_->lengths[slot] = n;
}
void Decoder::copy(int64_t from, int64_t to) {
  implementation_->copy(from, to);
}

}  // namespace tumbler::engine
