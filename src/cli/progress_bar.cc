#include "cli/progress_bar.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <mutex>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace tumbler::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

// What a bar knows of a task, and its words. The rate is that of the last half minute, so that a resumed
// task, or one whose speed changes, tells the truth.
class Meter {
 public:
  void start(std::string_view label, int64_t total, std::string_view unit) {
    label_ = label;
    unit_ = unit;
    total_ = total;
    done_ = 0;
    started_ = Clock::now();
    window_.clear();
  }
  void update(int64_t done, std::string_view note) {
    done_ = done;
    if (!note.empty()) note_ = note;
    const auto now = Clock::now();
    if (window_.empty() || seconds_between(window_.back().time, now) >= 0.1) window_.push_back({now, done});
    while (window_.size() > 2 && seconds_between(window_.front().time, now) > 30) window_.pop_front();
  }
  double rate() const {
    if (window_.empty()) return 0;
    const double seconds = seconds_between(window_.front().time, Clock::now());
    return seconds > 0.05 ? static_cast<double>(done_ - window_.front().done) / seconds : 0;
  }
  double elapsed() const { return seconds_between(started_, Clock::now()); }
  double fraction() const {
    return total_ > 0 ? std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0) : 0;
  }
  bool has_total() const { return total_ > 0; }
  const std::string& label() const { return label_; }

  // "1,234/5,000 steps  12 steps/s  0:31 left  loss 3.21"
  std::string words(bool finished) const {
    std::string text = has_total()
                           ? fmt::format("{}/{} {}", with_separators(done_), with_separators(total_), unit_)
                           : fmt::format("{} {}", with_separators(done_), unit_);
    const double speed = finished && elapsed() > 0.05 ? static_cast<double>(done_) / elapsed() : rate();
    if (finished) {
      text += fmt::format("  in {}", format_duration(elapsed()));
    } else if (speed > 0) {
      text += "  " + format_rate(speed, unit_);
      if (has_total())
        text += fmt::format("  {} left", format_duration(static_cast<double>(total_ - done_) / speed));
    }
    if (!note_.empty()) text += "  " + note_;
    return text;
  }

 private:
  struct Sample {
    Clock::time_point time;
    int64_t done;
  };
  std::string label_, unit_, note_;
  int64_t total_ = 0, done_ = 0;
  Clock::time_point started_ = Clock::now();
  std::deque<Sample> window_;
};

class Bar final : public Progress {
 public:
  ~Bar() override { finish(); }
  void start(std::string_view label, int64_t total, std::string_view unit) override {
    const std::lock_guard lock(mutex_);
    end_line();
    meter_ = Meter();
    meter_.start(label, total, unit);
    open_ = true;
    draw(false);
  }
  void update(int64_t done, std::string_view note) override {
    const std::lock_guard lock(mutex_);
    meter_.update(done, note);
    if (open_ && seconds_between(drawn_, Clock::now()) >= 0.1) draw(false);
  }
  void finish() override {
    const std::lock_guard lock(mutex_);
    end_line();
  }

 private:
  void end_line() {
    if (!open_) return;
    draw(true);
    std::fputc('\n', stderr);
    open_ = false;
  }
  void draw(bool finished) {
    drawn_ = Clock::now();
    struct winsize size {};
    const int columns = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    std::string line = meter_.label() + " ";
    if (meter_.has_total()) {
      constexpr int kCells = 20;
      const int filled = static_cast<int>(meter_.fraction() * kCells);
      line += fmt::format("[{}{}] {:3.0f}% ", std::string(static_cast<size_t>(filled), '#'),
                          std::string(static_cast<size_t>(kCells - filled), '.'), 100 * meter_.fraction());
    }
    line += meter_.words(finished);
    if (line.size() >= static_cast<size_t>(columns)) line.resize(static_cast<size_t>(columns - 1));
    std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
    std::fflush(stderr);
  }

  std::mutex mutex_;
  Meter meter_;
  Clock::time_point drawn_{};
  bool open_ = false;
};

class PlainLines final : public Progress {
 public:
  ~PlainLines() override { finish(); }
  void start(std::string_view label, int64_t total, std::string_view unit) override {
    const std::lock_guard lock(mutex_);
    end();
    meter_ = Meter();
    meter_.start(label, total, unit);
    open_ = true;
    printed_ = Clock::now();
  }
  void update(int64_t done, std::string_view note) override {
    const std::lock_guard lock(mutex_);
    meter_.update(done, note);
    if (open_ && seconds_between(printed_, Clock::now()) >= kSeconds) print(false);
  }
  void finish() override {
    const std::lock_guard lock(mutex_);
    end();
  }

 private:
  static constexpr double kSeconds = 10;
  void end() {
    if (open_) print(true);
    open_ = false;
  }
  void print(bool finished) {
    printed_ = Clock::now();
    std::fprintf(stderr, "%s: %s\n", meter_.label().c_str(), meter_.words(finished).c_str());
  }

  std::mutex mutex_;
  Meter meter_;
  Clock::time_point printed_{};
  bool open_ = false;
};

}  // namespace

std::string with_separators(int64_t n) {
  std::string digits = fmt::format("{}", n < 0 ? -n : n);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), 1, ',');
  return n < 0 ? "-" + digits : digits;
}

std::string format_rate(double per_second, std::string_view unit) {
  if (per_second >= 10000)
    return fmt::format("{} {}/s", with_separators(static_cast<int64_t>(per_second)), unit);
  return fmt::format("{:.{}f} {}/s", per_second, per_second < 10 ? 2 : per_second < 100 ? 1 : 0, unit);
}

std::string format_duration(double seconds) {
  const int64_t s = static_cast<int64_t>(std::clamp(seconds, 0.0, 3.6e8) + 0.5);
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::unique_ptr<Progress> make_progress() {
  if (::isatty(STDERR_FILENO) != 0) return std::make_unique<Bar>();
  return std::make_unique<PlainLines>();
}

}  // namespace tumbler::cli
