#include "pipeline/facts.h"

#include "base/error.h"
#include "io/file.h"
#include "io/lines.h"

namespace fs = std::filesystem;

namespace tumbler::pipeline {

std::optional<nlohmann::json> find_json(const fs::path& path) {
  if (!fs::exists(path)) return std::nullopt;
  nlohmann::json json = nlohmann::json::parse(io::read_file(path), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded())
    throw Error("report", "{}: not JSON; run the stage that writes it again", path.string());
  return json;
}

std::vector<nlohmann::json> find_json_lines(const fs::path& path) {
  std::vector<nlohmann::json> lines;
  if (!fs::exists(path)) return lines;
  io::LineReader reader(path);
  while (const auto line = reader.next()) {
    nlohmann::json json = nlohmann::json::parse(*line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_discarded()) lines.push_back(std::move(json));
  }
  return lines;
}

double number(const nlohmann::json& object, const char* key, double otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : otherwise;
}

std::string text(const nlohmann::json& object, const char* key, const std::string& otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : otherwise;
}

TrainingCurves read_curves(const fs::path& path) {
  TrainingCurves curves;
  for (const nlohmann::json& line : find_json_lines(path)) {
    const double step = number(line, "step");
    const auto add = [&](const char* key, std::vector<std::pair<double, double>>& series) {
      if (const auto found = line.find(key); found != line.end() && found->is_number())
        series.emplace_back(step, found->get<double>());
    };
    add("loss", curves.loss);
    add("val_bpb", curves.held_out_bpb);
    add("lr", curves.lr);
    add("grad_norm", curves.grad_norm);
    add("tok_s", curves.tokens_per_second);
    add("percent_of_peak", curves.percent_of_peak);
    curves.held_out_tokens = std::max(curves.held_out_tokens, number(line, "val_tokens"));
    curves.tokens = std::max(curves.tokens, number(line, "tokens"));
    curves.seconds = std::max(curves.seconds, number(line, "elapsed_s"));
    if (text(line, "event") == "sample")
      curves.samples.push_back({static_cast<int64_t>(step), text(line, "prompt"), text(line, "text")});
  }
  return curves;
}

}  // namespace tumbler::pipeline
