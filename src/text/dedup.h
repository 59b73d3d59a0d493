// Near-duplicates over all parts of a build, in bounded memory: documents that share a MinHash band key are
// one cluster (transitively), and the first of a cluster in input order is kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "io/file.h"

namespace tumbler::text {

// Writes the band keys of a part's documents in the order of add(): sorted runs of (key, document) a band.
class BandWriter {
 public:
  BandWriter(const std::filesystem::path& path, int64_t bands);
  // The next document's keys, or none where it has no signature.
  void add(std::span<const uint64_t> keys);
  void commit();

 private:
  void flush_run();
  struct Record {
    uint64_t key, document;
  };
  io::AtomicFile file_;
  int64_t bands_, documents_ = 0;
  std::vector<std::vector<Record>> run_;  // (band, record)
  std::vector<uint64_t> table_;           // (run): offset, records
  void* hash_;                            // XXH3 state over the bytes that were written
  void write(const void* data, size_t size);

 public:
  ~BandWriter();
};

struct Duplicates {
  // For each document, numbered through all parts in order: the first document of its cluster; itself where
  // it is kept.
  std::vector<uint32_t> first;
  std::vector<int64_t> part_begin;  // (parts + 1): number of the first document of each part
};

// Memory: 4 bytes a document, and `memory_bytes` for sorting keys, which are taken in as many equal slices of
// the key space as it needs. The result does not hang on threads or memory. Throws Error where a file is
// damaged.
Duplicates find_duplicates(std::span<const std::filesystem::path> band_files, int64_t bands,
                           int64_t memory_bytes, int threads);

}  // namespace tumbler::text
