// Documents → token shards: what `tumbler tokens build` does.
//
// Output directory:
//   inputs.json                  the files, options and tokenizer that this directory belongs to; fixed by
//   the first run train_00000.ds …             one shard (shards.h) per input file, its documents in random
//   order, each followed by the end token held_out.ds, held_out.txt    documents that are not trained on; the
//   text is theirs, one after the other, byte for byte manifest.json                counts; there once
//   everything is done tokenizer.json …             the tokenizer parts/                       what each
//   input file gave; a file whose record is there is not done again
//
// A document is held out by a hash of its id (else url, else text): it stays so however the input is divided
// into files or ranks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"
#include "tokens/tokenizer.h"

namespace tumbler::tokens {

struct BuildOptions {
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path output;
  double held_out_fraction = 0.01;
  uint64_t seed = 1;
  int64_t rank = 0, world = 1;  // this run does the files rank, rank + world, …
  int threads = 0;              // 0: all
};

struct BuildReport {
  int64_t files_done = 0, files_skipped = 0;  // skipped: an earlier run did them
  bool complete = false;                      // every file of every rank is done: manifest.json is there
  std::string manifest;                       // its text, if complete
};

// Throws Error where options or an earlier run in the same directory contradict the input.
// The same options give the same bytes for any number of threads and ranks. Memory: a batch of documents, and
// 8 bytes a document.
BuildReport build_shards(const Tokenizer& tokenizer, const BuildOptions& options, Progress& progress);

// Is the document with this id (or, without one, this text) held out?
bool is_held_out(std::string_view id, std::string_view text, double fraction) noexcept;

}  // namespace tumbler::tokens
