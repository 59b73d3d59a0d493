// Reads the JSON files that the stages leave behind, for the report. Absent files are normal (a stage that
// was not run).
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace tumbler::pipeline {

// The file's JSON; nothing where there is no such file. Throws Error where it is not JSON.
std::optional<nlohmann::json> find_json(const std::filesystem::path& path);
// The lines of a JSONL file; a last line that a kill cut off is left out.
std::vector<nlohmann::json> find_json_lines(const std::filesystem::path& path);

double number(const nlohmann::json& object, const char* key, double otherwise = 0);
std::string text(const nlohmann::json& object, const char* key, const std::string& otherwise = "");

// What metrics.jsonl says about a training run, as series over steps.
struct TrainingCurves {
  std::vector<std::pair<double, double>> loss, held_out_bpb, lr, grad_norm, tokens_per_second,
      percent_of_peak;
  struct Sample {
    int64_t step = 0;
    std::string prompt, text;
  };
  std::vector<Sample> samples;
  double tokens = 0, seconds = 0, held_out_tokens = 0;
};
TrainingCurves read_curves(const std::filesystem::path& metrics_jsonl);

}  // namespace tumbler::pipeline
