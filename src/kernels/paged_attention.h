// Attention of some new tokens of several sequences against a cache in pages (Kwon et al. 2023,
// arXiv:2309.06180): what an engine runs. Grouped queries as in attention.h.
//
// A page holds 64 positions. A head page is one key/value head of one layer in it:
//   keys, transposed (D, 64), then values (64, D), then for i8 64 f32 scales of keys and 64 of values
//
// Each query's result is computed in one order, by its own keys alone: it does not depend, to the last bit,
// on what else is in the call, on how a prompt is cut into chunks or on the number of threads. (Instruction
// sets differ in the order of sums.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/quants.h"

namespace tumbler::kernels {

constexpr int64_t kPageTokens = 64;

enum class CacheType : uint8_t { f32, bf16, i8 };

// Bytes of a head page, a multiple of 64.
int64_t head_page_bytes(CacheType type, int64_t D) noexcept;

// New tokens of one sequence: consecutive rows of q, k, v and out, at consecutive positions.
struct PagedSequence {
  int64_t first_row, rows;
  int64_t position;                // of its first row
  std::span<const int32_t> pages;  // pages[p / 64] holds position p
};

// A layer's cache: head page of page `p` and head `kv` at data + p * page_stride + kv * head_page_bytes().
struct PagedCache {
  CacheType type;
  std::byte* data;
  int64_t page_stride;
};

struct PagedShape {
  int64_t H, KV, D;
  float scale;     // of scores
  int64_t window;  // a query sees this many keys, its own included; 0: all before it
};

// Writes k (N, KV, D) and v (N rows of `v_stride`, KV * D used) of the sequences' rows into their pages.
void append_to_cache(const PagedCache& cache, const float* k, const float* v, int64_t v_stride,
                     std::span<const PagedSequence> sequences, const PagedShape& shape) noexcept;

// out (N, H, D) = softmax(scale * q k^T) v for q (N, H, D); the rows' own keys were appended before. On
// `threads` of thread_count() threads.
void paged_attention(float* out, const float* q, const PagedCache& cache,
                     std::span<const PagedSequence> sequences, const PagedShape& shape, int threads) noexcept;

// What the instruction sets provide: a stretch of a sequence's rows and one key/value head, on one thread.
struct PagedUnit {
  const PagedSequence* sequence;
  int64_t begin, end;  // rows, relative to the sequence's first; at most kPagedUnitRows / (H / KV), or one
  int64_t kv;
  // -1: all segments. Else this one alone, and its sums go to `partial`: (rows, H / KV, Dp + 2) floats.
  int64_t segment;
  float* partial;
};
struct PagedAttention {
  float* out;
  const float* q;
  PagedCache cache;
  PagedShape shape;
};
// Keys are summed in segments of this many pages, which are then added in order.
constexpr int64_t kSegmentPages = 8;
constexpr int64_t kPagedUnitRows = 48;

struct PagedOps {
  void (*attend)(const PagedAttention& args, const PagedUnit& unit, float* scratch);
  // out (H / KV heads of one row) = the segments' sums, added; partials `stride` floats apart.
  void (*merge)(float* out, const float* partials, int64_t segments, int64_t stride, int64_t group, int64_t D,
                float* scratch);
};
int64_t paged_scratch_floats(const PagedShape& shape) noexcept;
int64_t padded_head(int64_t D) noexcept;  // Dp

}  // namespace tumbler::kernels
