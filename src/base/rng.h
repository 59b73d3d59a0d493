// Random numbers that are the same on every machine, standard library and thread count.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace tumbler {

// One step of SplitMix64 (Steele et al. 2014): a bijective mix of 64 bits. Used to seed and to hash counters.
constexpr uint64_t mix64(uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// xoshiro256++ 1.0 (Blackman & Vigna 2019, arXiv:1805.01407). A UniformRandomBitGenerator.
// `Rng(seed, stream)` gives independent streams: one for each tensor, document, sequence…
class Rng {
 public:
  using result_type = uint64_t;
  struct State {
    uint64_t s[4];
  };

  explicit Rng(uint64_t seed, uint64_t stream = 0) noexcept {
    uint64_t x = mix64(seed) ^ mix64(~stream);
    for (uint64_t& word : state_.s) word = x = mix64(x);
  }
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return std::numeric_limits<uint64_t>::max(); }

  uint64_t operator()() noexcept {
    uint64_t* s = state_.s;
    const uint64_t result = rotl(s[0] + s[3], 23) + s[0];
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
  }
  // Uniform in [0, 1) with 53 random bits.
  double uniform() noexcept { return static_cast<double>((*this)() >> 11) * 0x1p-53; }
  // Uniform in [0, n) without bias (Lemire 2019, arXiv:1805.10941). n > 0.
  uint64_t below(uint64_t n) noexcept {
    __extension__ using u128 = unsigned __int128;
    u128 m = static_cast<u128>((*this)()) * n;
    if (static_cast<uint64_t>(m) < n) {
      const uint64_t threshold = (0 - n) % n;
      while (static_cast<uint64_t>(m) < threshold) m = static_cast<u128>((*this)()) * n;
    }
    return static_cast<uint64_t>(m >> 64);
  }
  // Standard normal (Box-Muller, the cosine half only, so that the state is just the generator's).
  double normal() noexcept {
    const double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586476925 * v);
  }
  const State& state() const noexcept { return state_; }
  void set_state(const State& state) noexcept { state_ = state; }

 private:
  static constexpr uint64_t rotl(uint64_t x, int k) noexcept { return (x << k) | (x >> (64 - k)); }
  State state_;
};

}  // namespace tumbler
