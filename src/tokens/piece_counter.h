// How often each piece of text occurs, counted by several threads in bounded memory. Counts have 64 bits:
// "the" passes 2^31 in some 160 GB of English.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokens/splitter.h"

namespace tumbler::tokens {

struct CountedPiece {
  std::string bytes;
  int64_t count;
};

// Memory: each of the threads counts in a table of its own, together at most half of `memory_bytes`; a table
// that is full goes to files in the system's temporary directory, by hash. The counts are exact. What take()
// returns is bounded by the other half: if all pieces do not fit, those that occur once are left out, then
// those that occur twice … That depends on the counts alone, so the result is the same for any number of
// threads and any order of the documents.
class PieceCounter {
 public:
  // Longer pieces are cut into parts of this many bytes: nothing is learned from a megabyte of base64, and
  // merging it is slow.
  static constexpr size_t kMaxPieceBytes = 256;

  PieceCounter(Pattern pattern, int threads, int64_t memory_bytes);
  ~PieceCounter();

  // Counts the pieces of `text` in the table of `thread`; different threads may call this at once.
  void add(int thread, std::string_view text);
  // All pieces, by count and then bytes; the counter is empty afterwards.
  std::vector<CountedPiece> take();
  // Pieces with at most this count were left out by the last take(); 0 where all fitted.
  int64_t dropped_up_to() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tumbler::tokens
