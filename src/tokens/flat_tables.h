// The two hash tables of the encoder: bytes of a piece → token, and pair of neighbours → merge. Flat, open
// addressing, filled once; a lookup touches one cache line nearly always.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace tumbler::tokens {

static_assert(std::endian::native == std::endian::little, "keys and token shards are little endian");

// The bytes of a piece of at most 15 bytes and, in the top byte, their number: what tables are keyed by. A
// longer piece has a hash in `low` and kLong in `high`, and its bytes must be compared.
struct PieceKey {
  static constexpr uint64_t kLong = 0xFFull << 56;
  static constexpr size_t kShortBytes = 15;
  uint64_t low, high;
  bool operator==(const PieceKey&) const = default;
  bool is_short() const noexcept { return high >> 56 <= kShortBytes; }
  // Tables use the high bits.
  uint64_t hash() const noexcept {
    __extension__ using u128 = unsigned __int128;
    const u128 product = static_cast<u128>(low ^ 0x9e3779b97f4a7c15ull) * (high ^ 0xc2b2ae3d27d4eb4full);
    return (static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64)) * 0x9e3779b97f4a7c15ull;
  }
};

PieceKey long_piece_key(std::string_view piece) noexcept;

// Key of text[begin, end), begin < end; any byte of text[0, size) may be read.
inline PieceKey piece_key(const char* text, size_t size, size_t begin, size_t end) noexcept {
  const size_t length = end - begin;
  if (length > PieceKey::kShortBytes) return long_piece_key({text + begin, length});
  uint64_t words[2] = {0, 0};
  if (size - begin >= 16) {
    std::memcpy(words, text + begin, 16);
    words[0] &= length >= 8 ? ~0ull : (1ull << (8 * length)) - 1;
    words[1] &= length > 8 ? (1ull << (8 * (length - 8))) - 1 : 0;
  } else {
    std::memcpy(words, text + begin, length);
  }
  return {words[0], words[1] | static_cast<uint64_t>(length) << 56};
}
inline PieceKey piece_key(std::string_view piece) noexcept {
  return piece_key(piece.data(), piece.size(), 0, piece.size());
}

namespace detail {
// log2 of a table that `capacity` entries fill at most half.
inline int table_bits(size_t capacity) noexcept {
  return static_cast<int>(std::bit_width(capacity * 2 + 15));
}
}  // namespace detail

// Bytes → id. Bytes of long tokens lie with the owner: `bytes_of(id)` gives them.
class PieceTable {
 public:
  struct Slot {
    PieceKey key{0, 0};  // high is 0 where the slot is empty: a piece has at least one byte
    int32_t id = -1;
    bool encodes_to_itself = true;
  };

  void reset(size_t capacity) {
    const int bits = detail::table_bits(capacity);
    shift_ = 64 - bits;
    slots_.assign(size_t{1} << bits, {});
  }
  // Null where the piece is unknown.
  template <class BytesOf>
  const Slot* find(const PieceKey& key, std::string_view piece, const BytesOf& bytes_of) const noexcept {
    for (size_t i = key.hash() >> shift_;; i = (i + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[i];
      if (slot.id < 0) return nullptr;
      if (slot.key == key && (key.is_short() || bytes_of(slot.id) == piece)) return &slot;
    }
  }
  // False where the piece is there already.
  template <class BytesOf>
  bool insert(std::string_view piece, int32_t id, const BytesOf& bytes_of) {
    const PieceKey key = piece_key(piece);
    if (find(key, piece, bytes_of) != nullptr) return false;
    size_t i = key.hash() >> shift_;
    while (slots_[i].id >= 0) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = {key, id, true};
    return true;
  }
  std::vector<Slot>& slots() noexcept { return slots_; }

 private:
  std::vector<Slot> slots_ = std::vector<Slot>(16);
  int shift_ = 60;
};

// (left, right) → rank in the high half, id of the merged token in the low half: the smallest value is the
// next merge.
constexpr uint64_t kNoMerge = ~0ull;

class PairTable {
 public:
  void reset(size_t capacity) {
    const int bits = detail::table_bits(capacity);
    shift_ = 64 - bits;
    slots_.assign(size_t{1} << bits, {});
  }
  uint64_t find(int32_t left, int32_t right) const noexcept {
    const uint64_t wanted = key(left, right);
    for (size_t i = start(wanted);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].key == wanted) return slots_[i].value;
      if (slots_[i].key == kEmpty) return kNoMerge;
    }
  }
  // False, and nothing changes, where the pair is there already.
  bool insert(int32_t left, int32_t right, uint32_t rank, int32_t id) {
    const uint64_t wanted = key(left, right);
    size_t i = start(wanted);
    for (; slots_[i].key != kEmpty; i = (i + 1) & (slots_.size() - 1))
      if (slots_[i].key == wanted) return false;
    slots_[i] = {wanted, static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(id)};
    return true;
  }

 private:
  static constexpr uint64_t kEmpty = ~0ull;  // no pair: ids are not negative
  struct Slot {
    uint64_t key = kEmpty, value = kNoMerge;
  };
  static uint64_t key(int32_t left, int32_t right) noexcept {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t start(uint64_t k) const noexcept { return ((k ^ k >> 29) * 0x9e3779b97f4a7c15ull) >> shift_; }
  std::vector<Slot> slots_ = std::vector<Slot>(16);
  int shift_ = 60;
};

}  // namespace tumbler::tokens
