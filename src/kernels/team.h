// A team of threads for short pieces of work, one after another: the decoder forks and joins some hundred
// times for each token. OpenMP's barriers wait for every thread of a team, also for one that the operating
// system has not let run yet; here a piece of work is done when its tasks are, and whoever comes late finds
// nothing to do. So what else runs on the machine costs its share of a core and no more.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace tumbler::kernels {

namespace internal {
void run_team(int threads, void (*body)(void*), void* context) noexcept;
}  // namespace internal

// Calls body() on this thread and, as far as they come in time, on up to threads - 1 others, and returns when
// all calls have: body takes tasks from a counter until there are none. Each thread that calls this has a
// team of its own, started with the first call. body must not throw, nor call this.
template <class Body>
void run_team(int threads, Body&& body) noexcept {
  using Plain = std::remove_reference_t<Body>;
  internal::run_team(
      threads, [](void* context) { (*static_cast<Plain*>(context))(); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// Until the next run_team, threads of this thread's team that have nothing to do bring these bytes into their
// caches: memory works on while one thread does what cannot be shared. Nothing where there is no team yet.
void read_ahead(const std::byte* data, int64_t bytes) noexcept;

// body(i) for 0..count-1, handed out one by one.
template <class Body>
void for_tasks(int64_t count, int threads, const Body& body) noexcept {
  if (threads == 1 || count <= 1) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  std::atomic<int64_t> next = 0;
  run_team(threads, [&] {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(i);
  });
}

// While one of these lives, parallel_chunks() of this thread uses its team and not OpenMP. For code that does
// not call oneDNN, whose OpenMP threads would spin beside the team's.
class UseTeam {
 public:
  UseTeam() noexcept : before_(active_) { active_ = true; }
  ~UseTeam() { active_ = before_; }
  UseTeam(const UseTeam&) = delete;
  UseTeam& operator=(const UseTeam&) = delete;
  static bool active() noexcept { return active_; }

 private:
  static inline thread_local bool active_ = false;
  bool before_;
};

}  // namespace tumbler::kernels
