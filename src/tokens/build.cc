#include "tokens/build.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <nlohmann/json.hpp>
#include <numeric>

#include <omp.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "io/file.h"
#include "io/file_lock.h"
#include "tokens/documents.h"
#include "tokens/shards.h"
#include "tokens/tokenizer_json.h"

namespace fs = std::filesystem;

namespace tumbler::tokens {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kBatchBytes = int64_t{16} << 20;
constexpr size_t kPartBytes = size_t{1} << 18;  // a longer document is encoded by several threads

struct Counts {
  int64_t documents = 0, text_bytes = 0, tokens = 0;
  Json json() const { return {{"documents", documents}, {"text_bytes", text_bytes}, {"tokens", tokens}}; }
  void add(const Json& j) {
    documents += j.at("documents").get<int64_t>();
    text_bytes += j.at("text_bytes").get<int64_t>();
    tokens += j.at("tokens").get<int64_t>();
  }
};

std::string numbered(std::string_view name, size_t index, std::string_view suffix) {
  return fmt::format("{}_{:05d}{}", name, index, suffix);
}

// Encodes documents with all threads; ids in the order of the documents, the end token behind each.
class BatchEncoder {
 public:
  BatchEncoder(const Tokenizer& tokenizer, int threads) : tokenizer_(tokenizer), end_(tokenizer.get_eos()) {
    for (int t = 0; t < threads; ++t) encoders_.emplace_back(tokenizer);
  }

  std::vector<std::vector<TokenId>> encode(std::span<const InputDocument> documents) {
    std::vector<std::pair<size_t, std::string_view>> jobs;
    for (size_t d = 0; d < documents.size(); ++d) {
      // A blank goes before the document, not before its parts; others' words may go on behind a newline.
      const bool whole =
          tokenizer_.parts().add_prefix_space || tokenizer_.parts().kind != TokenizerKind::kByteLevel;
      for (const std::string_view part :
           safe_parts(documents[d].text, whole ? std::string_view::npos : kPartBytes))
        jobs.emplace_back(d, part);
    }
    std::vector<std::vector<TokenId>> results(jobs.size()), ids(documents.size());
    const auto n = static_cast<int64_t>(jobs.size());
    std::exception_ptr failure;  // an exception may not leave a parallel region
#pragma omp parallel for schedule(dynamic, 4) num_threads(static_cast <int>(encoders_.size()))
    for (int64_t i = 0; i < n; ++i) {
      try {
        const auto k = static_cast<size_t>(i);
        encoders_[static_cast<size_t>(omp_get_thread_num())].encode(jobs[k].second, results[k]);
      } catch (...) {
#pragma omp critical
        failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
    for (size_t i = 0; i < jobs.size(); ++i)
      ids[jobs[i].first].insert(ids[jobs[i].first].end(), results[i].begin(), results[i].end());
    for (auto& document : ids) document.push_back(end_);
    return ids;
  }

 private:
  const Tokenizer& tokenizer_;
  TokenId end_;
  std::vector<Encoder> encoders_;
};

class Build {
 public:
  Build(const Tokenizer& tokenizer, const BuildOptions& options, Progress& progress)
      : tokenizer_(tokenizer),
        options_(options),
        progress_(progress),
        threads_(options.threads > 0 ? options.threads : omp_get_max_threads()),
        parts_(options.output / "parts"),
        encoder_(tokenizer, threads_) {}

  BuildReport run() {
    BuildReport report;
    io::make_directories(parts_);
    const io::FileLock lock(options_.output / fmt::format(".lock.rank{}", options_.rank), "tokens.build",
                            "another process is building this; wait for it, or give ranks of their own");
    freeze_inputs();
    progress_.start("tokens", 0, "MB");
    for (size_t i = static_cast<size_t>(options_.rank); i < options_.inputs.size();
         i += static_cast<size_t>(options_.world)) {
      if (fs::exists(record_path(i))) {
        ++report.files_skipped;
        continue;
      }
      build_file(i);
      ++report.files_done;
    }
    progress_.finish();
    report.complete = true;
    for (size_t i = 0; i < options_.inputs.size(); ++i) report.complete &= fs::exists(record_path(i));
    if (report.complete) report.manifest = write_manifest();
    return report;
  }

 private:
  fs::path record_path(size_t i) const { return parts_ / numbered("part", i, ".json"); }

  // The first run writes down what it works on; a later one must have the same.
  void freeze_inputs() {
    const std::string tokenizer_json = to_tokenizer_json(tokenizer_);
    Json inputs;
    inputs["tokenizer"] = tokenizer_.parts().name;
    inputs["tokenizer_xxh3"] =
        fmt::format("{:016x}", XXH3_64bits(tokenizer_json.data(), tokenizer_json.size()));
    inputs["seed"] = options_.seed;
    inputs["held_out_fraction"] = options_.held_out_fraction;
    inputs["files"] = Json::array();
    for (const auto& input : options_.inputs)
      inputs["files"].push_back({{"path", input.string()}, {"size", fs::file_size(input)}});
    const std::string text = inputs.dump(2) + "\n";
    const fs::path path = options_.output / "inputs.json";
    if (!fs::exists(path)) {
      save_tokenizer(tokenizer_, options_.output);
      io::write_file(path, text);
    } else if (io::read_file(path) != text) {
      throw Error("tokens.build",
                  "{}: an earlier run had other files, options or another tokenizer; give the same, or "
                  "another output directory",
                  path.string());
    }
  }

  void build_file(size_t index) {
    const fs::path input = options_.inputs[index];
    const std::string name = tokenizer_.parts().name;
    for (const fs::path& folder : {parts_, options_.output})
      io::remove_temporaries(folder, fmt::format("_{:05d}.", index));
    const fs::path unshuffled = parts_ / numbered("unshuffled", index, ".ds");
    TokenShardWriter in_order(unshuffled, name, tokenizer_.vocab_size());
    TokenShardWriter held_out(parts_ / numbered("held_out", index, ".ds"), name, tokenizer_.vocab_size());
    io::AtomicFile held_out_text(parts_ / numbered("held_out", index, ".txt"));
    Counts train, held;
    int64_t empty = 0;
    DocumentCounts counts =
        for_each_batch(input, kBatchBytes, threads_, [&](std::span<InputDocument> documents) {
          const auto ids = encoder_.encode(documents);
          for (size_t d = 0; d < documents.size(); ++d) {
            const std::string& text = documents[d].text;
            if (text.empty()) {
              ++empty;
              continue;
            }
            const bool out = is_held_out(documents[d].id, text, options_.held_out_fraction);
            (out ? held_out : in_order).add_document(ids[d]);
            if (out) held_out_text.write(text);
            Counts& to = out ? held : train;
            ++to.documents;
            to.text_bytes += static_cast<int64_t>(text.size());
            to.tokens += static_cast<int64_t>(ids[d].size());
            bytes_done_ += static_cast<int64_t>(text.size());
          }
          progress_.update(bytes_done_ >> 20, {});
        });
    in_order.commit();
    shuffle(unshuffled, index);
    held_out.commit();
    held_out_text.commit();
    if (empty > 0) counts.dropped["empty"] = empty;
    const Json record = {{"input", input.string()},
                         {"train", train.json()},
                         {"held_out", held.json()},
                         {"dropped", counts.dropped}};
    for (const char* suffix : {"", ".index", ".metadata"}) fs::remove(unshuffled.string() + suffix);
    io::write_file(record_path(index), record.dump(2) + "\n");  // the last: nothing is left to be cleaned up
  }

  // The documents of one shard in random order, read through a map: memory is 8 bytes a document.
  void shuffle(const fs::path& unshuffled, size_t index) {
    const TokenShardReader reader(unshuffled);
    TokenShardWriter writer(options_.output / numbered("train", index, ".ds"), reader.tokenizer_name(),
                            tokenizer_.vocab_size());
    std::vector<int64_t> order(static_cast<size_t>(reader.documents()));
    std::iota(order.begin(), order.end(), 0);
    Rng rng(options_.seed, index);
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
    std::vector<TokenId> ids;
    for (const int64_t d : order) {
      const auto [begin, end] = reader.document(d);
      ids.resize(static_cast<size_t>(end - begin));
      reader.read(begin, ids);
      writer.add_document(ids);
    }
    writer.commit();
  }

  void join_held_out() {
    TokenShardWriter shard(options_.output / "held_out.ds", tokenizer_.parts().name, tokenizer_.vocab_size());
    io::AtomicFile text(options_.output / "held_out.txt");
    std::vector<TokenId> ids;
    for (size_t i = 0; i < options_.inputs.size(); ++i) {
      const TokenShardReader reader(parts_ / numbered("held_out", i, ".ds"));
      for (int64_t d = 0; d < reader.documents(); ++d) {
        const auto [begin, end] = reader.document(d);
        ids.resize(static_cast<size_t>(end - begin));
        reader.read(begin, ids);
        shard.add_document(ids);
      }
      text.write(io::MappedFile(parts_ / numbered("held_out", i, ".txt")).text());
    }
    text.commit();
    shard.commit();
  }

  std::string write_manifest() {
    const fs::path path = options_.output / "manifest.json";
    if (fs::exists(path)) return io::read_file(path);
    if (options_.world == 1) io::remove_temporaries(options_.output);
    join_held_out();
    Counts train, held;
    std::map<std::string, int64_t> dropped;
    Json shards = Json::array();
    for (size_t i = 0; i < options_.inputs.size(); ++i) {
      const Json record = Json::parse(io::read_file(record_path(i)));
      train.add(record.at("train"));
      held.add(record.at("held_out"));
      for (const auto& [reason, n] : record.at("dropped").items()) dropped[reason] += n.get<int64_t>();
      Json shard = record.at("train");
      shard["file"] = numbered("train", i, ".ds");
      shards.push_back(std::move(shard));
    }
    Json manifest;
    manifest["tokenizer"] = {{"name", tokenizer_.parts().name},
                             {"vocab_size", tokenizer_.vocab_size()},
                             {"end_of_document", tokenizer_.get_eos()},
                             {"bytes_per_token", token_size_bytes(tokenizer_.vocab_size())}};
    manifest["seed"] = options_.seed;
    manifest["held_out_fraction"] = options_.held_out_fraction;
    manifest["train"] = train.json();
    manifest["train"]["shards"] = std::move(shards);
    manifest["held_out"] = held.json();
    manifest["held_out"]["file"] = "held_out.ds";
    manifest["held_out"]["text"] = "held_out.txt";
    manifest["dropped"] = dropped;
    if (train.documents == 0)
      throw Error("tokens.build",
                  "{}: got no document to train on, expected JSON lines with a field 'text'; dropped: {}",
                  options_.output.string(), Json(dropped).dump());
    if (held.documents == 0 && options_.held_out_fraction > 0)
      log::warn("tokens build: none of {} documents is held out; take a larger --held-out-fraction than {}",
                train.documents, options_.held_out_fraction);
    const std::string text = manifest.dump(2) + "\n";
    io::write_file(path, text);
    return text;
  }

  const Tokenizer& tokenizer_;
  const BuildOptions& options_;
  Progress& progress_;
  int threads_;
  fs::path parts_;
  BatchEncoder encoder_;
  int64_t bytes_done_ = 0;
};

}  // namespace

bool is_held_out(std::string_view id, std::string_view text, double fraction) noexcept {
  const std::string_view key = id.empty() ? text : id;
  return static_cast<double>(XXH3_64bits(key.data(), key.size()) >> 11) * 0x1p-53 < fraction;
}

BuildReport build_shards(const Tokenizer& tokenizer, const BuildOptions& options, Progress& progress) {
  if (options.inputs.empty())
    throw Error("tokens.build", "input: got no file, expected documents; see that the pattern matches them");
  if (!(options.held_out_fraction >= 0 && options.held_out_fraction < 1))
    throw Error("tokens.build", "held-out-fraction: got {}, expected 0 to 1", options.held_out_fraction);
  if (options.world < 1 || options.rank < 0 || options.rank >= options.world)
    throw Error("tokens.build", "rank: got {} of {}, expected 0 to world - 1", options.rank, options.world);
  return Build(tokenizer, options, progress).run();
}

}  // namespace tumbler::tokens
