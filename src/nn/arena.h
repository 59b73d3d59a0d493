// Arena: one zeroed, 64-byte aligned block of memory, on huge pages where the system gives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace tumbler::nn {

// Offsets and sizes inside an arena are rounded up to this many bytes: a cache line, and one AVX-512
// register.
constexpr int64_t kArenaAlignment = 64;

template <class Integer>
constexpr Integer round_up(Integer n, Integer multiple) noexcept {
  return (n + multiple - 1) / multiple * multiple;
}

class Arena {
 public:
  Arena() = default;
  // Pages are zero, and take memory only once touched. Throws Error where the address space cannot be had.
  // huge_pages: what is touched counts in steps of 2 MB.
  explicit Arena(int64_t size_bytes, bool huge_pages = true);
  ~Arena();
  Arena(Arena&& other) noexcept { swap(other); }
  Arena& operator=(Arena&& other) noexcept {
    swap(other);
    return *this;
  }

  int64_t size_bytes() const noexcept { return size_; }
  // `count` elements from byte `offset`, a multiple of kArenaAlignment.
  template <class T>
  std::span<T> view(int64_t offset, int64_t count) noexcept {
    return {reinterpret_cast<T*>(static_cast<std::byte*>(data_) + offset), static_cast<size_t>(count)};
  }
  template <class T>
  std::span<const T> view(int64_t offset, int64_t count) const noexcept {
    return {reinterpret_cast<const T*>(static_cast<const std::byte*>(data_) + offset),
            static_cast<size_t>(count)};
  }

 private:
  void swap(Arena& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  void* data_ = nullptr;
  int64_t size_ = 0;
};

// Lays spans out one after the other: first pass with an empty arena to learn the size, second to take the
// spans.
class ArenaLayout {
 public:
  explicit ArenaLayout(Arena* arena = nullptr) : arena_(arena) {}
  template <class T>
  std::span<T> take(int64_t count) {
    const int64_t offset = size_;
    size_ += round_up(count * static_cast<int64_t>(sizeof(T)), kArenaAlignment);
    return arena_ != nullptr ? arena_->view<T>(offset, count) : std::span<T>();
  }
  int64_t size_bytes() const noexcept { return size_; }

 private:
  Arena* arena_;
  int64_t size_ = 0;
};

}  // namespace tumbler::nn
