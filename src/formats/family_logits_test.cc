// Logits of every family against tests/golden/family_logits.json, which tests/golden/make_family_logits.py
// made with two versions of `transformers`: their config.json, tensor names and arithmetic.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/rng.h"
#include "formats/hugging_face.h"
#include "io/file.h"
#include "nn/transformer.h"

namespace tumbler::formats {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The formula of the script.
std::vector<float> values_of(const TensorInfo& info, bool gemma) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : info.name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  const auto contains = [&](const char* part) { return info.name.find(part) != std::string::npos; };
  const bool norm = info.name.ends_with(".weight") && (contains("norm") || contains("ln_"));
  const bool embedding = contains("embed_tokens") || contains(".wte.") || contains(".wpe.");
  std::vector<float> values(static_cast<size_t>(info.count()));
  for (size_t i = 0; i < values.size(); ++i) {
    const double u = static_cast<double>(mix64(hash + i) >> 40) * 0x1p-23 - 1.0;
    values[i] = static_cast<float>(u * (embedding ? 0.5 : 0.25) + (norm && !gemma ? 1.0 : 0.0));
  }
  return values;
}

class FamilyLogits : public testing::TestWithParam<std::pair<std::string, std::string>> {
 protected:
  void TearDown() override { fs::remove_all(directory_); }

  // A directory with the golden config.json and, under the names that we give tensors, the formula's values.
  void make_model(const json& golden, bool gemma) {
    const std::string config = golden.at("config").dump();
    const nn::Parameters shapes(config_from_json(config, "family_logits.json"), {.gradients = false});
    save_model(directory_ / "shapes", shapes, {});
    const SafetensorsFile file(directory_ / "shapes" / "model.safetensors");
    EXPECT_EQ(file.tensors().size(), golden.at("tensors").get<size_t>());
    EXPECT_EQ(shapes.count(), golden.at("parameters").get<int64_t>());
    std::vector<std::vector<float>> values;
    for (const TensorInfo& t : file.tensors()) values.push_back(values_of(t, gemma));
    SafetensorsWriter writer;
    for (size_t i = 0; i < values.size(); ++i)
      writer.add(file.tensors()[i].name, file.tensors()[i].shape, values[i], kernels::DType::f32);
    writer.write(directory_ / "model.safetensors");
    io::write_file(directory_ / "config.json", config);
  }
  fs::path directory_ = fs::temp_directory_path() / fmt::format("tumbler_family_{}", ::getpid());
};

const json& golden_values() {
  static const json values =
      json::parse(io::read_file(TUMBLER_SOURCE_DIR "/tests/golden/family_logits.json"));
  return values;
}

std::vector<std::pair<std::string, std::string>> golden_models() {
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& [version, models] : golden_values().items())
    for (const json& model : models) all.emplace_back(model.at("model").get<std::string>(), version);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Models, FamilyLogits, testing::ValuesIn(golden_models()), [](const auto& test) {
  std::string name = test.param.first + "_by_" + test.param.second;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
});

// Both sides compute in f32. A product of up to 72 terms is off by about sqrt(72) * 6e-8 = 5e-7 of its size,
// 4 of them in each of up to 7 layers add up as a random walk to 2.7e-6 of the residual stream, and so of the
// logits, on each side; 256 logits reach 3 deviations: 3 * sqrt(2) * 2.7e-6 = 1.1e-5 of their root mean
// square. Observed: 4e-6. A factor of the embeddings that is off by 1e-4 gives 3e-4.
TEST_P(FamilyLogits, AreThoseOfTransformers) {
  const json& models = golden_values().at(GetParam().second);
  const json& golden = *std::find_if(models.begin(), models.end(),
                                     [&](const json& m) { return m.at("model") == GetParam().first; });
  make_model(golden, GetParam().first == "gemma3");
  LoadedModel model = load_model(directory_, {.gradients = false});
  const auto tokens = golden.at("tokens").get<std::vector<int32_t>>();
  const auto T = static_cast<int64_t>(tokens.size());
  nn::Transformer transformer(*model.parameters, {.max_tokens = T, .max_time = T, .training = false});
  transformer.forward({.B = 1, .T = T, .tokens = tokens});
  const auto rows = golden.at("rows").get<std::vector<int64_t>>();
  const auto V = static_cast<size_t>(model.config.vocab_size);
  std::vector<float> logits(rows.size() * V);
  transformer.logits(rows, logits);
  double square = 0, largest = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const auto expected = golden.at("logits")[i / V][i % V].get<double>();
    square += expected * expected / static_cast<double>(logits.size());
    largest = std::max(largest, std::abs(static_cast<double>(logits[i]) - expected));
  }
  RecordProperty("relative_difference", fmt::format("{:.1e}", largest / std::sqrt(square)));
  EXPECT_LT(largest, 1.1e-5 * std::sqrt(square));
}

}  // namespace
}  // namespace tumbler::formats
