// `tumbler bench tokenizer`: training, encoding and decoding speed on given text.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/progress.h"
#include "cli/bench.h"
#include "cli/bench_result.h"
#include "io/file.h"
#include "tokens/bpe_trainer.h"
#include "tokens/documents.h"

namespace tumbler::cli {
namespace {

using Json = nlohmann::ordered_json;
using tokens::TokenId;
using tokens::Tokenizer;

struct Flags {
  std::vector<std::string> inputs;
  std::string tokenizer;
  int64_t megabytes = 100, runs = 10, vocab_size = 8192;
  bool json = false;
};

std::vector<std::string> read_texts(const std::vector<std::filesystem::path>& files, int64_t bytes) {
  std::vector<std::string> texts;
  for (const auto& file : files) {
    if (bytes <= 0) break;
    tokens::for_each_batch(file, int64_t{16} << 20, 1, [&](std::span<tokens::InputDocument> documents) {
      for (tokens::InputDocument& document : documents) {
        if (bytes <= 0) return;
        bytes -= static_cast<int64_t>(document.text.size());
        texts.push_back(std::move(document.text));
      }
    });
  }
  return texts;
}

// No peak of the machine bounds these figures: branches and table look-ups do.
void report(const Flags& flags, Json config, std::vector<double> runs) {
  BenchResult result;
  result.bench = "tokenizer";
  result.config = std::move(config);
  result.unit = "MB/s";
  result.runs = std::move(runs);
  print_result(result, flags.json);
}

void bench_coding(const Flags& flags, const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  const bool lossless = !tokenizer.parts().nfc && !tokenizer.parts().add_prefix_space;
  const std::string& name = tokenizer.parts().name;
  std::vector<std::vector<TokenId>> ids(texts.size());
  double megabytes = 0, tokens = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    ids[i] = tokenizer.encode(texts[i]);
    megabytes += static_cast<double>(texts[i].size()) * 1e-6;
    tokens += static_cast<double>(ids[i].size());
    if (lossless && tokenizer.decode(ids[i]) != texts[i])
      throw Error("bench.tokenizer", "text {}: decode(encode(text)) is another text; this is a bug", i);
  }
  std::vector<TokenId> out;
  const auto encoded = measure(static_cast<int>(flags.runs), [&] {
    tokens::Encoder encoder(tokenizer);  // a new one: nothing is remembered from run to run
    for (const std::string& text : texts) {
      out.clear();
      encoder.encode(text, out);
    }
    return megabytes;
  });
  const auto decoded = measure(static_cast<int>(flags.runs), [&] {
    double bytes = 0;
    for (const auto& list : ids) bytes += static_cast<double>(tokenizer.decode(list).size());
    return bytes * 1e-6;
  });
  const double bytes_per_token = megabytes * 1e6 / tokens;
  for (const auto& [what, runs] : {std::pair("encode", encoded), std::pair("decode", decoded)})
    report(flags,
           {{"what", what},
            {"tokenizer", name},
            {"cores", 1},
            {"megabytes", megabytes},
            {"bytes_per_token", bytes_per_token}},
           runs);
}

void bench(const Flags& flags) {
  std::vector<std::filesystem::path> files;
  for (const std::string& pattern : flags.inputs)
    for (const auto& path : io::glob(pattern)) files.push_back(path);
  const std::vector<std::string> texts = read_texts(files, flags.megabytes * 1000000);
  if (texts.empty())
    throw Error("bench.tokenizer", "--input: got no text, expected documents; see that the pattern matches");
  if (!flags.tokenizer.empty()) return bench_coding(flags, Tokenizer::load(flags.tokenizer), texts);
  std::optional<Tokenizer> tokenizer;
  tokens::TrainReport last;
  const auto trained = measure(static_cast<int>(std::max<int64_t>(flags.runs / 3, 1)), [&] {
    Progress none;
    last = {};
    tokenizer = tokens::train_tokenizer(files, {.vocab_size = flags.vocab_size}, none, last);
    return static_cast<double>(last.text_bytes) * 1e-6;
  });
  const double megabytes = static_cast<double>(last.text_bytes) * 1e-6;
  report(flags,
         {{"what", "train"},
          {"vocab_size", flags.vocab_size},
          {"megabytes", megabytes},
          {"best_seconds", megabytes / *std::max_element(trained.begin(), trained.end())}},
         trained);
  bench_coding(flags, *tokenizer, texts);
}

}  // namespace

void add_bench_tokenizer(CLI::App& group) {
  auto* command = group.add_subcommand(
      "tokenizer", "Encode and decode MB/s on one core; without --tokenizer, training seconds too.");
  auto flags = std::make_shared<Flags>();
  command
      ->add_option("--input", flags->inputs,
                   "files or patterns: JSON lines (.zst, .gz) with a field 'text', or text")
      ->required();
  command->add_option("--tokenizer", flags->tokenizer,
                      "measure this one; without it, one is trained on the input");
  command->add_option("--vocab-size", flags->vocab_size, "of the tokenizer to train");
  command->add_option("--megabytes", flags->megabytes, "of text to encode");
  command->add_option("--runs", flags->runs, "of each measurement");
  command->add_flag("--json", flags->json, "one JSON line a figure");
  command->callback([flags] { bench(*flags); });
}

}  // namespace tumbler::cli
