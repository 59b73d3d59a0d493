#include "text/dedup.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

#include <xxhash.h>

#include "base/error.h"

namespace fs = std::filesystem;

namespace tumbler::text {
namespace {

constexpr uint64_t kMagic = 0x31444e4142424d54;  // "TMBBAND1"
constexpr size_t kRunDocuments = 1 << 16;        // 16 bytes a band and document: 15 MB a run of 14 bands

struct Record {
  uint64_t key, document;
};

struct Footer {
  uint64_t magic, bands, documents, runs, checksum;
};

// A band file that has been checked: runs of (bands, records) sorted records.
class BandFile {
 public:
  BandFile(const fs::path& path, int64_t bands, bool check) : file_(path) {
    const std::string_view bytes = file_.text();
    const auto damaged = [&](std::string_view why) {
      throw Error("data dedup", "{}: {}; remove it with the .json beside it and run the build again",
                  path.string(), why);
    };
    if (bytes.size() < sizeof(Footer)) damaged("cut off");
    std::memcpy(&footer_, bytes.data() + bytes.size() - sizeof(Footer), sizeof(Footer));
    if (footer_.magic != kMagic || footer_.bands != static_cast<uint64_t>(bands))
      damaged("no band file of this build");
    const size_t body = bytes.size() - sizeof(Footer);
    if (footer_.runs > body / 16) damaged("wrong number of runs");
    if (check && XXH3_64bits(bytes.data(), body) != footer_.checksum) damaged("wrong checksum");
    table_ = bytes.data() + body - footer_.runs * 16;
    for (uint64_t run = 0; run < footer_.runs; ++run) {
      const auto [offset, count] = entry(run);
      if (offset > body || count > (body - offset) / 16 / footer_.bands) damaged("a run outside the file");
    }
  }
  int64_t documents() const { return static_cast<int64_t>(footer_.documents); }
  int64_t signed_documents() const {
    int64_t n = 0;
    for (uint64_t run = 0; run < footer_.runs; ++run) n += static_cast<int64_t>(entry(run).second);
    return n;
  }

  // Appends the records of `band` with low <= key <= high.
  void collect(int64_t band, uint64_t low, uint64_t high, int64_t first_document,
               std::vector<Record>& out) const {
    for (uint64_t run = 0; run < footer_.runs; ++run) {
      const auto [offset, count] = entry(run);
      const auto* begin =
          reinterpret_cast<const Record*>(file_.text().data() + offset) + static_cast<uint64_t>(band) * count;
      const auto* from = std::lower_bound(begin, begin + count, low,
                                          [](const Record& r, uint64_t key) { return r.key < key; });
      for (; from != begin + count && from->key <= high; ++from)
        out.push_back({from->key, from->document + static_cast<uint64_t>(first_document)});
    }
  }

 private:
  std::pair<uint64_t, uint64_t> entry(uint64_t run) const {
    uint64_t pair[2];
    std::memcpy(pair, table_ + run * 16, 16);
    return {pair[0], pair[1]};
  }
  io::MappedFile file_;
  Footer footer_;
  const char* table_ = nullptr;
};

// Disjoint sets with the smallest member as the root, so that the result does not hang on the order of
// unions.
class Sets {
 public:
  explicit Sets(size_t n) : parent_(n) {
    for (size_t i = 0; i < n; ++i) parent_[i] = static_cast<uint32_t>(i);
  }
  uint32_t find(uint32_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void unite(uint32_t a, uint32_t b) {
    a = find(a), b = find(b);
    if (a < b)
      parent_[b] = a;
    else
      parent_[a] = b;
  }
  std::vector<uint32_t> roots() && {
    for (size_t i = 0; i < parent_.size(); ++i)
      parent_[i] = parent_[parent_[i]];  // parents come before their children
    return std::move(parent_);
  }

 private:
  std::vector<uint32_t> parent_;
};

}  // namespace

BandWriter::BandWriter(const fs::path& path, int64_t bands)
    : file_(path), bands_(bands), run_(static_cast<size_t>(bands)), hash_(XXH3_createState()) {
  XXH3_64bits_reset(static_cast<XXH3_state_t*>(hash_));
}

BandWriter::~BandWriter() {
  XXH3_freeState(static_cast<XXH3_state_t*>(hash_));
}

void BandWriter::write(const void* data, size_t size) {
  XXH3_64bits_update(static_cast<XXH3_state_t*>(hash_), data, size);
  file_.write(data, size);
}

void BandWriter::add(std::span<const uint64_t> keys) {
  if (!keys.empty())
    for (size_t band = 0; band < run_.size(); ++band)
      run_[band].push_back({keys[band], static_cast<uint64_t>(documents_)});
  ++documents_;
  if (run_[0].size() >= kRunDocuments) flush_run();
}

void BandWriter::flush_run() {
  if (run_[0].empty()) return;
  table_.push_back(static_cast<uint64_t>(file_.size_bytes()));
  table_.push_back(run_[0].size());
  for (std::vector<Record>& records : run_) {
    std::sort(records.begin(), records.end(), [](const Record& a, const Record& b) {
      return a.key != b.key ? a.key < b.key : a.document < b.document;
    });
    write(records.data(), records.size() * sizeof(Record));
    records.clear();
  }
}

void BandWriter::commit() {
  flush_run();
  write(table_.data(), table_.size() * sizeof(uint64_t));
  const Footer footer{kMagic, static_cast<uint64_t>(bands_), static_cast<uint64_t>(documents_),
                      table_.size() / 2, XXH3_64bits_digest(static_cast<XXH3_state_t*>(hash_))};
  file_.write(&footer, sizeof(footer));
  file_.commit();
}

namespace {

// Calls work(i) for every i < n on `threads` threads; the first exception is thrown here.
template <class Work>
void parallel_for(int64_t n, int threads, Work work) {
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex mutex;
  const auto loop = [&] {
    try {
      for (int64_t i; (i = next++) < n;) work(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = n;
    }
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < threads; ++t) pool.emplace_back(loop);
  loop();
  for (std::thread& thread : pool) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace

Duplicates find_duplicates(std::span<const fs::path> band_files, int64_t bands, int64_t memory_bytes,
                           int threads) {
  Duplicates out;
  out.part_begin.push_back(0);
  int64_t signed_documents = 0;
  for (const fs::path& path : band_files) {
    const BandFile file(path, bands, /*check=*/true);
    out.part_begin.push_back(out.part_begin.back() + file.documents());
    signed_documents += file.signed_documents();
  }
  const int64_t documents = out.part_begin.back();
  if (documents >= std::numeric_limits<uint32_t>::max())
    throw Error("data dedup",
                "got {} documents, expected fewer than 2^32 in one build; build the crawl in several outputs",
                documents);
  // Keys are uniform: equal slices hold equally many, give or take; 1.25 for the give and the take.
  const int64_t task_bytes = std::max<int64_t>(memory_bytes / threads, 1 << 20);
  const int64_t slices = std::max<int64_t>(1, (signed_documents * 16 * 5 / 4 + task_bytes - 1) / task_bytes);
  Sets sets(static_cast<size_t>(documents));
  std::mutex mutex;
  parallel_for(bands * slices, threads, [&](int64_t task) {
    const int64_t band = task / slices, slice = task % slices;
    const uint64_t width = ~uint64_t{0} / static_cast<uint64_t>(slices);
    const uint64_t low = static_cast<uint64_t>(slice) * width;
    const uint64_t high = slice + 1 == slices ? ~uint64_t{0} : low + width - 1;
    std::vector<Record> records;
    for (size_t part = 0; part < band_files.size(); ++part)
      BandFile(band_files[part], bands, /*check=*/false)
          .collect(band, low, high, out.part_begin[part], records);
    std::sort(records.begin(), records.end(), [](const Record& a, const Record& b) {
      return a.key != b.key ? a.key < b.key : a.document < b.document;
    });
    const std::lock_guard lock(mutex);
    for (size_t i = 1; i < records.size(); ++i)
      if (records[i].key == records[i - 1].key)
        sets.unite(static_cast<uint32_t>(records[i - 1].document),
                   static_cast<uint32_t>(records[i].document));
  });
  out.first = std::move(sets).roots();
  return out;
}

}  // namespace tumbler::text
