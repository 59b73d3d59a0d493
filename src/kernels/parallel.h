// Splits the rows of a kernel over threads: OpenMP's, or the team's under UseTeam.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/isa.h"
#include "kernels/team.h"

namespace tumbler::kernels {

// Below this many bytes one thread is about as fast: a fork and join takes some microseconds, in which one
// core streams about 100 KB from L2.
constexpr int64_t kSerialBytes = 128 << 10;

// 1, or thread_count(). Nothing in between: libgomp ends and restarts threads when the size of a team
// changes.
inline int chunk_count(int64_t bytes) {
  return bytes <= kSerialBytes ? 1 : thread_count();
}

// body(chunk, begin, end) for `chunks` contiguous ranges that cover 0..rows-1; all begin at multiples of
// `step`, some may be empty. Which rows a chunk has depends on rows, chunks and step alone, not on how many
// threads really run.
template <class Body>
void parallel_chunks(int chunks, int64_t rows, int64_t step, const Body& body) {
  const int64_t size = (rows + step * chunks - 1) / (step * chunks) * step;
  if (chunks == 1) {
    body(0, int64_t{0}, rows);
    return;
  }
  if (UseTeam::active()) {
    for_tasks(chunks, chunks, [&](int64_t chunk) {
      body(static_cast<int>(chunk), std::min(rows, chunk * size), std::min(rows, (chunk + 1) * size));
    });
    return;
  }
#pragma omp parallel for schedule(static, 1) num_threads(chunks)
  for (int chunk = 0; chunk < chunks; ++chunk)
    body(chunk, std::min(rows, chunk * size), std::min(rows, (chunk + 1) * size));
}

// body(begin, end) for rows that touch `row_bytes` each.
template <class Body>
void parallel_rows(int64_t rows, int64_t row_bytes, const Body& body) {
  parallel_chunks(chunk_count(rows * row_bytes), rows, 1, [&](int, int64_t begin, int64_t end) {
    if (begin < end) body(begin, end);
  });
}

// body(begin, end) for elements of a flat array; ranges begin at multiples of 64, so that no cache line has
// two writers.
template <class Body>
void parallel_elements(int64_t n, int64_t element_bytes, const Body& body) {
  parallel_chunks(chunk_count(n * element_bytes), n, 64, [&](int, int64_t begin, int64_t end) {
    if (begin < end) body(begin, end);
  });
}

}  // namespace tumbler::kernels
