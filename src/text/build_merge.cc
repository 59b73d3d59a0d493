// The second step of a build: near-duplicates over all parts, personal data, the final files.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>
#include <unordered_map>

#include "base/error.h"
#include "io/file.h"
#include "io/lines.h"
#include "text/build.h"
#include "text/code_points.h"
#include "text/dedup.h"
#include "text/document.h"
#include "text/pii.h"

namespace fs = std::filesystem;

namespace tumbler::text {
namespace {

struct Kept {
  std::string url, id;
  int64_t size = 1;
};

// One part at a time, from parts/ to documents/ and removed/.
class Merger {
 public:
  Merger(const Manifest& manifest, const fs::path& output, Duplicates duplicates)
      : output_(output), duplicates_(std::move(duplicates)), pii_(manifest.options.pii) {
    for (size_t i = 0; i < duplicates_.first.size(); ++i)
      if (duplicates_.first[i] != i) ++clusters_[duplicates_.first[i]].size;
  }

  // Names the documents that duplicates are duplicates of.
  void read_names(int64_t part) {
    const auto [begin, end] = range(part);
    bool any = false;
    for (int64_t i = begin; i < end && !any; ++i) any = clusters_.contains(static_cast<uint32_t>(i));
    if (!any) return;
    for_each_document(part, [&](int64_t i, const Document& document) {
      const auto cluster = clusters_.find(static_cast<uint32_t>(i));
      if (cluster == clusters_.end()) return;
      cluster->second.url = document.url;
      cluster->second.id = document.id;
    });
  }

  Funnel write(int64_t part) const {
    io::LineWriter documents(detail::part_path(output_ / "documents", part, ".jsonl.zst"));
    io::LineWriter removed(detail::part_path(output_ / "removed", part, ".jsonl.zst"));
    Funnel funnel;
    io::LineReader before(detail::part_path(output_ / "parts", part, ".removed.jsonl.zst"));
    while (const auto line = before.next()) removed.write_line(*line);
    for_each_document(part, [&](int64_t i, Document& document) {
      const auto bytes = static_cast<int64_t>(document.text.size());
      const uint32_t first = duplicates_.first[static_cast<size_t>(i)];
      const bool duplicate = first != i;
      funnel.add_document(bytes, count_code_points(document.text), duplicate);
      if (duplicate) {
        const Kept& kept = clusters_.at(first);
        removed.write_line(detail::removed_json_line(
            document.url, document.id, document.file_path, -1, name_of(Filter::kMinhash),
            {"duplicate", fmt::format("of {} ({}), {} in the cluster", kept.url, kept.id, kept.size)},
            {document.language, document.language_score}, document.text));
        return;
      }
      const PiiReplacer::Counts counts = pii_.replace(document.text, document.id);
      funnel.emails += counts.emails, funnel.ips += counts.ips;
      funnel.documents_with_pii += counts.emails + counts.ips > 0 ? 1 : 0;
      documents.write_line(to_json_line(document));
    });
    documents.commit();
    removed.commit();
    return funnel;
  }

  std::map<int64_t, int64_t> cluster_sizes() const {
    std::map<int64_t, int64_t> sizes;
    for (const auto& [first, kept] : clusters_) ++sizes[kept.size];
    return sizes;
  }

  // The largest clusters, of equals the first.
  nlohmann::ordered_json largest_clusters(size_t most) const {
    std::vector<std::pair<int64_t, uint32_t>> order;
    for (const auto& [first, kept] : clusters_) order.emplace_back(-kept.size, first);
    std::sort(order.begin(), order.end());
    nlohmann::ordered_json out = nlohmann::ordered_json::array();
    for (size_t i = 0; i < std::min(most, order.size()); ++i) {
      const Kept& kept = clusters_.at(order[i].second);
      out.push_back({{"url", kept.url}, {"id", kept.id}, {"documents", kept.size}});
    }
    return out;
  }

 private:
  std::pair<int64_t, int64_t> range(int64_t part) const {
    return {duplicates_.part_begin[static_cast<size_t>(part)],
            duplicates_.part_begin[static_cast<size_t>(part) + 1]};
  }

  template <class Visit>
  void for_each_document(int64_t part, Visit visit) const {
    const fs::path path = detail::part_path(output_ / "parts", part, ".documents.jsonl.zst");
    const auto damaged = [&](std::string_view why) {
      throw Error("data build", "{}: {}; remove {} and run the build again", path.string(), why,
                  detail::part_path(output_ / "parts", part, ".json").string());
    };
    auto [i, end] = range(part);
    io::LineReader reader(path);
    while (const auto line = reader.next()) {
      Result<Document> document = from_json_line(*line);
      if (!document) damaged(document.reason().detail);
      if (i == end) damaged("more documents than band keys");
      visit(i++, *document);
    }
    if (i != end) damaged("fewer documents than band keys");
  }

  fs::path output_;
  Duplicates duplicates_;
  PiiReplacer pii_;
  std::unordered_map<uint32_t, Kept> clusters_;  // by their first document
};

Duplicates no_duplicates(std::span<const fs::path> band_files, int64_t bands, int threads) {
  Duplicates out =
      find_duplicates(band_files, bands, 1 << 20, threads);  // no keys were written: only the numbering
  std::iota(out.first.begin(), out.first.end(), 0u);
  return out;
}

}  // namespace

Funnel detail::merge_parts(const Manifest& manifest, const fs::path& output, int threads, int64_t memory_mb,
                           Progress& progress) {
  const auto parts = static_cast<int64_t>(manifest.parts.size());
  std::vector<fs::path> band_files;
  Funnel total;
  for (int64_t part = 0; part < parts; ++part) {
    band_files.push_back(part_path(output / "parts", part, ".bands"));
    const std::optional<Funnel> counts = finished_part(output, part);
    if (!counts) throw Error("data build", "part {} is not whole; run the build again", part);
    total.merge(*counts);
  }
  const MinhashOptions& o = manifest.options.minhash;
  Merger merger(manifest, output,
                o.enabled ? find_duplicates(band_files, o.bands, memory_mb << 20, threads)
                          : no_duplicates(band_files, o.bands, threads));
  io::make_directories(output / "documents");
  io::make_directories(output / "removed");
  progress.start("dedup", parts, "parts");
  for (int64_t part = 0; part < parts; ++part) merger.read_names(part);
  std::vector<Funnel> funnels(static_cast<size_t>(parts));
  std::atomic<int64_t> next{0}, done{0};
  std::exception_ptr error;
  std::mutex mutex;
  const auto loop = [&] {
    try {
      for (int64_t part; (part = next++) < parts;) {
        funnels[static_cast<size_t>(part)] = merger.write(part);
        progress.update(++done);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = parts;
    }
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < std::min<int64_t>(threads, parts); ++t) pool.emplace_back(loop);
  loop();
  for (std::thread& thread : pool) thread.join();
  progress.finish();
  if (error) std::rethrow_exception(error);
  for (const Funnel& funnel : funnels) total.merge(funnel);
  total.cluster_sizes = merger.cluster_sizes();
  nlohmann::ordered_json json = to_json(total);
  json["largest_clusters"] = merger.largest_clusters(20);
  io::write_file(output / "funnel.json", json.dump(1) + "\n");
  return total;
}

}  // namespace tumbler::text
