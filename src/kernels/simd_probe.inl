// For simd_test.cc, after simd_math.inl: the vector functions over arrays, in the namespace of one
// instruction set.

constexpr SimdProbe make_probe() {
  return {
      .lanes = kLanes,
      .exp =
          [](float* out, const float* x, int64_t n) {
            for_lanes(n, [&](int64_t i, auto part)
                             TUMBLER_INLINE_LAMBDA { store(out + i, exp(load(x + i, part)), part); });
          },
      .log =
          [](float* out, const float* x, int64_t n) {
            for_lanes(n, [&](int64_t i, auto part)
                             TUMBLER_INLINE_LAMBDA { store(out + i, log(load(x + i, part)), part); });
          },
      .tanh =
          [](float* out, const float* x, int64_t n) {
            for_lanes(n, [&](int64_t i, auto part)
                             TUMBLER_INLINE_LAMBDA { store(out + i, tanh(load(x + i, part)), part); });
          },
      .sigmoid =
          [](float* out, const float* x, int64_t n) {
            for_lanes(n, [&](int64_t i, auto part)
                             TUMBLER_INLINE_LAMBDA { store(out + i, sigmoid(load(x + i, part)), part); });
          },
      .round_bf16 =
          [](float* out, const float* x, int64_t n) {
            for_lanes(n, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
              store(out + i, round_to<bf16>(load(x + i, part)), part);
            });
          },
      .sum =
          [](const float* x, int64_t n) {
            Vec4 total = zero4();
            for_lanes4(n, [&](int64_t i, auto part, int k)
                              TUMBLER_INLINE_LAMBDA { total.v[k] = total.v[k] + load(x + i, part); });
            return sum(total);
          },
      .max =
          [](const float* x, int64_t n) {
            Vec top = set(-1e30f);
            for_lanes(n, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
              top = max(keep(load(x + i, part), set(-1e30f), part), top);
            });
            return max(top);
          },
  };
}
