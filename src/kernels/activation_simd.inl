// activation.h on vectors. GELU's tanh form is x * sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x^3), since
// (1 + tanh u) / 2 = sigmoid(2u): one exp, and no cancellation for negative x.

struct Activation {
  Vec value, derivative;
};

struct Silu {
  static TUMBLER_INLINE Vec value(Vec x) { return x * sigmoid(x); }
  static TUMBLER_INLINE Activation both(Vec x) {
    const Vec s = sigmoid(x), y = x * s;
    return {y, fma(y, set(1.0f) - s, s)};
  }
};

struct Gelu {
  static constexpr float kLinear = 2 * 0.7978845608f, kCubic = kLinear * 0.044715f;
  static TUMBLER_INLINE Vec value(Vec x) { return x * sigmoid(x * fma(x * x, set(kCubic), set(kLinear))); }
  static TUMBLER_INLINE Activation both(Vec x) {
    // Beyond 20 the derivative is 0 or 1 in f32; x^2 would overflow and meet a zero.
    const Vec c = max(set(-20.0f), min(set(20.0f), x)), square = c * c;
    const Vec s = sigmoid(c * fma(square, set(kCubic), set(kLinear)));
    const Vec slope = fma(square, set(3 * kCubic), set(kLinear));
    return {x * s, fma(c * s * (set(1.0f) - s), slope, s)};
  }
};

template <class T>
void gelu_forward(T* out, const T* inp, int64_t n) {
  for_lanes(n, [&](int64_t i, auto part)
                   TUMBLER_INLINE_LAMBDA { store(out + i, Gelu::value(load(inp + i, part)), part); });
}

template <class T>
void gelu_backward(T* d_inp, const T* d_out, const T* inp, int64_t n) {
  for_lanes(n, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
    store(d_inp + i, load(d_out + i, part) * Gelu::both(load(inp + i, part)).derivative, part);
  });
}

template <class Act, class T>
void glu_forward_of(T* out, const T* gate_up, int64_t N, int64_t I) {
  for (int64_t n = 0; n < N; ++n, out += I, gate_up += 2 * I) {
    for_lanes(I, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
      store(out + i, Act::value(load(gate_up + i, part)) * load(gate_up + I + i, part), part);
    });
  }
}
template <class T>
void glu_forward(T* out, const T* gate_up, Gate gate, int64_t N, int64_t I) {
  if (gate == Gate::silu)
    glu_forward_of<Silu>(out, gate_up, N, I);
  else
    glu_forward_of<Gelu>(out, gate_up, N, I);
}

// forward was: out = act(gate) * up
template <class Act, class T>
void glu_backward_of(T* d_gate_up, const T* d_out, const T* gate_up, int64_t N, int64_t I) {
  for (int64_t n = 0; n < N; ++n, d_gate_up += 2 * I, d_out += I, gate_up += 2 * I) {
    for_lanes(I, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
      const Activation act = Act::both(load(gate_up + i, part));
      const Vec dy = load(d_out + i, part), up = load(gate_up + I + i, part);
      store(d_gate_up + i, dy * up * act.derivative, part);
      store(d_gate_up + I + i, dy * act.value, part);
    });
  }
}
template <class T>
void glu_backward(T* d_gate_up, const T* d_out, const T* gate_up, Gate gate, int64_t N, int64_t I) {
  if (gate == Gate::silu)
    glu_backward_of<Silu>(d_gate_up, d_out, gate_up, N, I);
  else
    glu_backward_of<Gelu>(d_gate_up, d_out, gate_up, N, I);
}

template <class T>
void add_in_place(T* a, const T* b, int64_t n) {
  for_lanes(n, [&](int64_t i, auto part)
                   TUMBLER_INLINE_LAMBDA { store(a + i, load(a + i, part) + load(b + i, part), part); });
}

inline void convert_to_bf16(bf16* out, const float* inp, int64_t n) {
  for_lanes(n,
            [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA { store(out + i, load(inp + i, part), part); });
}
inline void convert_to_float(float* out, const bf16* inp, int64_t n) {
  for_lanes(n,
            [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA { store(out + i, load(inp + i, part), part); });
}
