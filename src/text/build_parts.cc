// Parts of a build: reader → bounded queue → workers → ordered writer. A lane is one part being made: its
// thread reads the pages, hands them to the workers that all lanes share, and writes what comes back in the
// order of the pages, so that a part's bytes do not hang on the number of threads.
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <span>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "crawl/page.h"
#include "io/file.h"
#include "io/lines.h"
#include "text/build.h"
#include "text/dedup.h"
#include "text/document.h"

namespace fs = std::filesystem;

namespace tumbler::text {
namespace {

// What a worker makes of a page.
struct Outcome {
  Verdict verdict;
  std::string line;   // the document's or the removed page's JSON
  int64_t bytes = 0;  // of the page, held until it is written
  std::exception_ptr error;
};

class Lane;
struct Task {
  Lane* lane = nullptr;
  int64_t sequence = 0;
  crawl::Page page;
};

// Tasks from lanes to workers. Each lane bounds how much it has in flight, which bounds the queue.
class TaskQueue {
 public:
  void push(Task task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    ready_.notify_one();
  }
  std::optional<Task> pop() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return closed_ || !tasks_.empty(); });
    if (tasks_.empty()) return std::nullopt;
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    return task;
  }
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Task> tasks_;
  bool closed_ = false;
};

std::string document_line(const crawl::Page& page, Verdict& verdict, const FilterOptions& options) {
  Document document;
  document.text = std::move(verdict.text);
  document.id = page.id;
  document.dump = options.dump;
  document.url = page.url;
  document.date = page.date;
  document.file_path = page.file_path;
  document.language = verdict.language.language;
  document.language_score = verdict.language.score;
  std::string line = to_json_line(document);
  verdict.text = std::move(document.text);
  return line;
}

// Bytes read so far over all lanes, for the bar.
struct Meter {
  Progress& progress;
  std::atomic<int64_t> bytes{0}, pages{0};
  void add(int64_t more) { progress.update((bytes += more) >> 20, fmt::format("{} pages", pages.load())); }
};

class Lane {
 public:
  Lane(const Manifest& manifest, const fs::path& output, TaskQueue& queue, int64_t max_bytes,
       int64_t max_pages, Meter& meter)
      : manifest_(manifest),
        folder_(output / "parts"),
        queue_(queue),
        max_bytes_(max_bytes),
        max_pages_(max_pages),
        meter_(meter) {}

  void make(int64_t part, const std::string& language_model) {
    io::LineWriter documents(detail::part_path(folder_, part, ".documents.jsonl.zst"), 1);
    io::LineWriter removed(detail::part_path(folder_, part, ".removed.jsonl.zst"));
    BandWriter bands(detail::part_path(folder_, part, ".bands"), manifest_.options.minhash.bands);
    documents_ = &documents, removed_ = &removed, bands_ = &bands;
    funnel_ = {};
    funnel_.language_model = language_model;
    const Manifest::Part& range = manifest_.parts[static_cast<size_t>(part)];
    try {
      for (int64_t i = range.first; i < range.first + range.count; ++i)
        read_file(manifest_.inputs[static_cast<size_t>(i)]);
      while (written_ < submitted_) write_next();
    } catch (...) {
      drain();
      throw;
    }
    documents.commit();
    removed.commit();
    bands.commit();
    finish(part);
  }

  // Called by workers.
  void deliver(int64_t sequence, Outcome outcome) {
    {
      const std::lock_guard lock(mutex_);
      outcomes_.emplace(sequence, std::move(outcome));
    }
    delivered_.notify_one();
  }

 private:
  void read_file(const InputFile& input) {
    std::unique_ptr<crawl::PageReader> reader;
    std::error_code error;
    if (static_cast<int64_t>(fs::file_size(input.path, error)) != input.size_bytes || error)
      throw Error("data build",
                  "{}: had {} bytes when the build began and has changed; build into another --output",
                  input.path, input.size_bytes);
    reader = crawl::open_pages(input.path);
    int64_t before = 0;
    for (;;) {
      std::optional<Result<crawl::Page>> page = reader->next();
      meter_.add(std::max<int64_t>(0, reader->position() - before));
      before = std::max(before, reader->position());
      if (!page) break;
      ++meter_.pages;
      *page ? submit(std::move(**page)) : submit_unreadable(input, page->reason());
    }
    funnel_.skipped_records += reader->skipped();
  }

  void submit(crawl::Page page) {
    while (submitted_ > written_ &&
           (submitted_ - written_ >= max_pages_ ||
            bytes_in_flight_ + static_cast<int64_t>(page.content.size()) > max_bytes_))
      write_next();
    bytes_in_flight_ += static_cast<int64_t>(page.content.size());
    queue_.push({this, submitted_++, std::move(page)});
  }

  // Takes its turn among the pages, so that the removed lines are in input order.
  void submit_unreadable(const InputFile& input, const Reason& reason) {
    Outcome outcome;
    outcome.verdict.filter = Filter::kRead;
    outcome.verdict.reason = reason;
    outcome.line = detail::removed_json_line("", "", input.path, -1, name_of(Filter::kRead), reason, {}, "");
    while (submitted_ - written_ >= max_pages_) write_next();
    deliver(submitted_++, std::move(outcome));
  }

  Outcome take_next() {
    std::unique_lock lock(mutex_);
    delivered_.wait(lock, [&] { return outcomes_.contains(written_); });
    Outcome outcome = std::move(outcomes_.extract(written_).mapped());
    ++written_;
    bytes_in_flight_ -= outcome.bytes;
    return outcome;
  }

  void write_next() {
    const Outcome outcome = take_next();
    if (outcome.error) std::rethrow_exception(outcome.error);
    const Verdict& verdict = outcome.verdict;
    if (!verdict.kept && verdict.filter == Filter::kRead)
      funnel_.add_unreadable(verdict.reason);
    else
      funnel_.add(verdict);
    if (verdict.kept) bands_->add(verdict.band_keys);
    (verdict.kept ? documents_ : removed_)->write_line(outcome.line);
  }

  // After an error: workers still hold this lane's pages.
  void drain() noexcept {
    while (written_ < submitted_) take_next();
  }

  // The counts come last: they say that the part is whole.
  void finish(int64_t part) {
    nlohmann::ordered_json sizes;
    for (const char* ending : {".documents.jsonl.zst", ".removed.jsonl.zst", ".bands"})
      sizes[ending] = fs::file_size(detail::part_path(folder_, part, ending));
    const nlohmann::ordered_json json = {{"sizes", sizes}, {"funnel", to_json(funnel_)}};
    io::write_file(detail::part_path(folder_, part, ".json"), json.dump() + "\n");
  }

  const Manifest& manifest_;
  fs::path folder_;
  TaskQueue& queue_;
  int64_t max_bytes_, max_pages_, bytes_in_flight_ = 0, submitted_ = 0, written_ = 0;
  Meter& meter_;
  io::LineWriter *documents_ = nullptr, *removed_ = nullptr;
  BandWriter* bands_ = nullptr;
  Funnel funnel_;
  std::mutex mutex_;
  std::condition_variable delivered_;
  std::map<int64_t, Outcome> outcomes_;
};

void work(TaskQueue& queue, const SharedFilters& shared) {
  PageFilter filter(shared);
  while (std::optional<Task> task = queue.pop()) {
    Outcome outcome;
    outcome.bytes = static_cast<int64_t>(task->page.content.size());
    try {
      outcome.verdict = filter.apply(task->page);
      Verdict& v = outcome.verdict;
      outcome.line = v.kept ? document_line(task->page, v, shared.options)
                            : detail::removed_json_line(task->page.url, task->page.id, task->page.file_path,
                                                        task->page.position, name_of(v.filter), v.reason,
                                                        v.language, v.text);
    } catch (...) {
      outcome.error = std::current_exception();
    }
    task->page.content = {};
    task->lane->deliver(task->sequence, std::move(outcome));
  }
}

}  // namespace

std::string detail::removed_json_line(const std::string& url, const std::string& id,
                                      const std::string& file_path, int64_t position, std::string_view filter,
                                      const Reason& reason, const LanguageGuess& language,
                                      std::string_view text) {
  if (text.size() > kExcerptBytes) {
    size_t end = kExcerptBytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    text = text.substr(0, end);
  }
  const nlohmann::ordered_json json = {{"url", url},
                                       {"id", id},
                                       {"file_path", file_path},
                                       {"position", position},
                                       {"filter", filter},
                                       {"reason", reason.code},
                                       {"detail", reason.detail},
                                       {"language", language.language},
                                       {"language_score", language.score},
                                       {"text", text}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::optional<Funnel> detail::finished_part(const fs::path& output, int64_t part) {
  const fs::path folder = output / "parts", path = part_path(folder, part, ".json");
  if (!fs::exists(path)) return std::nullopt;
  try {
    const auto json = nlohmann::json::parse(io::read_file(path));
    for (const auto& [ending, size] : json.at("sizes").items()) {
      std::error_code error;
      if (fs::file_size(part_path(folder, part, ending), error) != size.get<uintmax_t>() || error) {
        log::warn("part {}: {} is not as it was written; the part is made again", part, ending);
        return std::nullopt;
      }
    }
    return funnel_from_json(json.at("funnel"));
  } catch (const nlohmann::json::exception&) {
    log::warn("part {}: its counts are damaged; the part is made again", part);
    return std::nullopt;
  }
}

void detail::make_parts(const Manifest& manifest, const fs::path& output, std::span<const int64_t> parts,
                        int threads, int64_t memory_mb, Progress& progress) {
  const SharedFilters shared(manifest.options);
  // A reader keeps about eight workers busy; each lane may hold its share of half the memory in pages (the
  // other half: their documents).
  const int64_t lanes = std::clamp<int64_t>(threads / 8 + 1, 1, static_cast<int64_t>(parts.size()));
  const int64_t max_bytes = std::max<int64_t>(memory_mb * 1024 * 1024 / 4 / lanes, 1 << 20),
                max_pages = 64 * std::max(1, threads);
  int64_t total = 0;
  for (const int64_t part : parts)
    for (int64_t i = 0; i < manifest.parts[static_cast<size_t>(part)].count; ++i)
      total += manifest.inputs[static_cast<size_t>(manifest.parts[static_cast<size_t>(part)].first + i)]
                   .size_bytes;
  progress.start("data", total >> 20, "MB");
  Meter meter{progress};
  TaskQueue queue;
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) workers.emplace_back([&] { work(queue, shared); });
  std::atomic<size_t> next{0};
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto run_lane = [&] {
    Lane lane(manifest, output, queue, max_bytes, max_pages, meter);
    try {
      for (size_t i; (i = next++) < parts.size();) lane.make(parts[i], shared.language->name());
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
      next = parts.size();
    }
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < lanes; ++i) others.emplace_back(run_lane);
  run_lane();
  for (std::thread& thread : others) thread.join();
  queue.close();
  for (std::thread& thread : workers) thread.join();
  progress.finish();
  if (error) std::rethrow_exception(error);
}

}  // namespace tumbler::text
