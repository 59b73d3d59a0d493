// The data stage: pages in, FineWeb-grade documents out.
//
//   OUTPUT/manifest.json               inputs with sizes, options, parts: frozen by the first run
//   OUTPUT/parts/NNNNN.*               one part's documents, removed pages, band keys and counts (until the
//   merge) OUTPUT/documents/NNNNN.jsonl.zst   the documents, FineWeb's fields OUTPUT/removed/NNNNN.jsonl.zst
//   what was dropped: url, filter, reason, detail, the text's head OUTPUT/funnel.json                 counts
//   by filter and reason; its presence says that the build is whole
//
// A part is a run of input files of up to `part_bytes` or one larger file. Parts are independent, so rank r
// of w makes parts r, r + w, …; the merge removes near-duplicates over all parts. Every file appears by
// rename and is a function of the inputs and options alone: not of threads, ranks or kills. Finished parts
// are not made again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "text/funnel.h"
#include "text/recipe.h"

namespace tumbler::text {

struct BuildConfig {
  std::vector<std::string> inputs;  // paths or patterns
  std::filesystem::path output;
  std::string recipe = "fineweb-2024";
  FilterOptions options;
  int64_t rank = 0, world = 1;
  bool merge_only = false;                 // after all ranks: dedup and the final files
  int threads = 0;                         // 0: one a processor
  int64_t memory_mb = 1024;                // for pages in flight and for dedup's sorting
  int64_t part_bytes = int64_t{64} << 20;  // input files are put together into parts of up to this
};

struct BuildResult {
  bool was_done = false;  // nothing had to be made
  bool whole = false;     // the merge is done (not so for one rank of several)
  int64_t parts = 0, parts_made = 0;
  Funnel funnel;  // of the whole build, or of this rank's parts
};

// Throws Error: no input matches; the output holds another build; no page was kept; a file cannot be written.
BuildResult build(const BuildConfig& config, Progress& progress);

struct InputFile {
  std::string path;
  int64_t size_bytes = 0;
};

// What a build directory says of itself.
struct Manifest {
  std::string recipe;
  FilterOptions options;
  std::vector<InputFile> inputs;
  struct Part {
    int64_t first = 0, count = 0;  // into inputs
  };
  std::vector<Part> parts;
};
Manifest read_manifest(const std::filesystem::path& output);
Funnel read_funnel(const std::filesystem::path& output);

namespace detail {
constexpr size_t kExcerptBytes = 400;  // of a dropped page's text

std::filesystem::path part_path(const std::filesystem::path& folder, int64_t part, std::string_view ending);
// Makes the parts in `parts`; called by build().
void make_parts(const Manifest& manifest, const std::filesystem::path& output, std::span<const int64_t> parts,
                int threads, int64_t memory_mb, Progress& progress);
// Dedup over all parts, PII, the final files; called by build().
Funnel merge_parts(const Manifest& manifest, const std::filesystem::path& output, int threads,
                   int64_t memory_mb, Progress& progress);
// The counts that a finished part left, where its files are all there with the sizes that it noted.
std::optional<Funnel> finished_part(const std::filesystem::path& output, int64_t part);
std::string removed_json_line(const std::string& url, const std::string& id, const std::string& file_path,
                              int64_t position, std::string_view filter, const Reason& reason,
                              const LanguageGuess& language, std::string_view text);
}  // namespace detail

}  // namespace tumbler::text
