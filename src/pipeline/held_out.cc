#include "pipeline/held_out.h"

#include <fmt/format.h>

#include "io/file.h"
#include "io/lines.h"
#include "pipeline/compressors.h"
#include "pipeline/facts.h"
#include "tokens/build.h"

namespace fs = std::filesystem;

namespace tumbler::pipeline {
namespace {

// The documents that were trained on, one after the other; of more than a compressor can look back on, the
// last.
std::string training_text(const RunLayout& layout, double held_out_fraction) {
  std::string all;
  for (const fs::path& path : io::glob((layout.data() / "documents" / "*.jsonl.zst").string())) {
    io::LineReader reader(path);
    while (const auto line = reader.next()) {
      const auto document = nlohmann::json::parse(*line, nullptr, /*allow_exceptions=*/false);
      if (document.is_discarded()) continue;
      const std::string body = text(document, "text");
      if (!tokens::is_held_out(text(document, "id"), body, held_out_fraction)) all += body + "\n";
      if (all.size() > 2 * kLongestWindow) all.erase(0, all.size() - kLongestWindow);
    }
  }
  return all;
}

bool is_current(const fs::path& made, const std::vector<fs::path>& from) {
  if (!fs::exists(made)) return false;
  for (const fs::path& path : from)
    if (fs::exists(path) && fs::last_write_time(path) > fs::last_write_time(made)) return false;
  return true;
}

}  // namespace

nlohmann::json held_out_facts(const RunLayout& layout) {
  const fs::path held_out = layout.tokens() / "held_out.txt", bpb = layout.facts() / "bpb.jsonl",
                 made = layout.facts() / "held_out.json";
  const auto manifest = find_json(layout.tokens() / "manifest.json");
  if (!manifest || !fs::exists(held_out)) return nlohmann::json::object();
  if (is_current(made, {held_out, bpb})) return *find_json(made);
  const io::MappedFile file(held_out);
  nlohmann::json results = nlohmann::json::array();
  for (const Compressed& c :
       compress_baselines(file.text(), training_text(layout, number(*manifest, "held_out_fraction"))))
    results.push_back(
        {{"name", c.name}, {"kind", "compressor"}, {"bits_per_byte", c.bits_per_byte}, {"detail", ""}});
  for (const nlohmann::json& line : find_json_lines(bpb))
    if (text(line, "task") == "bpb")
      results.push_back({{"name", "the base model"},
                         {"kind", "model"},
                         {"bits_per_byte", number(line, "value")},
                         {"detail", fmt::format("95 % interval {:.3f} to {:.3f}", number(line, "low"),
                                                number(line, "high"))}});
  nlohmann::json facts = {{"bytes", file.text().size()}, {"results", std::move(results)}};
  io::make_directories(layout.facts());
  io::write_file(made, facts.dump(2) + "\n");
  return facts;
}

}  // namespace tumbler::pipeline
