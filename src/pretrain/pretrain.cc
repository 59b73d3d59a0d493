#include "pretrain/pretrain.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "engine/generate.h"
#include "io/file.h"
#include "io/file_lock.h"
#include "kernels/isa.h"
#include "kernels/peak.h"
#include "pretrain/bits_per_byte.h"
#include "pretrain/window_loader.h"
#include "tokens/shards.h"
#include "tokens/streaming_decoder.h"
#include "tokens/tokenizer_json.h"
#include "train/checkpoint.h"
#include "train/run_log.h"
#include "train/trainer.h"

namespace fs = std::filesystem;

namespace tumbler::pretrain {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void expect(bool good, const char* field, double got, const char* expected) {
  if (!good) throw Error("pretrain", "{}: got {}, expected {}", field, got, expected);
}

void check_config(const PretrainConfig& c) {
  const auto number = [](int64_t x) { return static_cast<double>(x); };
  if (c.data.empty())
    throw Error("pretrain", "data: got none, expected token shards (tumbler tokens build makes them)");
  if (c.tokenizer.empty())
    throw Error("pretrain", "tokenizer: got none, expected the directory of the shards' tokenizer");
  expect(c.sequence_length >= 1 && c.sequence_length <= (1 << 20), "sequence_length",
         number(c.sequence_length), "1 to 1048576");
  expect(c.batch_tokens >= c.sequence_length && c.batch_tokens <= (int64_t{1} << 31), "batch_tokens",
         number(c.batch_tokens), "at least sequence_length, at most 2^31");
  expect(c.micro_batch >= 0, "micro_batch", number(c.micro_batch), "0 or more");
  expect(
      (c.steps > 0) + (c.tokens > 0) + (c.epochs > 0) == 1 && c.steps >= 0 && c.tokens >= 0 && c.epochs >= 0,
      "steps, tokens, epochs", (c.steps != 0) + (c.tokens != 0) + (c.epochs != 0), "one of them, above 0");
  expect(c.log_every >= 1, "log_every", number(c.log_every), "1 or more");
  expect(c.eval_every >= 0 && c.eval_tokens >= 0, "eval_every, eval_tokens", number(c.eval_every),
         "0 or more");
  expect(c.sample_every >= 0 && c.sample_tokens >= 1, "sample_every, sample_tokens", number(c.sample_every),
         "0 or more, 1 or more");
  expect(c.checkpoint_every >= 0, "checkpoint_every", number(c.checkpoint_every), "0 or more");
  expect(c.keep_checkpoints >= 1, "keep_checkpoints", number(c.keep_checkpoints), "1 or more");
  if (c.dtype != "auto" && c.dtype != "f32" && c.dtype != "bf16")
    throw Error("pretrain", "dtype: got '{}', expected auto, f32 or bf16", c.dtype);
  if (c.recompute != "none" && c.recompute != "block")
    throw Error("pretrain", "recompute: got '{}', expected none or block", c.recompute);
  if (c.depth == 0 && c.model.n_layer == 0)
    throw Error(
        "pretrain",
        "got neither depth nor model.n_layer, expected the size of the model; depth=6 is a small one");
  train::check_schedule(c.schedule);
  train::check_guard(c.guard);
}

// Sizes that a recipe may leave out.
void fill_sizes(nn::ModelConfig& model) {
  if (model.n_kv_head == 0) model.n_kv_head = model.n_head;
  if (model.head_dim == 0 && model.n_head > 0) model.head_dim = model.n_embd / model.n_head;
  if (model.n_ff == 0)
    model.n_ff = model.gated() ? nn::round_up<int64_t>(model.n_embd * 8 / 3, 64) : 4 * model.n_embd;
}

// What follows from tokenizer and sequence length.
void complete_model(PretrainConfig& c, const tokens::Tokenizer& tokenizer) {
  // Rows of the head in whole cache lines and tiles; ids that no token has are never predicted.
  if (c.model.vocab_size == 0) c.model.vocab_size = (tokenizer.vocab_size() + 63) / 64 * 64;
  if (c.model.max_positions == 0) c.model.max_positions = c.sequence_length;
  if (c.model.vocab_size < tokenizer.vocab_size())
    throw Error("pretrain", "model.vocab_size: got {}, expected at least the tokenizer's {}",
                c.model.vocab_size, tokenizer.vocab_size());
  if (c.model.max_positions < c.sequence_length)
    throw Error("pretrain", "model.max_positions: got {}, expected at least sequence_length {}",
                c.model.max_positions, c.sequence_length);
  nn::check(c.model, "pretrain.model");
}

kernels::DType get_dtype(const std::string& name) {
  if (name == "auto") return kernels::best_dtype();
  return name == "bf16" ? kernels::DType::bf16 : kernels::DType::f32;
}

// Found at the first evaluation, it would cost the steps before it.
void check_held_out(const std::vector<fs::path>& shards) {
  const auto has_text = [](const fs::path& shard) { return tokens::TokenShardReader(shard).size() > 1; };
  if (!shards.empty() && std::none_of(shards.begin(), shards.end(), has_text))
    throw Error("pretrain",
                "heldout: got {} shards with no text, expected some; hold out a larger fraction (tumbler "
                "tokens build --held-out-fraction), or leave heldout out",
                shards.size());
}

// Begins, resumes or refuses: what is in the output directory decides.
std::optional<train::Checkpoint> prepare_output(const PretrainOptions& options) {
  const bool has_run =
      fs::exists(options.output / "metrics.jsonl") || !train::list_checkpoints(options.output).empty();
  if (has_run && !options.resume)
    throw Error("pretrain",
                "{}: there is a run here already; go on with it with --resume, or choose another --output",
                options.output.string());
  train::remove_leftovers(options.output);
  auto latest = train::find_latest(options.output);
  if (has_run && !latest)
    log::warn("[pretrain] {}: the run has no checkpoint yet; beginning at step 0", options.output.string());
  return latest;
}

// One rank's part of the batches: sequences [first, first + count) of each step's `sequences`.
class BatchReader {
 public:
  BatchReader(WindowLoader& loader, int64_t sequences, int64_t micro, const dist::Group& group)
      : loader_(loader),
        micro_(micro),
        first_(sequences * group.rank() / group.size()),
        count_(sequences * (group.rank() + 1) / group.size() - first_) {
    const auto n = static_cast<size_t>(micro * loader.T());
    tokens_.resize(n);
    targets_.resize(n);
    first_key_.resize(n);
    // The mean over the tokens of the global batch: sums over micro-batches and ranks are the same, however
    // they are cut.
    weights_.assign(n, 1.0f / static_cast<float>(sequences * loader.T()));
  }
  int64_t micro_batches() const noexcept { return (count_ + micro_ - 1) / micro_; }
  nn::Batch read(LoaderPosition position, int64_t index) {
    const int64_t T = loader_.T(), begin = index * micro_, B = std::min(micro_, count_ - begin);
    for (int64_t b = 0; b < B; ++b) {
      const auto row = [&](std::vector<int32_t>& all) { return std::span(all).subspan(b * T, T); };
      loader_.read({position.epoch, position.next + first_ + begin + b}, row(tokens_), row(targets_),
                   row(first_key_));
    }
    const auto n = static_cast<size_t>(B * T);
    return {.B = B,
            .T = T,
            .tokens = std::span(tokens_).first(n),
            .targets = std::span(targets_).first(n),
            .weights = std::span(weights_).first(n),
            .first_key = std::span(first_key_).first(n),
            .positions = {}};
  }

 private:
  WindowLoader& loader_;
  int64_t micro_, first_, count_;
  std::vector<int32_t> tokens_, targets_, first_key_;
  std::vector<float> weights_;
};

int64_t count_steps(const PretrainConfig& c, const WindowLoader& loader, int64_t sequences) {
  if (c.steps > 0) return c.steps;
  const double wanted = c.tokens > 0 ? static_cast<double>(c.tokens) / static_cast<double>(c.sequence_length)
                                     : c.epochs * static_cast<double>(loader.windows(0));
  return std::max<int64_t>(std::llround(std::ceil(wanted / static_cast<double>(sequences))), 1);
}

class Run {
 public:
  Run(PretrainConfig config, const PretrainOptions& options, dist::Group& group, Progress& progress)
      : config_(std::move(config)),
        output_(options.output),
        group_(group),
        progress_(progress),
        tokenizer_(tokens::Tokenizer::load(config_.tokenizer)) {
    check_config(config_);
    complete_model(config_, tokenizer_);
    heldout_ = find_shards(config_.heldout);
    check_held_out(heldout_);
    sequences_ = config_.batch_tokens / config_.sequence_length;
    micro_ =
        config_.micro_batch > 0 ? config_.micro_batch : std::max<int64_t>(8192 / config_.sequence_length, 1);
    micro_ = std::min(micro_, (sequences_ + group.size() - 1) / group.size());
    const std::vector<fs::path> data = find_shards(config_.data);
    for (const fs::path& shard : heldout_)
      if (std::find(data.begin(), data.end(), shard) != data.end())
        throw Error("pretrain", "{}: got it as data and as heldout; expected different shards",
                    shard.string());
    loader_.emplace(data, LoaderOptions{config_.sequence_length, static_cast<uint64_t>(config_.seed),
                                        config_.model.vocab_size, config_.mask_documents});
    steps_ = count_steps(config_, *loader_, sequences_);
    make_trainer();
    begin_or_resume(options);
  }

  PretrainResult loop();

 private:
  void make_trainer();
  void begin_or_resume(const PretrainOptions& options);
  void restore(const train::Checkpoint& checkpoint);
  void log_start();
  train::StepReport train_step();
  void log_step(const train::StepReport& report);
  void evaluate();
  void sample();
  void checkpoint();
  nlohmann::ordered_json state() const;
  bool due(int64_t every) const {
    return trainer_->step_count() == steps_ || (every > 0 && trainer_->step_count() % every == 0);
  }
  double elapsed() const {
    return elapsed_before_ +
           std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  }
  void write(const nlohmann::ordered_json& event) {
    if (log_) log_->write(event);
  }

  PretrainConfig config_;
  const fs::path output_;
  std::optional<io::FileLock> lock_;  // of rank 0
  dist::Group& group_;
  Progress& progress_;
  const tokens::Tokenizer tokenizer_;
  std::vector<fs::path> heldout_;
  int64_t sequences_ = 0, micro_ = 0, steps_ = 0;  // a step; at a time; of the run
  std::optional<WindowLoader> loader_;
  std::optional<train::Trainer> trainer_;
  std::optional<train::RunLog> log_;  // rank 0
  LoaderPosition position_;
  int64_t tokens_ = 0;
  double loss_ = kNaN, val_bpb_ = kNaN;
  double elapsed_before_ = 0, step_seconds_ = 0;  // step_seconds_: in steps since the last line of the log
  double peak_gflop_s_ = 0;
  int64_t step_tokens_ = 0;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

void Run::make_trainer() {
  const kernels::DType dtype = get_dtype(config_.dtype);
  // What all ranks could do together, if each had its cores to itself.
  peak_gflop_s_ = kernels::training_peak_gflop_s(dtype == kernels::DType::bf16) * group_.size();
  auto parameters = std::make_unique<nn::Parameters>(
      config_.model, nn::ParametersOptions{.dtype = dtype, .gradients = true});
  parameters->initialize(static_cast<uint64_t>(config_.seed));
  train::TrainerOptions options;
  options.optimizer = config_.optimizer;
  options.schedule = config_.schedule;
  options.guard = config_.guard;
  options.steps = steps_;
  options.transformer = {
      .max_tokens = micro_ * config_.sequence_length,
      .max_time = config_.sequence_length,
      .training = true,
      .recomputation = config_.recompute == "block" ? nn::Recomputation::block : nn::Recomputation::none,
      .head_chunk_rows = 0};
  if (const auto eos = tokenizer_.eos_id()) {
    // The token that ends a document is what stands before the next one.
    options.files.bos_token_id = *eos;
    options.files.eos_token_ids = {*eos};
  }
  options.files.pad_token_id = tokenizer_.pad_id().value_or(-1);
  trainer_.emplace(std::move(options), std::move(parameters), group_);
}

// Rank 0 looks at the directory (and moves a damaged checkpoint aside); the others are told the step.
void Run::begin_or_resume(const PretrainOptions& options) {
  int64_t step = -1;
  if (group_.rank() == 0) {
    io::make_directories(output_);
    lock_.emplace(output_ / ".lock", "pretrain",
                  "another training is running in it; wait for it or choose another --output");
    if (const auto latest = prepare_output(options)) step = latest->step;
  }
  group_.broadcast(std::as_writable_bytes(std::span(&step, 1)));
  if (step >= 0)
    for (const train::Checkpoint& c : train::list_checkpoints(output_))
      if (c.step == step) restore(c);
  if (group_.rank() == 0) log_.emplace(output_ / "metrics.jsonl", step);
  if (step < 0) log_start();
}

void Run::restore(const train::Checkpoint& checkpoint) {
  const nlohmann::ordered_json state = trainer_->restore(checkpoint.directory);
  const nlohmann::ordered_json now = this->state();
  if (state.at("data_tokens") != now.at("data_tokens"))
    throw Error(
        "pretrain",
        "data: got {} tokens, the checkpoint's run had {}; give the same shards, or begin another run",
        now.at("data_tokens").dump(), state.at("data_tokens").dump());
  for (const auto& [key, value] : now.at("config").items())
    if (const auto& before = state.at("config").value(key, nlohmann::ordered_json()); before != value)
      log::warn("[pretrain] {}: {} in the checkpoint's run, {} from here on", key, before.dump(),
                value.dump());
  position_ = {state.at("epoch"), state.at("next_window")};
  tokens_ = state.at("tokens");
  elapsed_before_ = state.at("elapsed_s");
  loss_ = state.at("loss").is_null() ? kNaN : state.at("loss").get<double>();
  val_bpb_ = state.at("val_bpb").is_null() ? kNaN : state.at("val_bpb").get<double>();
  log::info("[pretrain] resuming at step {} of {} ({})", trainer_->step_count(), steps_,
            checkpoint.directory.string());
}

nlohmann::ordered_json Run::state() const {
  return {{"tokens", tokens_},
          {"epoch", position_.epoch},
          {"next_window", position_.next},
          {"data_tokens", loader_->tokens()},
          {"loss", loss_},
          {"val_bpb", val_bpb_},
          {"elapsed_s", elapsed()},
          {"config", config::to_json(config_)}};
}

void Run::log_start() {
  const int64_t T = config_.sequence_length, parameters = trainer_->parameters().count();
  log::info("[pretrain] {}", kernels::describe_machine());
  log::info("[pretrain] {}", nn::describe(config_.model));
  log::info(
      "[pretrain] {} steps of {} windows of {} tokens ({} at a time on each of {} ranks), {:.2f} epochs of "
      "{} tokens",
      steps_, sequences_, T, micro_, group_.size(),
      static_cast<double>(steps_ * sequences_) / static_cast<double>(loader_->windows(0)), loader_->tokens());
  write({{"event", "start"},
         {"step", 0},
         {"steps", steps_},
         {"parameters", parameters},
         {"flops_per_token", nn::flops_per_token(config_.model, T)},
         {"ranks", group_.size()},
         {"machine", kernels::describe_machine()},
         {"config", config::to_json(config_)}});
  if (config_.sample_every > 0) sample();
}

train::StepReport Run::train_step() {
  const auto begin = std::chrono::steady_clock::now();
  BatchReader reader(*loader_, sequences_, micro_, group_);
  const train::StepReport report =
      trainer_->step(reader.micro_batches(), [&](int64_t i) { return reader.read(position_, i); });
  position_ = loader_->advance(position_, sequences_);
  step_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  step_tokens_ += sequences_ * config_.sequence_length;
  tokens_ += sequences_ * config_.sequence_length;
  loss_ = report.loss;
  return report;
}

void Run::log_step(const train::StepReport& report) {
  const double rate = static_cast<double>(step_tokens_) / std::max(step_seconds_, 1e-9);
  write({{"event", "step"},
         {"step", report.step},
         {"loss", report.loss},
         {"grad_norm", report.grad_norm},
         {"lr", report.lr},
         {"applied", report.applied},
         {"tokens", tokens_},
         {"tok_s", rate},
         {"percent_of_peak",
          100 * rate * nn::flops_per_token(config_.model, config_.sequence_length) * 1e-9 / peak_gflop_s_},
         {"elapsed_s", elapsed()},
         {"memory_bytes", train::peak_memory_bytes()}});
  step_seconds_ = 0;
  step_tokens_ = 0;
}

void Run::evaluate() {
  const HeldOutOptions options{micro_, config_.sequence_length, config_.eval_tokens, config_.mask_documents};
  const BitsPerByte bpb =
      evaluate_bits_per_byte(trainer_->transformer(), heldout_, tokenizer_.byte_lengths(), options, group_);
  val_bpb_ = bpb.value;
  write({{"event", "eval"},
         {"step", trainer_->step_count()},
         {"val_bpb", bpb.value},
         {"val_bpb_low", bpb.low},
         {"val_bpb_high", bpb.high},
         {"val_loss", bpb.loss},
         {"val_tokens", bpb.tokens},
         {"val_bytes", bpb.bytes},
         {"tokens", tokens_},
         {"elapsed_s", elapsed()}});
}

// Each prompt once, with the same seed at each step: what changes is the model.
void Run::sample() {
  if (group_.rank() != 0 || config_.sample_prompts.empty()) return;
  const auto eos = tokenizer_.eos_id();
  engine::GenerateOptions options{.sampling = {.temperature = 0.8, .top_k = 0, .top_p = 0.95, .min_p = 0},
                                  .seed = static_cast<uint64_t>(config_.seed),
                                  .max_tokens = config_.sample_tokens,
                                  .stop_tokens = {},
                                  .top_log_probs = 0};
  if (eos) options.stop_tokens.push_back(*eos);
  engine::Decoder decoder(trainer_->parameters(), {.sequences = 1, .capacity = 0, .chunk = 512});
  for (const std::string& prompt : config_.sample_prompts) {
    std::vector<int32_t> ids;
    if (eos) ids.push_back(*eos);
    for (const int32_t id : tokenizer_.encode(prompt)) ids.push_back(id);
    if (ids.empty()) ids.push_back(0);
    tokens::StreamingDecoder text(tokenizer_);
    std::string out;
    const auto generations = engine::generate(decoder, std::span(&ids, 1), options);
    for (const engine::TokenChoice& choice : generations[0].tokens)
      if (tokenizer_.has(choice.id) && choice.id < tokenizer_.vocab_size()) out += text.push(choice.id);
    out += text.flush();
    write({{"event", "sample"}, {"step", trainer_->step_count()}, {"prompt", prompt}, {"text", out}});
  }
}

void Run::checkpoint() {
  if (log_) log_->sync();
  trainer_->save(output_, state(),
                 [this](const fs::path& directory) { tokens::save_tokenizer(tokenizer_, directory); });
  if (group_.rank() == 0) train::remove_old_checkpoints(output_, config_.keep_checkpoints);
}

PretrainResult Run::loop() {
  if (trainer_->step_count() > steps_)
    throw Error("pretrain",
                "steps: got {}, but the run in {} has done {}; choose more steps or another output", steps_,
                output_.string(), trainer_->step_count());
  progress_.start("pretrain", steps_, "steps");
  progress_.update(trainer_->step_count());
  while (trainer_->step_count() < steps_) {
    const train::StepReport report = train_step();
    if (due(config_.log_every)) log_step(report);
    if (!heldout_.empty() && due(config_.eval_every)) evaluate();
    if (config_.sample_every > 0 && due(config_.sample_every)) sample();
    if (due(config_.checkpoint_every)) checkpoint();
    progress_.update(report.step, std::isnan(val_bpb_) ? fmt::format("loss {:.3f}", report.loss)
                                                       : fmt::format("loss {:.3f}  {:.3f} bits per byte",
                                                                     report.loss, val_bpb_));
  }
  progress_.finish();
  return {.steps = trainer_->step_count(),
          .tokens = tokens_,
          .parameters = trainer_->parameters().count(),
          .loss = loss_,
          .val_bpb = val_bpb_,
          .checkpoint = output_ / fmt::format("step_{:06}", trainer_->step_count())};
}

}  // namespace

PretrainConfig config_from_json(const nlohmann::json& table, std::string_view where) {
  PretrainConfig config;
  config::from_json(config, table, where);
  if (config.depth > 0 && config.model.family != "qwen3")
    throw Error(
        where, "model.family: got '{}' with depth, which makes qwen3 models; give the sizes in model instead",
        config.model.family);
  config.model = config.depth > 0 ? nn::qwen3_from_depth(config.depth, 64, 64)
                                  : nn::family_defaults(config.model.family);
  config.model.vocab_size = config.model.max_positions = 0;
  if (table.contains("model"))
    config::from_json(config.model, table["model"], fmt::format("{}.model", where));
  fill_sizes(config.model);
  check_config(config);
  return config;
}

PretrainResult run(PretrainConfig config, const PretrainOptions& options, dist::Group& group,
                   Progress& progress) {
  return Run(std::move(config), options, group, progress).loop();
}

}  // namespace tumbler::pretrain
