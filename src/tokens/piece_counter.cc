#include "tokens/piece_counter.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>

#include "base/error.h"
#include "tokens/flat_tables.h"

namespace tumbler::tokens {
namespace {

// Bytes → count; the bytes lie in an arena.
class CountTable {
 public:
  void add(const PieceKey& key, std::string_view piece, int64_t count) {
    if ((used_ + 1) * 2 > slots_.size()) grow();
    Slot& slot = find(key, piece);
    if (slot.count == 0) {
      slot = {key, 0, arena_.size()};
      if (!key.is_short()) append(piece);
      ++used_;
    }
    slot.count += count;
  }
  template <class Use>
  void for_each(const Use& use) const {
    char bytes[16];
    for (const Slot& slot : slots_) {
      if (slot.count == 0) continue;
      if (slot.key.is_short()) {
        std::memcpy(bytes, &slot.key, sizeof(bytes));
        use(slot.key, std::string_view(bytes, slot.key.high >> 56), slot.count);
      } else {
        use(slot.key, view(slot), slot.count);
      }
    }
  }
  int64_t memory_bytes() const {
    return static_cast<int64_t>(slots_.capacity() * sizeof(Slot) + arena_.capacity());
  }
  size_t size() const { return used_; }
  void clear() { *this = CountTable(); }

 private:
  struct Slot {
    PieceKey key{0, 0};
    int64_t count = 0;
    size_t offset = 0;  // of a long piece: its length (32 bits) and its bytes
  };
  std::string_view view(const Slot& slot) const {
    uint32_t length;
    std::memcpy(&length, arena_.data() + slot.offset, sizeof(length));
    return std::string_view(arena_).substr(slot.offset + sizeof(length), length);
  }
  void append(std::string_view piece) {
    const auto length = static_cast<uint32_t>(piece.size());
    arena_.append(reinterpret_cast<const char*>(&length), sizeof(length)).append(piece);
  }
  Slot& find(const PieceKey& key, std::string_view piece) {
    for (size_t i = key.hash() >> shift_;; i = (i + 1) & (slots_.size() - 1)) {
      Slot& slot = slots_[i];
      if (slot.count == 0 || (slot.key == key && (key.is_short() || view(slot) == piece))) return slot;
    }
  }
  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    --shift_;
    for (const Slot& slot : old) {
      if (slot.count == 0) continue;
      size_t i = slot.key.hash() >> shift_;
      while (slots_[i].count != 0) i = (i + 1) & (slots_.size() - 1);
      slots_[i] = slot;
    }
  }
  std::vector<Slot> slots_ = std::vector<Slot>(1 << 12);
  int shift_ = 64 - 12;
  size_t used_ = 0;
  std::string arena_;
};

constexpr size_t kSpillFiles = 64;

// Tables that were too large for memory, in anonymous temporary files by hash: the system removes them,
// whatever happens.
class Spill {
 public:
  ~Spill() {
    for (std::FILE* file : files_)
      if (file != nullptr) std::fclose(file);
  }
  bool used() const { return used_; }
  void write(const CountTable& table) {
    const std::scoped_lock lock(mutex_);
    used_ = true;
    table.for_each([&](const PieceKey& key, std::string_view piece, int64_t count) {
      std::FILE*& file = files_[key.hash() >> 58];
      if (file == nullptr) file = std::tmpfile();
      const auto length = static_cast<uint32_t>(piece.size());
      if (file == nullptr || std::fwrite(&count, sizeof(count), 1, file) != 1 ||
          std::fwrite(&length, sizeof(length), 1, file) != 1 ||
          std::fwrite(piece.data(), 1, piece.size(), file) != piece.size())
        throw Error("tokenizer.train", "temporary file of counts: cannot write{}; free some space in {}",
                    errno_text(), std::filesystem::temp_directory_path().string());
    });
  }
  CountTable read(size_t index) {
    CountTable table;
    std::FILE* file = files_[index];
    if (file == nullptr) return table;
    std::rewind(file);
    int64_t count;
    uint32_t length;
    std::string piece;
    while (std::fread(&count, sizeof(count), 1, file) == 1) {
      if (std::fread(&length, sizeof(length), 1, file) != 1 || length > PieceCounter::kMaxPieceBytes) break;
      piece.resize(length);
      if (std::fread(piece.data(), 1, length, file) != length) break;
      table.add(piece_key(piece), piece, count);
    }
    if (std::ferror(file) != 0 || std::feof(file) == 0)
      throw Error("tokenizer.train", "temporary file of counts: cannot read it back{}; run again",
                  errno_text());
    return table;
  }

 private:
  std::FILE* files_[kSpillFiles] = {};
  std::mutex mutex_;
  bool used_ = false;
};

// Memory that training needs for a piece: its bytes as ids, a word's head, and a posting for each pair.
int64_t training_cost(size_t length) {
  return static_cast<int64_t>(64 + 16 * length);
}

}  // namespace

struct PieceCounter::State {
  Pattern pattern;
  int64_t memory_bytes;
  std::vector<CountTable> tables;  // one a thread
  Spill spill;
  int64_t dropped_up_to = 0;

  // Everything, table after table: the threads' merged table, or the spilled parts one at a time.
  template <class Use>
  void for_each_table(const Use& use) {
    if (!spill.used()) {
      for (size_t t = 1; t < tables.size(); ++t) {
        tables[t].for_each([&](const PieceKey& key, std::string_view piece, int64_t count) {
          tables[0].add(key, piece, count);
        });
        tables[t].clear();
      }
      use(tables[0]);
      return;
    }
    for (CountTable& table : tables) {
      spill.write(table);
      table.clear();
    }
    for (size_t i = 0; i < kSpillFiles; ++i) use(spill.read(i));
  }
};

PieceCounter::PieceCounter(Pattern pattern, int threads, int64_t memory_bytes)
    : state_(new State{pattern, memory_bytes, std::vector<CountTable>(static_cast<size_t>(threads)), {}, 0}) {
}
PieceCounter::~PieceCounter() = default;
int64_t PieceCounter::dropped_up_to() const noexcept {
  return state_->dropped_up_to;
}

void PieceCounter::add(int thread, std::string_view text) {
  CountTable& table = state_->tables[static_cast<size_t>(thread)];
  const SplitBatch batch = split_batch_function(state_->pattern);
  size_t ends[256], begin = 0;
  while (const size_t n = batch(text.data(), text.size(), begin, ends, std::size(ends))) {
    for (size_t i = 0; i < n; begin = ends[i++]) {
      for (; ends[i] - begin > kMaxPieceBytes; begin += kMaxPieceBytes) {
        const std::string_view part = text.substr(begin, kMaxPieceBytes);
        table.add(piece_key(part), part, 1);
      }
      table.add(piece_key(text.data(), text.size(), begin, ends[i]), text.substr(begin, ends[i] - begin), 1);
    }
  }
  // A table doubles when it grows: it is put away before that would pass its share.
  if (table.memory_bytes() * 2 <= state_->memory_bytes / 2 / static_cast<int64_t>(state_->tables.size()) ||
      table.size() < 4096)
    return;
  state_->spill.write(table);
  table.clear();
}

std::vector<CountedPiece> PieceCounter::take() {
  State& s = *state_;
  std::map<int64_t, int64_t> cost;  // of the pieces with each count
  s.for_each_table([&](const CountTable& table) {
    table.for_each([&](const PieceKey&, std::string_view piece, int64_t count) {
      cost[count] += training_cost(piece.size());
    });
  });
  int64_t left = s.memory_bytes / 2;
  s.dropped_up_to = 0;
  for (auto c = cost.rbegin(); c != cost.rend(); ++c) {
    left -= c->second;
    if (left < 0) {
      s.dropped_up_to = c->first;
      break;
    }
  }
  std::vector<CountedPiece> pieces;
  s.for_each_table([&](const CountTable& table) {
    table.for_each([&](const PieceKey&, std::string_view piece, int64_t count) {
      if (count > s.dropped_up_to) pieces.push_back({std::string(piece), count});
    });
  });
  for (CountTable& table : s.tables) table.clear();
  std::sort(pieces.begin(), pieces.end(), [](const CountedPiece& a, const CountedPiece& b) {
    return a.count != b.count ? a.count > b.count : a.bytes < b.bytes;
  });
  return pieces;
}

}  // namespace tumbler::tokens
