// The two inner loops of MinHash, on vectors of the compiler's own (no intrinsics), compiled for several
// instruction sets with the choice made by the loader (target_clones).
#include <algorithm>
#include <array>
#include <cstring>

#include "text/minhash.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define TUMBLER_CLONES \
  __attribute__((target_clones("arch=skylake-avx512", "avx2", "default"), optimize("O3")))
#else  // clang and other processors: one version, for the baseline
#define TUMBLER_CLONES
#endif

namespace tumbler::text::detail {
namespace {

constexpr size_t kLanes = 8;  // messages hashed side by side: one 256-bit vector of 32-bit words
using Words = std::array<uint32_t, kLanes>;

constexpr uint32_t kInit[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
constexpr size_t kBlock = 64;

uint32_t rotl(uint32_t x, int k) {
  return x << k | x >> (32 - k);
}
uint32_t big_endian(const unsigned char* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}

// One block of one message.
void compress(uint32_t (&state)[5], const unsigned char* block) {
  uint32_t w[80];
  for (int t = 0; t < 16; ++t) w[t] = big_endian(block + 4 * t);
  for (int t = 16; t < 80; ++t) w[t] = rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  for (int t = 0; t < 80; ++t) {
    const uint32_t f = t < 20   ? ((b & c) | (~b & d))
                       : t < 40 ? (b ^ c ^ d)
                       : t < 60 ? ((b & c) | (b & d) | (c & d))
                                : (b ^ c ^ d);
    const uint32_t k = t < 20 ? 0x5a827999 : t < 40 ? 0x6ed9eba1 : t < 60 ? 0x8f1bbcdc : 0xca62c1d6;
    const uint32_t next = rotl(a, 5) + f + e + k + w[t];
    e = d, d = c, c = rotl(b, 30), b = a, a = next;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

uint64_t digest_head(uint32_t h0, uint32_t h1) {
  return static_cast<uint64_t>(__builtin_bswap32(h1)) << 32 | __builtin_bswap32(h0);
}

// Any length.
uint64_t sha1_64_one(const char* data, size_t size) {
  uint32_t state[5];
  std::copy(std::begin(kInit), std::end(kInit), state);
  const auto* p = reinterpret_cast<const unsigned char*>(data);
  size_t left = size;
  for (; left >= kBlock; left -= kBlock, p += kBlock) compress(state, p);
  unsigned char tail[2 * kBlock] = {};
  std::memcpy(tail, p, left);
  tail[left] = 0x80;
  const size_t blocks = left < kBlock - 8 ? 1 : 2;
  const uint64_t bits = __builtin_bswap64(static_cast<uint64_t>(size) * 8);
  std::memcpy(tail + blocks * kBlock - 8, &bits, 8);
  for (size_t i = 0; i < blocks; ++i) compress(state, tail + i * kBlock);
  return digest_head(state[0], state[1]);
}

using V = uint32_t __attribute__((vector_size(4 * kLanes)));

// One padded block of kLanes messages; w[t] holds word t of all of them. Only the first two words of the
// digest are wanted. 80 rounds of about 13 operations on 8 lanes: some 130 instructions a shingle.
TUMBLER_CLONES void compress_lanes(V* w, V* h0, V* h1) {
  V a = V{} + kInit[0], b = V{} + kInit[1], c = V{} + kInit[2], d = V{} + kInit[3], e = V{} + kInit[4];
#define ROTL(x, k) ((x) << (k) | (x) >> (32 - (k)))
#define ROUND(f, k)                                                                 \
  {                                                                                 \
    if (t >= 16) {                                                                  \
      const V x = w[(t - 3) & 15] ^ w[(t - 8) & 15] ^ w[(t - 14) & 15] ^ w[t & 15]; \
      w[t & 15] = ROTL(x, 1);                                                       \
    }                                                                               \
    const V next = ROTL(a, 5) + (f) + e + (k) + w[t & 15];                          \
    e = d, d = c, c = ROTL(b, 30), b = a, a = next;                                 \
  }
  int t = 0;
  for (; t < 20; ++t) ROUND(d ^ (b & (c ^ d)), 0x5a827999u)
  for (; t < 40; ++t) ROUND(b ^ c ^ d, 0x6ed9eba1u)
  for (; t < 60; ++t) ROUND((b & c) | (d & (b | c)), 0x8f1bbcdcu)
  for (; t < 80; ++t) ROUND(b ^ c ^ d, 0xca62c1d6u)
#undef ROUND
#undef ROTL
  *h0 = a + kInit[0];
  *h1 = b + kInit[1];
}

}  // namespace

void sha1_64(const char* text, const uint32_t* begin, const uint32_t* end, size_t count, uint64_t* out) {
  alignas(64) V w[16];
  alignas(64) unsigned char blocks[kLanes][kBlock];
  size_t lane_of[kLanes];
  size_t lanes = 0;
  const auto flush = [&] {
    for (size_t lane = 0; lane < kLanes; ++lane)
      for (size_t t = 0; t < 16; ++t) w[t][lane] = big_endian(blocks[lane] + 4 * t);
    V h0, h1;
    compress_lanes(w, &h0, &h1);
    for (size_t lane = 0; lane < lanes; ++lane) out[lane_of[lane]] = digest_head(h0[lane], h1[lane]);
    lanes = 0;
  };
  std::memset(blocks, 0, sizeof(blocks));
  for (size_t i = 0; i < count; ++i) {
    const size_t size = end[i] - begin[i];
    if (size > kBlock - 9) {  // no room for the padding in one block
      out[i] = sha1_64_one(text + begin[i], size);
      continue;
    }
    unsigned char* block = blocks[lanes];
    std::memcpy(block, text + begin[i], size);
    std::memset(block + size, 0, kBlock - size);
    block[size] = 0x80;
    block[62] = static_cast<unsigned char>(size * 8 >> 8);
    block[63] = static_cast<unsigned char>(size * 8);
    lane_of[lanes++] = i;
    if (lanes == kLanes) flush();
  }
  if (lanes > 0) flush();
}

// Per x and permutation: a 64-bit product, the fold of 2^61 = 1, one conditional subtraction, a minimum.
TUMBLER_CLONES void permute_minima(std::span<const uint64_t> xs, std::span<const uint64_t> a,
                                   std::span<const uint64_t> b, std::span<uint64_t> minima) {
  constexpr size_t kTile =
      16;  // permutations held in registers: 4 vectors each of a, b and the minima on AVX2
  const size_t n = minima.size();
  for (size_t from = 0; from < n; from += kTile) {
    int64_t best[kTile];
    uint64_t mul[kTile] = {}, add[kTile] = {};
    const size_t width = std::min(kTile, n - from);
    std::copy_n(a.data() + from, width, mul);
    std::copy_n(b.data() + from, width, add);
    for (size_t i = 0; i < kTile; ++i) best[i] = i < width ? static_cast<int64_t>(minima[from + i]) : 0;
    for (const uint64_t x : xs) {
      for (size_t i = 0; i < kTile; ++i) {
        const uint64_t y = x * mul[i] + add[i];
        auto folded = static_cast<int64_t>((y & kMersenne61) + (y >> 61));
        folded -= folded >= static_cast<int64_t>(kMersenne61) ? static_cast<int64_t>(kMersenne61) : 0;
        best[i] = folded < best[i] ? folded : best[i];
      }
    }
    for (size_t i = 0; i < width; ++i) minima[from + i] = static_cast<uint64_t>(best[i]);
  }
}

}  // namespace tumbler::text::detail
