// Where the time of a step goes, by operation.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

namespace tumbler::nn {

class Profiler {
 public:
  struct Entry {
    std::string_view name;  // a string literal
    double seconds = 0, flops = 0;
    int64_t calls = 0;
  };
  // Times a scope; a null profiler costs one branch.
  class Scope {
   public:
    Scope(Profiler* profiler, std::string_view name, double flops = 0)
        : profiler_(profiler), name_(name), flops_(flops) {
      if (profiler_ != nullptr) start_ = std::chrono::steady_clock::now();
    }
    ~Scope() {
      if (profiler_ != nullptr)
        profiler_->add(name_, flops_,
                       std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Profiler* profiler_;
    std::string_view name_;
    double flops_;
    std::chrono::steady_clock::time_point start_;
  };

  void add(std::string_view name, double flops, double seconds);
  // Largest first.
  std::vector<Entry> entries() const;
  void clear() { entries_.clear(); }

 private:
  std::vector<Entry> entries_;
};

}  // namespace tumbler::nn
