// `tumbler bench tokenizer`: training, encoding and decoding speed on given text.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/progress.h"
#include "cli/commands.h"
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

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// One line a figure. `amount` over the time of a run is the value; 0: the time is.
void report(const Flags& flags, const std::string& config, int64_t threads, double amount, const char* unit,
            std::vector<double> times) {
  std::sort(times.begin(), times.end());
  const auto value = [&](double t) { return amount > 0 ? amount / t : t; };
  const double median = value(times[times.size() / 2]), best = value(times[0]);
  if (!flags.json) {
    std::printf("%-28s median %9.2f  best %9.2f %s  (%zu runs, %lld threads)\n", config.c_str(), median, best,
                unit, times.size(), static_cast<long long>(threads));
    return;
  }
  // No peak of the machine bounds this: branches and table look-ups do.
  const Json line = {
      {"bench", "tokenizer"}, {"config", config}, {"isa", "portable"},    {"threads", threads},
      {"value", median},      {"unit", unit},     {"peak", nullptr},      {"percent_of_peak", nullptr},
      {"median", median},     {"best", best},     {"runs", times.size()}, {"commit", TUMBLER_VERSION}};
  std::printf("%s\n", line.dump().c_str());
}

void bench_coding(const Flags& flags, const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  std::vector<std::vector<TokenId>> ids(texts.size());
  std::vector<double> encoding, decoding;
  double megabytes = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    ids[i] = tokenizer.encode(texts[i]);
    megabytes += static_cast<double>(texts[i].size()) * 1e-6;
    if (tokenizer.decode(ids[i]) != texts[i] && !tokenizer.parts().nfc && !tokenizer.parts().add_prefix_space)
      throw Error("bench.tokenizer", "text {}: decode(encode(text)) is another text; this is a bug", i);
  }
  std::vector<TokenId> out;
  for (int64_t run = 0; run < flags.runs; ++run) {
    encoding.push_back(seconds([&] {
      tokens::Encoder encoder(tokenizer);  // a new one: nothing is remembered from run to run
      for (const std::string& text : texts) {
        out.clear();
        encoder.encode(text, out);
      }
    }));
    size_t size = 0;
    decoding.push_back(seconds([&] {
      for (const auto& list : ids) size += tokenizer.decode(list).size();
    }));
    if (static_cast<double>(size) * 1e-6 < megabytes * 0.999)
      throw Error("bench.tokenizer", "decoded {} bytes, expected {} MB; this is a bug", size, megabytes);
  }
  report(flags, "encode " + tokenizer.parts().name, 1, megabytes, "MB/s", encoding);
  report(flags, "decode " + tokenizer.parts().name, 1, megabytes, "MB/s", decoding);
}

void bench(const Flags& flags) {
  std::vector<std::filesystem::path> files;
  for (const std::string& pattern : flags.inputs)
    for (const auto& path : io::glob(pattern)) files.push_back(path);
  const std::vector<std::string> texts = read_texts(files, flags.megabytes * 1000000);
  if (texts.empty())
    throw Error("bench.tokenizer", "--input: got no text, expected documents; see that the pattern matches");
  if (!flags.tokenizer.empty()) return bench_coding(flags, Tokenizer::load(flags.tokenizer), texts);
  std::vector<double> training;
  std::optional<Tokenizer> tokenizer;
  for (int64_t run = 0; run < std::max<int64_t>(flags.runs / 3, 1); ++run) {
    Progress none;
    tokens::TrainReport ignored;
    training.push_back(seconds([&] {
      tokenizer = tokens::train_tokenizer(files, {.vocab_size = flags.vocab_size}, none, ignored);
    }));
  }
  report(flags, "train " + std::to_string(flags.vocab_size), std::thread::hardware_concurrency(), 0, "s",
         training);
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
