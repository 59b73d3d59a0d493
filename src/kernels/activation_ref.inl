// activation.h in plain loops. The tanh form of GELU is x * sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715
// x^3), since (1 + tanh u) / 2 = sigmoid(2u).

inline float sigmoid(float x) {
  return 1.0f / (1.0f + std::exp(-x));
}
inline float silu(float x) {
  return x * sigmoid(x);
}
inline float silu_derivative(float x) {
  return sigmoid(x) * (1.0f + x * (1.0f - sigmoid(x)));
}
inline float gelu_argument(float x) {
  return 2.0f * 0.7978845608f * (x + 0.044715f * x * x * x);
}
inline float gelu(float x) {
  return x * sigmoid(gelu_argument(x));
}
inline float gelu_derivative(float x) {
  if (x > 20.0f) return 1.0f;  // where x^2 would overflow and meet a zero
  if (x < -20.0f) return 0.0f;
  const float s = sigmoid(gelu_argument(x)), slope = 2.0f * 0.7978845608f * (1.0f + 3.0f * 0.044715f * x * x);
  return s + x * s * (1.0f - s) * slope;
}

template <class T>
void gelu_forward(T* out, const T* inp, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = from_float<T>(gelu(to_float(inp[i])));
}

template <class T>
void gelu_backward(T* d_inp, const T* d_out, const T* inp, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    d_inp[i] = from_float<T>(to_float(d_out[i]) * gelu_derivative(to_float(inp[i])));
}

template <class T>
void glu_forward(T* out, const T* gate_up, Gate gate, int64_t N, int64_t I) {
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t i = 0; i < I; ++i) {
      const float g = to_float(gate_up[n * 2 * I + i]), up = to_float(gate_up[n * 2 * I + I + i]);
      out[n * I + i] = from_float<T>((gate == Gate::silu ? silu(g) : gelu(g)) * up);
    }
  }
}

// forward was: out = act(gate) * up
template <class T>
void glu_backward(T* d_gate_up, const T* d_out, const T* gate_up, Gate gate, int64_t N, int64_t I) {
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t i = 0; i < I; ++i) {
      const int64_t at = n * 2 * I + i;
      const float g = to_float(gate_up[at]), up = to_float(gate_up[at + I]), dy = to_float(d_out[n * I + i]);
      d_gate_up[at] = from_float<T>(dy * up * (gate == Gate::silu ? silu_derivative(g) : gelu_derivative(g)));
      d_gate_up[at + I] = from_float<T>(dy * (gate == Gate::silu ? silu(g) : gelu(g)));
    }
  }
}

template <class T>
void add_in_place(T* a, const T* b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) a[i] = from_float<T>(to_float(a[i]) + to_float(b[i]));
}

inline void convert_to_bf16(bf16* out, const float* inp, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = to_bf16(inp[i]);
}
inline void convert_to_float(float* out, const bf16* inp, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = to_float(inp[i]);
}
