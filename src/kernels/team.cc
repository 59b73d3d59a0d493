#include "kernels/team.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include <sched.h>

namespace tumbler::kernels {
namespace {

// The state of a team in one word, so that a thread enters a piece of work or misses it as a whole: the
// piece's number, whether it may still be entered, how many threads it wants, how many are inside.
constexpr uint64_t kInside = 0xffff, kWanted = uint64_t{1} << 16, kOpen = uint64_t{1} << 31,
                   kPiece = uint64_t{1} << 32;
constexpr int kMostThreads = 0x7fff;

uint64_t piece_of(uint64_t state) noexcept {
  return state / kPiece;
}

// Waits in ever more polite ways. What is awaited mostly comes within microseconds.
class Patience {
 public:
  // False once it has been some milliseconds.
  bool wait() noexcept {
    if (turns_ < kSpins) {
      ++turns_;
      __builtin_ia32_pause();
      return true;
    }
    ::sched_yield();
    const auto now = std::chrono::steady_clock::now();
    if (turns_ == kSpins) {
      ++turns_;
      since_ = now;
    }
    return now - since_ < std::chrono::milliseconds(3);
  }

 private:
  static constexpr int kSpins = 2000;  // some 20 microseconds
  int turns_ = 0;
  std::chrono::steady_clock::time_point since_;
};

class Team {
 public:
  Team() = default;
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      state_.fetch_add(kPiece);
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void run(int threads, void (*body)(void*), void* context) noexcept {
    threads = std::min(threads, kMostThreads);
    start(threads - 1);
    ahead_end_.store(0, std::memory_order_relaxed);
    body_ = body;
    context_ = context;
    const uint64_t piece = piece_of(state_.load(std::memory_order_relaxed)) + 1;
    state_.store(piece * kPiece + kOpen + static_cast<uint64_t>(threads - 1) * kWanted);
    if (sleepers_.load() > 0) {
      { const std::lock_guard lock(mutex_); }
      wake_.notify_all();
    }
    body(context);
    state_.fetch_and(~kOpen, std::memory_order_relaxed);
    for (Patience patience; (state_.load(std::memory_order_acquire) & kInside) != 0;) patience.wait();
  }

  void read_ahead(const std::byte* data, int64_t bytes) noexcept {
    const auto begin = reinterpret_cast<uintptr_t>(data);
    ahead_.store(begin, std::memory_order_relaxed);
    ahead_end_.store(begin + static_cast<uintptr_t>(bytes), std::memory_order_relaxed);
  }

 private:
  // Some of what is to be read ahead, so little that what is awaited is seen soon. Threads may take the same
  // piece, or one of the order before: prefetches are hints.
  bool read_some_ahead() noexcept {
    constexpr uintptr_t kBytes = 1024;
    const uintptr_t begin = ahead_.load(std::memory_order_relaxed);
    if (begin >= ahead_end_.load(std::memory_order_relaxed)) return false;
    ahead_.store(begin + kBytes, std::memory_order_relaxed);
    for (uintptr_t at = begin; at < begin + kBytes; at += 64)
      __builtin_prefetch(reinterpret_cast<const void*>(at), 0, 2);
    return true;
  }

  void start(int wanted) noexcept {
    while (static_cast<int>(threads_.size()) < wanted) {
      const auto index = threads_.size();
      try {
        threads_.emplace_back([this, index] { work(index); });
      } catch (const std::system_error&) {
        return;  // no more threads to be had: those that are here do the work
      }
    }
  }

  void work(size_t index) noexcept {
    uint64_t seen = 0;
    for (;;) {
      uint64_t state = await(seen);
      if (stop_) return;
      seen = piece_of(state);
      while ((state & kOpen) != 0 && piece_of(state) == seen && index < (state / kWanted & kMostThreads))
        if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
          body_(context_);
          state_.fetch_sub(1, std::memory_order_release);
          break;
        }
    }
  }

  // The state once there is a piece of work other than `seen`.
  uint64_t await(uint64_t seen) noexcept {
    for (Patience patience; read_some_ahead() || patience.wait();)
      if (const uint64_t state = state_.load(std::memory_order_acquire); piece_of(state) != seen)
        return state;
    std::unique_lock lock(mutex_);
    ++sleepers_;
    wake_.wait(lock, [&] { return piece_of(state_.load()) != seen; });
    --sleepers_;
    return state_.load();
  }

  alignas(64) std::atomic<uint64_t> state_ = 0;
  alignas(64) void (*body_)(void*) = nullptr;
  void* context_ = nullptr;
  std::atomic<uintptr_t> ahead_ = 0, ahead_end_ = 0;
  std::atomic<int> sleepers_ = 0;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::thread> threads_;
};

Team& team() {
  static thread_local Team team;
  return team;
}

}  // namespace

void internal::run_team(int threads, void (*body)(void*), void* context) noexcept {
  if (threads <= 1) return body(context);
  team().run(threads, body, context);
}

void read_ahead(const std::byte* data, int64_t bytes) noexcept {
  team().read_ahead(data, bytes);
}

}  // namespace tumbler::kernels
