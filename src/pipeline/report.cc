#include "pipeline/report.h"

#include <cmath>
#include <map>
#include <thread>

#include "base/error.h"
#include "io/file.h"
#include "pipeline/facts.h"
#include "pipeline/held_out.h"
#include "pipeline/page.h"
#include "pipeline/report_data.h"
#include "pipeline/runner.h"
#include "pipeline/svg.h"

namespace fs = std::filesystem;

namespace tumbler::pipeline {
namespace {

std::string missing(std::string_view what) {
  return fmt::format("<p class='note'>{} has not been run yet.</p>", escape_html(what));
}

std::string stages_section(const std::vector<StageRecord>& records, const TrainingCurves& curves) {
  if (records.empty()) return missing("The pipeline");
  std::vector<std::vector<std::string>> rows = {{"stage", "what", "time", "cores busy", "memory", "rate"}};
  std::vector<Bar> bars;
  for (const StageRecord& r : records) {
    const double busy =
        r.seconds > 0 ? 100 * r.cpu_seconds / (r.seconds * static_cast<double>(r.threads)) : 0;
    std::string rate;
    if (r.name == "pretrain" && !curves.percent_of_peak.empty()) {
      double sum = 0;
      for (const auto& [step, percent] : curves.percent_of_peak) sum += percent;
      rate = fmt::format("{:.0f} % of the machine's arithmetic peak",
                         sum / static_cast<double>(curves.percent_of_peak.size()));
    }
    rows.push_back({escape_html(r.name), escape_html(r.title), human_seconds(r.seconds),
                    fmt::format("{:.0f} %", busy), human_bytes(static_cast<double>(r.peak_rss_bytes)), rate});
    bars.push_back({r.name, human_seconds(r.seconds), r.seconds, 0, r.title});
  }
  std::string commands;
  for (const StageRecord& r : records) commands += shell_line(r.command) + "\n";
  return bar_chart(bars) + "<div class='stages'>" + table(rows, {2, 3, 4}) + "</div>" +
         fmt::format("<details><summary>The commands</summary><pre>{}</pre></details>",
                     escape_html(commands));
}

std::string training_section(const RunLayout& layout, const TrainingCurves& curves) {
  const auto config = find_json(layout.facts() / "model.json");
  if (curves.loss.empty()) return missing("Training");
  std::string out;
  if (config) {
    std::vector<std::vector<std::string>> rows = {{"", ""}};
    for (const auto& [key, value] : config->items())
      rows.push_back(
          {escape_html(key), escape_html(value.is_string() ? value.get<std::string>() : value.dump())});
    out += fmt::format("<details><summary>The model and how it is trained</summary>{}</details>",
                       table(rows, {}));
  }
  out += line_chart({{"training", curves.loss}}, {"step", "loss (nats per token) on the batch just seen"});
  const auto tokens = find_json(layout.tokens() / "manifest.json").value_or(nlohmann::json::object());
  const double all = number(tokens.value("held_out", nlohmann::json::object()), "tokens");
  out += line_chart(
      {{"held out", curves.held_out_bpb, true}},
      {"step",
       curves.held_out_tokens + 1 < all  // the first token is not predicted
           ? fmt::format("bits per byte on the first {} of {} held-out tokens (on all of them: below)",
                         human_count(curves.held_out_tokens), human_count(all))
           : "bits per byte on held-out pages"});
  out += line_chart({{"learning rate", curves.lr}}, {"step", "learning rate", false, true});
  out += line_chart({{"gradient norm", curves.grad_norm}},
                    {"step", "gradient norm, before clipping", false, true});
  out += line_chart({{"tokens per second", curves.tokens_per_second}},
                    {"step", "tokens per second", false, true});
  return out;
}

std::string samples_section(const TrainingCurves& curves) {
  if (curves.samples.empty()) return missing("Sampling");
  // A few steps of each prompt, spread over the run.
  std::map<std::string, std::vector<const TrainingCurves::Sample*>> by_prompt;
  for (const auto& sample : curves.samples) by_prompt[sample.prompt].push_back(&sample);
  std::string out = "<p>The same prompts, continued as training went on.</p>";
  for (const auto& [prompt, samples] : by_prompt) {
    out += fmt::format("<h3>“{}”</h3>", escape_html(prompt));
    std::vector<std::vector<std::string>> rows = {{"step", "continuation"}};
    const size_t shown = std::min<size_t>(6, samples.size());
    for (size_t i = 0; i < shown; ++i) {
      const auto& sample = *samples[shown == 1 ? 0 : i * (samples.size() - 1) / (shown - 1)];
      rows.push_back(
          {fmt::format("{}", sample.step), fmt::format("<div class='text'><b>{}</b>{}</div>",
                                                       escape_html(prompt), escape_html(sample.text))});
    }
    out += table(rows, {0});
  }
  return out;
}

std::string compression_section(const nlohmann::json& facts) {
  if (facts.empty()) return missing("The comparison on held-out text");
  std::vector<Bar> bars;
  for (const nlohmann::json& row : facts.value("results", nlohmann::json::array()))
    bars.push_back({text(row, "name"), fmt::format("{:.3f} bits/byte", number(row, "bits_per_byte")),
                    number(row, "bits_per_byte"), text(row, "kind") == "model" ? 1 : 0, text(row, "detail")});
  return fmt::format(
             "<p>How many bits each needs for a byte of the same {} of pages that no training step has seen. "
             "A model that predicts "
             "well compresses well (Shannon 1948); fewer is better.</p>",
             human_bytes(number(facts, "bytes"))) +
         bar_chart(bars) +
         "<p class='note'>The compressors start knowing nothing, except where it says that they were given "
         "the training text; the "
         "model's own size is not counted.</p>";
}

// One completion, each token shaded by its probability, with what else was likely.
std::string completion(const std::string& prompt, const std::vector<nlohmann::json>& tokens) {
  std::string shaded;
  std::vector<std::vector<std::string>> rows = {{"chosen", "probability", "what the model thought likely"}};
  for (const nlohmann::json& token : tokens) {
    const double p = std::exp(number(token, "logprob"));
    std::string others;
    for (const nlohmann::json& top : token.value("top", nlohmann::json::array()))
      others += fmt::format("<code>{}</code>&nbsp;{:.0f}&nbsp;% &nbsp; ", escape_html(text(top, "token")),
                            100 * std::exp(number(top, "logprob")));
    shaded +=
        fmt::format("<span class='p' style='background:rgba(var(--hot),{:.2f})' title='{:.0f} %'>{}</span>",
                    0.45 * (1 - p), 100 * p, escape_html(text(token, "token")));
    rows.push_back({fmt::format("<code>{}</code>", escape_html(text(token, "token"))),
                    fmt::format("{:.1f} %", 100 * p), others});
  }
  return fmt::format(
      "<div class='text'><b>{}</b>{}</div><details><summary>Token by token</summary>{}</details>",
      escape_html(prompt), shaded, table(rows, {1}));
}

std::string completions_section(const RunLayout& layout) {
  std::string out;
  for (const fs::path& path : io::glob((layout.facts() / "completion_*.jsonl").string())) {
    std::vector<nlohmann::json> tokens;
    std::string prompt;
    for (nlohmann::json& line : find_json_lines(path)) {
      if (line.contains("prompt")) prompt = text(line, "prompt");
      if (line.contains("logprob")) tokens.push_back(std::move(line));
    }
    if (!tokens.empty()) out += completion(prompt, tokens);
  }
  if (out.empty()) return missing("Generation");
  return "<p>A base model continues text; it answers nothing yet. The darker a token, the less likely the "
         "model had found it.</p>" +
         out;
}

std::string summary(const RunLayout& layout, const std::vector<StageRecord>& records,
                    const TrainingCurves& curves, const nlohmann::json& facts) {
  std::vector<Card> list;
  double seconds = 0;
  for (const StageRecord& r : records) seconds += r.seconds;
  if (seconds > 0) list.push_back({human_seconds(seconds), "from the crawl to the base model"});
  for (Card& card : data_cards(layout)) list.push_back(std::move(card));
  if (curves.tokens > 0) list.push_back({human_count(curves.tokens), "tokens trained on"});
  double model = 0, xz = 0;
  for (const nlohmann::json& row : facts.value("results", nlohmann::json::array())) {
    if (text(row, "kind") == "model") model = number(row, "bits_per_byte");
    if (text(row, "name") == "xz -9") xz = number(row, "bits_per_byte");
  }
  if (model > 0)
    list.push_back(
        {fmt::format("{:.3f}", model), fmt::format("bits per byte on held-out pages (xz -9: {:.3f})", xz)});
  return cards(list);
}

}  // namespace

std::string render_report(const RunLayout& layout) {
  const auto records = read_records(layout.run);
  const TrainingCurves curves = read_curves(layout.base() / "metrics.jsonl");
  if (records.empty() && curves.loss.empty())
    throw Error("report",
                "{}: holds no run (no pipeline/*.json, no base/metrics.jsonl); start one with `tumbler "
                "pipeline run RECIPE.toml`",
                layout.run.string());
  const auto run = find_json(layout.run / "pipeline" / "run.info").value_or(nlohmann::json::object());
  const nlohmann::json facts = held_out_facts(layout);
  std::string body = summary(layout, records, curves, facts);
  body +=
      "<nav><a href='#stages'>Stages</a><a href='#data'>Data</a><a href='#tokens'>Tokens</a><a "
      "href='#training'>Training</a><a "
      "href='#samples'>Samples</a><a href='#heldout'>Held-out text</a><a href='#prompt'>Prompting "
      "it</a></nav>";
  body += section("stages", "What was done, and what it took", stages_section(records, curves));
  body += section("data", "From pages to text", data_section(layout));
  body += section("tokens", "From text to tokens", tokens_section(layout));
  body += section("training", "Training the base model", training_section(layout, curves));
  body += section("samples", "Watching it learn", samples_section(curves));
  body += section("heldout", "How well it predicts pages it has not seen", compression_section(facts));
  body += section("prompt", "Prompting the base model", completions_section(layout));
  return html_page(text(run, "title", "A base model from a crawl"), text(run, "machine"), body);
}

}  // namespace tumbler::pipeline
