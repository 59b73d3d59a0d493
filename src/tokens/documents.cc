#include "tokens/documents.h"

#include <vector>

#include <simdjson.h>

#include "io/file.h"
#include "io/lines.h"

namespace fs = std::filesystem;

namespace tumbler::tokens {
namespace {

bool is_compressed(const fs::path& path) {
  return path.extension() == ".zst" || path.extension() == ".gz";
}

// Null, or why the line is no document.
const char* parse_line(simdjson::dom::parser& parser, const std::string& line, InputDocument& out) {
  simdjson::dom::element root;
  simdjson::dom::object object;
  std::string_view value;
  if (parser.parse(line).get(root) != simdjson::SUCCESS || root.get(object) != simdjson::SUCCESS)
    return "not_json";
  if (object.at_key("text").get(value) != simdjson::SUCCESS) return "no_text";
  out.text = value;
  if (object.at_key("id").get(value) == simdjson::SUCCESS && !value.empty())
    out.id = value;
  else if (object.at_key("url").get(value) == simdjson::SUCCESS)
    out.id = value;
  return nullptr;
}

class Batches {
 public:
  Batches(int threads, const std::function<void(std::span<InputDocument>)>& use)
      : threads_(threads), use_(use) {}

  void flush() {
    const auto n = static_cast<int64_t>(lines_.size());
    std::vector<InputDocument> parsed(lines_.size());
    std::vector<const char*> reasons(lines_.size());
#pragma omp parallel num_threads(threads_)
    {
      simdjson::dom::parser parser;
#pragma omp for schedule(dynamic, 64)
      for (int64_t i = 0; i < n; ++i) {
        const auto k = static_cast<size_t>(i);
        reasons[k] = parse_line(parser, lines_[k], parsed[k]);
      }
    }
    std::vector<InputDocument> kept;
    kept.reserve(parsed.size());
    for (size_t i = 0; i < parsed.size(); ++i) {
      if (reasons[i] != nullptr)
        ++counts_.dropped[reasons[i]];
      else
        kept.push_back(std::move(parsed[i]));
    }
    lines_.clear();
    bytes_ = 0;
    give(kept);
  }

  void add_line(std::string_view line, int64_t batch_bytes) {
    if (line.empty()) return;
    lines_.emplace_back(line);
    bytes_ += static_cast<int64_t>(line.size());
    if (bytes_ >= batch_bytes) flush();
  }

  void give(std::vector<InputDocument>& documents) {
    counts_.documents += static_cast<int64_t>(documents.size());
    for (const InputDocument& document : documents)
      counts_.text_bytes += static_cast<int64_t>(document.text.size());
    if (!documents.empty()) use_(documents);
  }

  const DocumentCounts& counts() const {
    return counts_;
  }

 private:
  int threads_;
  const std::function<void(std::span<InputDocument>)>& use_;
  std::vector<std::string> lines_;
  int64_t bytes_ = 0;
  DocumentCounts counts_;
};

std::string read_text(const fs::path& path) {
  if (!is_compressed(path)) return io::read_file(path);
  io::LineReader reader(path);
  std::string text;
  while (const auto line = reader.next()) text.append(*line) += '\n';
  return text;
}

}  // namespace

bool is_json_lines(const fs::path& path) {
  const std::string name = is_compressed(path) ? path.stem().extension().string() : path.extension().string();
  return name == ".jsonl" || name == ".json" || name == ".ndjson";
}

DocumentCounts for_each_batch(const fs::path& path, int64_t batch_bytes, int threads,
                              const std::function<void(std::span<InputDocument>)>& use) {
  Batches batches(threads, use);
  if (!is_json_lines(path)) {
    std::vector<InputDocument> one(1);
    one[0] = {read_text(path), path.filename().string()};
    batches.give(one);
    return batches.counts();
  }
  io::LineReader reader(path);
  while (const auto line = reader.next()) batches.add_line(*line, batch_bytes);
  batches.flush();
  return batches.counts();
}

}  // namespace tumbler::tokens
