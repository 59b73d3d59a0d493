#include "train/trainer.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include <sys/resource.h>
#include <xxhash.h>

#include "base/error.h"
#include "formats/safetensors.h"
#include "io/file.h"
#include "train/checkpoint.h"

namespace fs = std::filesystem;

namespace tumbler::train {
namespace {

constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr const char* kStateFile = "trainer_state.json";

std::unique_ptr<nn::Parameters> broadcast_weights(std::unique_ptr<nn::Parameters> parameters,
                                                  dist::Group& group) {
  group.broadcast(std::as_writable_bytes(parameters->master()));
  parameters->refresh_copy();
  return parameters;
}

nlohmann::ordered_json read_state_file(const fs::path& checkpoint) {
  const fs::path path = checkpoint / kStateFile;
  auto json = nlohmann::ordered_json::parse(io::read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("step") || !json.contains("state"))
    throw Error("checkpoint", "{}: got something else, expected the state of a training run", path.string());
  return json;
}

}  // namespace

Trainer::Trainer(TrainerOptions options, std::unique_ptr<nn::Parameters> parameters, dist::Group& group)
    : options_(std::move(options)),
      parameters_(broadcast_weights(std::move(parameters), group)),
      group_(group),
      transformer_(*parameters_, options_.transformer),
      optimizer_(options_.optimizer, *parameters_),
      guard_(options_.guard) {
  check_schedule(options_.schedule);
  if (options_.steps < 1) throw Error("train", "steps: got {}, expected 1 or more", options_.steps);
}

StepReport Trainer::step(int64_t micro_batches, const std::function<nn::Batch(int64_t)>& get_batch) {
  parameters_->zero_gradients();
  double loss = 0;
  for (int64_t i = 0; i < micro_batches; ++i) loss += transformer_.forward_backward(get_batch(i));
  group_.sum(parameters_->gradients());
  group_.sum(std::span(&loss, 1));

  const double factor = schedule_multiplier(options_.schedule, step_, options_.steps);
  ++step_;
  StepReport report{step_, loss, std::numeric_limits<double>::quiet_NaN(), options_.optimizer.lr * factor,
                    false};
  if (guard_.judge_loss(step_, loss) == Guard::Verdict::kSkip) return report;
  const nn::StepResult result = optimizer_.step(factor);
  report.grad_norm = result.gradient_norm;
  report.applied = guard_.judge_gradient(step_, loss, result.gradient_norm) == Guard::Verdict::kGood;
  return report;
}

// The ranks apply the same update to the same weights. Where they run on unlike machines that may stop to be
// so, and would go unnoticed.
void Trainer::check_same_weights() {
  if (group_.size() == 1) return;
  const auto bytes = std::as_bytes(parameters_->master());
  const uint64_t own = XXH3_64bits(bytes.data(), bytes.size());
  uint64_t first = own;
  group_.broadcast(std::as_writable_bytes(std::span(&first, 1)));
  double differing = own == first ? 0 : 1;
  group_.sum(std::span(&differing, 1));
  if (differing > 0)
    throw Error(
        "train",
        "step {}: got other weights on {} of {} ranks than on rank 0, expected the same; run all ranks "
        "with the same TUMBLER_ISA and number of threads",
        step_, differing, group_.size());
}

void Trainer::save(const fs::path& run, const nlohmann::ordered_json& state,
                   const std::function<void(const fs::path&)>& write_files) {
  check_same_weights();
  if (group_.rank() == 0) {
    write_checkpoint(run, step_, [&](const fs::path& directory) {
      formats::save_model(directory, *parameters_, options_.files);
      formats::SafetensorsWriter moments;
      for (const nn::StateTensor& t : optimizer_.state())
        moments.add(t.name, {t.rows, t.cols}, t.values, kernels::DType::f32);
      moments.write(directory / kOptimizerFile);
      const nlohmann::ordered_json json = {{"step", step_},
                                           {"optimizer_steps", optimizer_.step_count()},
                                           {"guard", guard_.state()},
                                           {"state", state}};
      io::write_file(directory / kStateFile, json.dump(1) + "\n");
      write_files(directory);
    });
  }
  group_.barrier();
}

nlohmann::ordered_json Trainer::restore(const fs::path& checkpoint) try {
  const nlohmann::ordered_json json = read_state_file(checkpoint);
  formats::LoadedModel loaded =
      formats::load_model(checkpoint, {.dtype = kernels::DType::f32, .gradients = false});
  if (!(loaded.config == parameters_->config()))
    throw Error("checkpoint",
                "{}: got a model of another shape than the recipe's; expected the same. Its shape:\n{}",
                checkpoint.string(), nn::describe(loaded.config));
  const std::span<const float> weights = std::as_const(*loaded.parameters).master();
  std::copy(weights.begin(), weights.end(), parameters_->master().begin());
  parameters_->refresh_copy();
  const formats::SafetensorsFile moments(checkpoint / kOptimizerFile);
  for (const nn::StateTensor& t : optimizer_.state()) {
    const int64_t shape[] = {t.rows, t.cols};
    moments.read(moments.get(t.name, shape), t.values);
  }
  optimizer_.set_step_count(json.at("optimizer_steps"));
  guard_.set_state(json.at("guard"));
  step_ = json.at("step");
  return json.at("state");
} catch (const nlohmann::json::exception& error) {
  throw Error("checkpoint", "{}: {}: {}", checkpoint.string(), kStateFile, error.what());
}

nlohmann::ordered_json read_state(const fs::path& checkpoint) {
  return read_state_file(checkpoint).at("state");
}

int64_t peak_memory_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;  // Linux counts kilobytes
}

}  // namespace tumbler::train
