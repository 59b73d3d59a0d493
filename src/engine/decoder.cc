#include "engine/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "engine/page_table.h"
#include "kernels/activation.h"
#include "kernels/isa.h"
#include "kernels/norm.h"
#include "kernels/packed.h"
#include "kernels/rope.h"
#include "kernels/team.h"
#include "nn/arena.h"
#include "nn/transformer.h"

namespace tumbler::engine {

using kernels::kPageTokens;

namespace {

// Passes of fewer tokens than this wait for weights to come from memory.
constexpr int64_t kDecodeRows = 8;

}  // namespace

class Decoder::Implementation {
 public:
  Implementation(const Model& model, const DecoderOptions& options)
      : model_(&model), config_(model.config()), options_(options), pages_(0, 0) {
    check_options();
    const int64_t C = config_.n_embd;
    chunk_ = std::min(options.chunk, sequences_ * capacity_);
    rows_ = std::max(sequences_, chunk_);
    widest_ = std::max({C, config_.n_head * config_.head_dim, config_.n_ff});
    nn::ArenaLayout sizes;
    lay_out(sizes);
    // Sized for a prompt and then used a row at a time: small pages take only what rows touch.
    arena_ = nn::Arena(sizes.size_bytes(), /*huge_pages=*/false);
    nn::ArenaLayout views(&arena_);
    lay_out(views);
    if (config_.rope()) nn::rope_table(config_, cos_sin_, capacity_);
    if (config_.sliding_window > 0) nn::rope_table(config_, local_cos_sin_, capacity_, /*local=*/true);
    const int64_t pages = sequences_ * ((capacity_ + kPageTokens - 1) / kPageTokens);
    pages_ = PageTable(sequences_, pages);
    page_bytes_ = config_.n_layer * layer_bytes();
    cache_ = nn::Arena(pages * page_bytes_, /*huge_pages=*/false);
  }

  Implementation(std::unique_ptr<const Model> model, const DecoderOptions& options)
      : Implementation(*model, options) {
    owned_ = std::move(model);
  }

  const Model& model() const noexcept { return *model_; }
  int64_t sequences() const noexcept { return sequences_; }
  int64_t capacity() const noexcept { return capacity_; }
  int64_t cache_bytes() const noexcept { return pages_.used_pages() * page_bytes_; }
  PageTable& pages() noexcept { return pages_; }

  void read(std::span<const Piece> pieces);

  std::span<const float> logits(int64_t slot) const {
    CHECK(slot >= 0 && slot < sequences_);
    return logits_.subspan(static_cast<size_t>(slot * config_.vocab_size),
                           static_cast<size_t>(config_.vocab_size));
  }
  std::span<const float> piece_logits(int64_t i) const {
    const PieceLogits& piece = all_logits_.at(static_cast<size_t>(i));
    return std::span(piece.values);
  }
  void copy(int64_t from, int64_t to) {
    pages_.copy(from, to);
    if (from != to) std::ranges::copy(logits(from), logits_.begin() + to * config_.vocab_size);
  }

 private:
  // A row whose logits, or what they are made of, are wanted and where they go.
  struct LogitRow {
    int64_t row;
    float* out;
  };
  struct PieceLogits {
    std::vector<float> values;
  };

  void check_options();
  void lay_out(nn::ArenaLayout& layout);
  void check(std::span<const Piece> pieces) const;
  void place(const Piece& piece, int64_t piece_index, int64_t begin, int64_t count);
  void run_pass();
  void embed();
  void norm(const float* delta, const std::vector<float>& weight, const std::vector<float>& bias);
  void add_post_norm(const std::vector<float>& weight);
  void multiply(const Linear& linear, const float* inp, float* out, int64_t rows);
  // The next product's weights, while one thread does what comes before it.
  void read_ahead(const Linear& linear) const noexcept {
    if (rows() >= kDecodeRows || decode_threads_ == 1) return;
    const kernels::PackedWeights& first = linear.parts.front().weights;
    kernels::read_ahead(first.data, kernels::packed_bytes(first.type, first.rows, first.cols));
  }
  void attend(int64_t layer, const Layer& weights);
  void mlp(const Layer& weights);
  void compute_logits();
  void show_layer(int64_t layer);

  int64_t layer_bytes() const {
    return config_.n_kv_head * kernels::head_page_bytes(options_.cache, config_.head_dim);
  }
  int64_t rows() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  int threads() const noexcept { return rows() < kDecodeRows ? decode_threads_ : prefill_threads_; }

  std::unique_ptr<const Model> owned_;
  const Model* model_;
  const nn::ModelConfig config_;
  const DecoderOptions options_;
  int64_t sequences_ = 0, capacity_ = 0, chunk_ = 0, rows_ = 0, widest_ = 0, page_bytes_ = 0;
  int prefill_threads_ = 1, decode_threads_ = 1;
  PageTable pages_;
  nn::Arena arena_, cache_;

  // The tokens of a pass, and to whom they belong.
  std::vector<int32_t> tokens_, position_;
  std::vector<kernels::PagedSequence> placed_;
  std::vector<LogitRow> wanted_, wanted_hidden_;
  std::vector<PieceLogits> all_logits_;

  std::span<float> residual_, normed_, delta_;  // (rows, C)
  std::span<float> qkv_;                        // (rows, H + 2 KV, D)
  std::span<float> q_, k_, attended_;           // (rows, H, D), (rows, KV, D), (rows, H, D)
  std::span<float> up_, hidden_;                // (rows, F or 2 F), (rows, F)
  std::span<float> mean_, rstd_;                // (rows)
  std::span<float> cos_sin_, local_cos_sin_;    // (capacity, D)
  std::span<float> logits_;                     // (sequences, V)
  std::span<int8_t> rounded_;                   // (rows, widest)
  std::span<int16_t> rounded16_;                // (rows, widest)
  std::span<float> scale_, scaled_sum_;         // (rows, widest / 32)
  std::span<int32_t> sums_;                     // (rows, widest / 32, 3)
};

void Decoder::Implementation::check_options() {
  sequences_ = options_.sequences;
  capacity_ = options_.capacity > 0 ? options_.capacity : config_.max_positions;
  if (sequences_ < 1 || options_.chunk < 1)
    throw Error("decoder", "got {} sequences in chunks of {}, expected 1 or more", sequences_,
                options_.chunk);
  if (capacity_ > config_.max_positions)
    throw Error("decoder", "capacity: got {} tokens, expected at most the model's {} positions", capacity_,
                config_.max_positions);
  const auto pick = [](int threads) { return threads > 0 ? threads : kernels::thread_count(); };
  prefill_threads_ = pick(options_.prefill_threads);
  decode_threads_ = pick(options_.decode_threads);
}

void Decoder::Implementation::lay_out(nn::ArenaLayout& layout) {
  const int64_t C = config_.n_embd, HD = config_.n_head * config_.head_dim, F = config_.n_ff, N = rows_;
  const int64_t KD = config_.n_kv_head * config_.head_dim, blocks = widest_ / kernels::kSmallBlock;
  residual_ = layout.take<float>(N * C);
  normed_ = layout.take<float>(N * C);
  delta_ = layout.take<float>(N * C);
  qkv_ = layout.take<float>(N * config_.qkv_rows());
  q_ = layout.take<float>(N * HD);
  k_ = layout.take<float>(N * KD);
  attended_ = layout.take<float>(N * HD);
  up_ = layout.take<float>(N * F * (config_.gated() ? 2 : 1));
  hidden_ = layout.take<float>(N * F);
  mean_ = layout.take<float>(N);
  rstd_ = layout.take<float>(N);
  rounded_ = layout.take<int8_t>(N * widest_);
  rounded16_ = layout.take<int16_t>(N * widest_);
  scale_ = layout.take<float>(N * blocks);
  scaled_sum_ = layout.take<float>(N * blocks);
  sums_ = layout.take<int32_t>(N * blocks * 3);
  cos_sin_ = layout.take<float>(config_.rope() ? capacity_ * config_.head_dim : 0);
  local_cos_sin_ = layout.take<float>(config_.sliding_window > 0 ? capacity_ * config_.head_dim : 0);
  logits_ = layout.take<float>(sequences_ * config_.vocab_size);
}

void Decoder::Implementation::check(std::span<const Piece> pieces) const {
  for (const Piece& piece : pieces) {
    CHECK(piece.slot >= 0 && piece.slot < sequences_ && !piece.tokens.empty());
    const int64_t length = pages_.length(piece.slot), count = static_cast<int64_t>(piece.tokens.size());
    if (count > capacity_ - length)
      throw Error("decoder", "context: got {} tokens, expected at most {}; shorten the prompt",
                  length + count, capacity_);
    for (const int32_t token : piece.tokens)
      if (token < 0 || token >= config_.vocab_size)
        throw Error("decoder", "token id: got {}, expected 0 to {}; is this the model's tokenizer?", token,
                    config_.vocab_size - 1);
  }
}

void Decoder::Implementation::read(std::span<const Piece> pieces) {
  check(pieces);
  const kernels::UseTeam team;
  all_logits_.clear();
  all_logits_.resize(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i)
    if (pieces[i].all_logits)
      all_logits_[i].values.resize(pieces[i].tokens.size() * static_cast<size_t>(config_.vocab_size));
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto count = static_cast<int64_t>(pieces[i].tokens.size());
    for (int64_t at = 0; at < count;) {
      if (rows() == rows_) run_pass();
      const int64_t n = std::min(rows_ - rows(), count - at);
      place(pieces[i], static_cast<int64_t>(i), at, n);
      at += n;
    }
  }
  run_pass();
  for (size_t i = 0; i < pieces.size(); ++i)
    if (pieces[i].all_logits)
      std::ranges::copy(piece_logits(static_cast<int64_t>(i)).last(static_cast<size_t>(config_.vocab_size)),
                        logits_.begin() + pieces[i].slot * config_.vocab_size);
}

// Tokens begin..begin+count-1 of a piece into the pass.
void Decoder::Implementation::place(const Piece& piece, int64_t piece_index, int64_t begin, int64_t count) {
  const int64_t first = rows(), position = pages_.length(piece.slot), V = config_.vocab_size;
  const PageTable::CopyPage copy = pages_.append(piece.slot, count);
  if (copy.from != copy.to)
    std::ranges::copy(cache_.view<std::byte>(copy.from * page_bytes_, page_bytes_),
                      cache_.view<std::byte>(copy.to * page_bytes_, page_bytes_).begin());
  for (int64_t i = 0; i < count; ++i) {
    tokens_.push_back(piece.tokens[static_cast<size_t>(begin + i)]);
    position_.push_back(static_cast<int32_t>(position + i));
    if (piece.all_logits)
      wanted_.push_back(
          {first + i, all_logits_[static_cast<size_t>(piece_index)].values.data() + (begin + i) * V});
  }
  if (!piece.all_logits && begin + count == static_cast<int64_t>(piece.tokens.size()))
    wanted_.push_back({first + count - 1, &logits_[static_cast<size_t>(piece.slot * V)]});
  for (int64_t i = 0; piece.hidden != nullptr && i < count; ++i)
    wanted_hidden_.push_back({first + i, piece.hidden + (begin + i) * config_.n_embd});
  placed_.push_back({first, count, position, pages_.pages(piece.slot)});
}

// The placed tokens through all layers.
void Decoder::Implementation::run_pass() {
  embed();
  const float* delta = nullptr;
  for (int64_t i = 0; i < config_.n_layer; ++i) {
    const Layer& layer = model_->layers()[static_cast<size_t>(i)];
    norm(delta, layer.attn_norm, layer.attn_norm_bias);
    multiply(layer.qkv, normed_.data(), qkv_.data(), rows());
    read_ahead(layer.out);
    attend(i, layer);
    multiply(layer.out, attended_.data(), delta_.data(), rows());
    read_ahead(layer.up);
    add_post_norm(layer.attn_post_norm);
    norm(delta_.data(), layer.mlp_norm, layer.mlp_norm_bias);
    mlp(layer);
    read_ahead(i + 1 < config_.n_layer ? model_->layers()[static_cast<size_t>(i + 1)].qkv : model_->head());
    add_post_norm(layer.mlp_post_norm);
    delta = delta_.data();
    if (options_.probe != nullptr && options_.probe->wants_layers()) {
      show_layer(i);
      delta = nullptr;  // is in residual_ by now
    }
  }
  norm(delta, model_->final_norm(), model_->final_norm_bias());
  for (const LogitRow& row : wanted_hidden_)
    std::copy_n(normed_.data() + row.row * config_.n_embd, config_.n_embd, row.out);
  compute_logits();
  tokens_.clear();
  position_.clear();
  placed_.clear();
  wanted_.clear();
  wanted_hidden_.clear();
}

void Decoder::Implementation::show_layer(int64_t layer) {
  norm(delta_.data(), model_->final_norm(), model_->final_norm_bias());
  const std::vector<LogitRow> wanted = std::exchange(wanted_, {});
  const auto V = static_cast<size_t>(config_.vocab_size), n = static_cast<size_t>(rows());
  std::vector<float> logits(n * V);
  for (size_t i = 0; i < n; ++i) wanted_.push_back({static_cast<int64_t>(i), &logits[i * V]});
  compute_logits();
  wanted_ = wanted;
  options_.probe->on_layer(layer, residual_.first(n * static_cast<size_t>(config_.n_embd)), logits);
}

void Decoder::Implementation::embed() {
  const int64_t C = config_.n_embd;
  for (int64_t n = 0; n < rows(); ++n) {
    float* row = residual_.data() + n * C;
    kernels::unpack_row(row, model_->embedding(), tokens_[static_cast<size_t>(n)]);
    if (config_.embedding_scale != 1)
      for (int64_t c = 0; c < C; ++c) row[c] *= static_cast<float>(config_.embedding_scale);
    if (config_.rope()) continue;
    const float* position = model_->positions().data() + position_[static_cast<size_t>(n)] * C;
    for (int64_t c = 0; c < C; ++c) row[c] += position[c];
  }
}

// normed_ = norm(residual_ += delta)
void Decoder::Implementation::norm(const float* delta, const std::vector<float>& weight,
                                   const std::vector<float>& bias) {
  const auto eps = static_cast<float>(config_.norm_eps);
  if (config_.layer_norm())
    kernels::layer_norm_forward<float>(normed_.data(), mean_.data(), rstd_.data(), residual_.data(), delta,
                                       weight.data(), bias.data(), rows(), config_.n_embd, eps);
  else
    kernels::rms_norm_forward<float>(normed_.data(), rstd_.data(), residual_.data(), delta, weight.data(),
                                     rows(), config_.n_embd, eps);
}

// delta_ = norm(delta_), where the model has such a norm.
void Decoder::Implementation::add_post_norm(const std::vector<float>& weight) {
  if (weight.empty()) return;
  kernels::rms_norm_forward<float>(normed_.data(), rstd_.data(), delta_.data(), nullptr, weight.data(),
                                   rows(), config_.n_embd, static_cast<float>(config_.norm_eps));
  std::swap(normed_, delta_);
}

// out (rows, linear.rows) = inp (rows, linear.cols) * weights^T + bias
void Decoder::Implementation::multiply(const Linear& linear, const float* inp, float* out, int64_t rows) {
  const kernels::PackedInput input{.N = rows,
                                   .K = linear.cols,
                                   .values = inp,
                                   .q = rounded_.data(),
                                   .q16 = rounded16_.data(),
                                   .scale = scale_.data(),
                                   .scaled_sum = scaled_sum_.data(),
                                   .sums = sums_.data()};
  if (linear.quantised()) kernels::round_input(input);
  thread_local std::vector<kernels::PackedProduct> products;
  products.clear();
  for (const Linear::Part& part : linear.parts)
    products.push_back({part.weights, linear.bias.empty() ? nullptr : linear.bias.data() + part.first_row,
                        out + part.first_row, linear.rows});
  kernels::multiply_packed(products, input, threads());
}

// attended_ = what the placed tokens read; their keys and values go into the cache.
void Decoder::Implementation::attend(int64_t layer, const Layer& w) {
  const int64_t H = config_.n_head, KV = config_.n_kv_head, D = config_.head_dim;
  const bool local = config_.is_local(layer);
  const std::span<float> table = local ? local_cos_sin_ : cos_sin_;
  const kernels::QkShape qk{rows(), H, KV, D, static_cast<float>(config_.norm_eps)};
  kernels::qk_forward<float>(q_.data(), k_.data(), qkv_.data(), w.q_norm.empty() ? nullptr : w.q_norm.data(),
                             w.k_norm.empty() ? nullptr : w.k_norm.data(),
                             config_.rope() ? table.data() : nullptr, position_.data(), qk);
  if (options_.probe != nullptr)
    options_.probe->on_attention(layer, q_.first(static_cast<size_t>(rows() * H * D)),
                                 k_.first(static_cast<size_t>(rows() * KV * D)));
  const kernels::PagedShape shape{H, KV, D, static_cast<float>(config_.score_scale()),
                                  local ? config_.sliding_window : 0};
  const kernels::PagedCache cache{options_.cache, cache_.view<std::byte>(layer * layer_bytes(), 0).data(),
                                  page_bytes_};
  kernels::append_to_cache(cache, k_.data(), qkv_.data() + (H + KV) * D, config_.qkv_rows(), placed_, shape);
  kernels::paged_attention(attended_.data(), q_.data(), cache, placed_, shape, threads());
}

// delta_ = the MLP of normed_
void Decoder::Implementation::mlp(const Layer& w) {
  const int64_t F = config_.n_ff;
  multiply(w.up, normed_.data(), up_.data(), rows());
  read_ahead(w.down);
  const auto gate = config_.mlp == "silu_glu" ? kernels::Gate::silu : kernels::Gate::gelu_tanh;
  if (config_.gated())
    kernels::glu_forward<float>(hidden_.data(), up_.data(), gate, rows(), F);
  else
    kernels::gelu_forward<float>(hidden_.data(), up_.data(), rows() * F);
  multiply(w.down, hidden_.data(), delta_.data(), rows());
}

// The wanted rows of normed_ times the head. Rows are gathered in delta_, which nothing needs any more.
void Decoder::Implementation::compute_logits() {
  const int64_t C = config_.n_embd, V = config_.vocab_size;
  // Few rows at a time: logits are wide.
  const auto most = static_cast<size_t>(std::min<int64_t>(16, rows_));
  thread_local std::vector<float> out;
  for (size_t first = 0; first < wanted_.size(); first += most) {
    const std::span<const LogitRow> some =
        std::span(wanted_).subspan(first, std::min(most, wanted_.size() - first));
    for (size_t i = 0; i < some.size(); ++i)
      std::copy_n(normed_.data() + some[i].row * C, C, delta_.data() + static_cast<int64_t>(i) * C);
    if (some.size() == 1) {
      multiply(model_->head(), delta_.data(), some[0].out, 1);
      continue;
    }
    out.resize(some.size() * static_cast<size_t>(V));
    multiply(model_->head(), delta_.data(), out.data(), static_cast<int64_t>(some.size()));
    for (size_t i = 0; i < some.size(); ++i)
      std::copy_n(out.data() + static_cast<int64_t>(i) * V, V, some[i].out);
  }
}

Decoder::Decoder(const Model& model, const DecoderOptions& options)
    : implementation_(std::make_unique<Implementation>(model, options)) {}
Decoder::Decoder(const nn::Parameters& parameters, const DecoderOptions& options)
    : implementation_(std::make_unique<Implementation>(std::make_unique<const Model>(parameters), options)) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

const Model& Decoder::model() const noexcept {
  return implementation_->model();
}
int64_t Decoder::sequences() const noexcept {
  return implementation_->sequences();
}
int64_t Decoder::capacity() const noexcept {
  return implementation_->capacity();
}
int64_t Decoder::cache_bytes() const noexcept {
  return implementation_->cache_bytes();
}
int64_t Decoder::length(int64_t slot) const {
  return implementation_->pages().length(slot);
}
void Decoder::read(std::span<const Piece> pieces) {
  implementation_->read(pieces);
}
void Decoder::extend(int64_t slot, std::span<const int32_t> tokens) {
  const Piece piece{slot, tokens};
  implementation_->read({&piece, 1});
}
void Decoder::step(std::span<const int64_t> slots, std::span<const int32_t> tokens) {
  CHECK(slots.size() == tokens.size() && !slots.empty());
  std::vector<Piece> pieces;
  for (size_t i = 0; i < slots.size(); ++i) pieces.push_back({slots[i], tokens.subspan(i, 1)});
  implementation_->read(pieces);
}
std::span<const float> Decoder::logits(int64_t slot) const {
  return implementation_->logits(slot);
}
std::span<const float> Decoder::piece_logits(int64_t i) const {
  return implementation_->piece_logits(i);
}
void Decoder::truncate(int64_t slot, int64_t n) {
  implementation_->pages().truncate(slot, n);
}
void Decoder::copy(int64_t from, int64_t to) {
  implementation_->copy(from, to);
}

}  // namespace tumbler::engine
