// tumbler models: what is here, and what of it this machine can run.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "chat/model_list.h"
#include "cli/commands.h"

namespace tumbler::cli {
namespace {

namespace fs = std::filesystem;
using chat::FoundModel;
using Json = nlohmann::ordered_json;

struct Flags {
  std::vector<std::string> folders;
  bool json = false;
};

std::string size_text(int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  return value >= 1e9 ? fmt::format("{:.1f} GB", value / 1e9) : fmt::format("{:.0f} MB", value / 1e6);
}

std::string count_text(int64_t n) {
  const auto value = static_cast<double>(n);
  if (value >= 1e9) return fmt::format("{:.1f}B", value / 1e9);
  return value >= 1e6 ? fmt::format("{:.0f}M", value / 1e6) : fmt::format("{:.0f}K", value / 1e3);
}

Json to_json(const FoundModel& model, int64_t available, const FoundModel* recommended) {
  if (!model.error.empty()) return {{"path", model.path.string()}, {"error", model.error}};
  return {{"path", model.path.string()},
          {"family", model.family},
          {"parameters", model.parameters},
          {"size_bytes", model.size_bytes},
          {"weights", model.weights},
          {"context", model.context},
          {"memory_bytes", model.needed_bytes()},
          {"fits", model.needed_bytes() <= available},
          {"chat", model.chats},
          {"recommended", &model == recommended}};
}

void print_table(const std::vector<FoundModel>& models, int64_t available) {
  size_t width = 5;
  for (const FoundModel& model : models)
    if (model.error.empty()) width = std::max(width, model.path.string().size());
  std::string out = fmt::format("{:{}}  {:7} {:>10} {:>8}  {:>8}  {:5} {:4}  weights\n", "model", width,
                                "family", "parameters", "on disk", "memory", "fits", "chat");
  for (const FoundModel& m : models)
    if (m.error.empty())
      out += fmt::format("{:{}}  {:7} {:>10} {:>8}  {:>8}  {:5} {:4}  {}\n", m.path.string(), width, m.family,
                         count_text(m.parameters), size_text(m.size_bytes), size_text(m.needed_bytes()),
                         m.needed_bytes() <= available ? "yes" : "no", m.chats ? "yes" : "no", m.weights);
  for (const FoundModel& m : models)
    if (!m.error.empty()) out += fmt::format("{}: cannot be opened: {}\n", m.path.string(), m.error);
  std::fputs(out.c_str(), stdout);
}

void print_advice(const std::vector<FoundModel>& models, const FoundModel* best, int64_t available) {
  std::string line;
  if (models.empty())
    line = "No models here. tumbler pull hf:owner/name brings one to models/.";
  else if (best == nullptr)
    line = fmt::format(
        "None of these fits the {} of memory that are free. A smaller one, or one quantised further "
        "(tumbler convert), may.",
        size_text(available));
  else
    line = fmt::format(
        "{} is what to take: the largest here that fits the {} of memory that are free{}. Try: "
        "tumbler {} --model {}{}",
        best->path.string(), size_text(available),
        best->chats ? " and was made to chat" : "; it continues texts, none here chats",
        best->chats ? "chat" : "generate", best->path.string(),
        best->chats ? "" : " --prompt \"Once upon a time\"");
  std::puts(line.c_str());
}

void run(const Flags& flags) {
  std::vector<std::string> folders = flags.folders;
  if (folders.empty() && fs::is_directory("models")) folders.emplace_back("models");
  const std::vector<FoundModel> models = chat::find_models(folders);
  const int64_t available = chat::available_bytes();
  const FoundModel* best = chat::recommend(models, available);
  if (flags.json) {
    Json list = Json::array();
    for (const FoundModel& model : models) list.push_back(to_json(model, available, best));
    const Json all = {{"memory_available_bytes", available}, {"models", std::move(list)}};
    std::puts(all.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
    return;
  }
  if (!models.empty()) print_table(models, available);
  print_advice(models, best, available);
}

}  // namespace

void add_models(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "models", "What models are here, how large, and which of them this machine can run.");
  command->add_option("FOLDER", flags->folders, "folders to look through, or models; default: models");
  command->add_flag("--json", flags->json, "print JSON");
  command->footer(fmt::format("Memory is that of weights, of keys and values for {} tokens, and some more.",
                              chat::kListedContext));
  command->callback([flags] { run(*flags); });
}

}  // namespace tumbler::cli
