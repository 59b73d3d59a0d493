// norm.h on vectors. A row is read from memory once; the later loops over it hit L1 (C = 4096 floats are 16
// KB).

// x += delta (where there is one), rounded to T; body(x, k) sees the result.
template <class T, class Body>
TUMBLER_INLINE void add_delta(T* x, const T* delta, int64_t C, Body body) {
  if (delta != nullptr) {
    for_lanes4(C, [&](int64_t i, auto part, int k) TUMBLER_INLINE_LAMBDA {
      const Vec v = round_to<T>(load(x + i, part) + load(delta + i, part));
      store(x + i, v, part);
      body(v, k);
    });
  } else {
    for_lanes4(C, [&](int64_t i, auto part, int k) TUMBLER_INLINE_LAMBDA { body(load(x + i, part), k); });
  }
}

template <class T>
void rms_norm_forward(T* out, float* rstd, T* residual, const T* delta, const float* weight, int64_t N,
                      int64_t C, float eps) {
  for (int64_t n = 0; n < N; ++n) {
    T *x = residual + n * C, *y = out + n * C;
    Vec4 squares = zero4();
    add_delta(x, delta == nullptr ? nullptr : delta + n * C, C,
              [&](Vec v, int k) TUMBLER_INLINE_LAMBDA { squares.v[k] = fma(v, v, squares.v[k]); });
    rstd[n] = 1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(C) + eps);
    const Vec r = set(rstd[n]);
    for_lanes(C, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
      store(y + i, load(x + i, part) * r * load(weight + i, part), part);
    });
  }
}

// forward was: out = x * r * weight with r = 1/sqrt(mean(x^2) + eps), so with g = d_out * weight
// d_x = r g - x r^3 mean(g x)
template <class T>
void rms_norm_backward(T* d_residual, float* d_weight, const T* d_out, const T* residual, const float* weight,
                       const float* rstd, int64_t N, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    const T *dy = d_out + n * C, *x = residual + n * C;
    T* dx = d_residual + n * C;
    Vec4 dot = zero4();
    for_lanes4(C, [&](int64_t i, auto part, int k) TUMBLER_INLINE_LAMBDA {
      dot.v[k] = fma(load(dy + i, part) * load(weight + i, part), load(x + i, part), dot.v[k]);
    });
    const Vec r = set(rstd[n]), pull = set(rstd[n] * rstd[n] * rstd[n] * sum(dot) / static_cast<float>(C));
    for_lanes(C, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
      const Vec dy_r = load(dy + i, part) * r, x_i = load(x + i, part);
      store(dx + i, fma(dy_r, load(weight + i, part), fnma(pull, x_i, load(dx + i, part))), part);
      store(d_weight + i, fma(dy_r, x_i, load(d_weight + i, part)), part);
    });
  }
}

template <class T>
void layer_norm_forward(T* out, float* mean, float* rstd, T* residual, const T* delta, const float* weight,
                        const float* bias, int64_t N, int64_t C, float eps) {
  for (int64_t n = 0; n < N; ++n) {
    T *x = residual + n * C, *y = out + n * C;
    Vec4 total = zero4(), squares = zero4();
    add_delta(x, delta == nullptr ? nullptr : delta + n * C, C,
              [&](Vec v, int k) TUMBLER_INLINE_LAMBDA { total.v[k] = total.v[k] + v; });
    mean[n] = sum(total) / static_cast<float>(C);
    const Vec m = set(mean[n]);
    for_lanes4(C, [&](int64_t i, auto part, int k) TUMBLER_INLINE_LAMBDA {
      const Vec centred = keep(load(x + i, part) - m, zero(), part);
      squares.v[k] = fma(centred, centred, squares.v[k]);
    });
    rstd[n] = 1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(C) + eps);
    const Vec r = set(rstd[n]);
    for_lanes(C, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
      const Vec z = (load(x + i, part) - m) * r;
      store(y + i, fma(z, load(weight + i, part), load(bias + i, part)), part);
    });
  }
}

// forward was: out = z * weight + bias with z = (x - mean) r, so with g = d_out * weight
// d_x = r (g - mean(g) - z mean(g z))
template <class T>
void layer_norm_backward(T* d_residual, float* d_weight, float* d_bias, const T* d_out, const T* residual,
                         const float* weight, const float* mean, const float* rstd, int64_t N, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    const T *dy = d_out + n * C, *x = residual + n * C;
    T* dx = d_residual + n * C;
    const Vec m = set(mean[n]), r = set(rstd[n]);
    Vec4 g_sum = zero4(), gz_sum = zero4();
    for_lanes4(C, [&](int64_t i, auto part, int k) TUMBLER_INLINE_LAMBDA {
      const Vec g = load(dy + i, part) * load(weight + i, part);  // 0 beyond the row
      g_sum.v[k] = g_sum.v[k] + g;
      gz_sum.v[k] = fma(g, (load(x + i, part) - m) * r, gz_sum.v[k]);
    });
    const Vec g_mean = set(sum(g_sum) / static_cast<float>(C)),
              gz_mean = set(sum(gz_sum) / static_cast<float>(C));
    for_lanes(C, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
      const Vec dy_i = load(dy + i, part), z = (load(x + i, part) - m) * r;
      const Vec inner = fnma(z, gz_mean, dy_i * load(weight + i, part) - g_mean);
      store(dx + i, fma(r, inner, load(dx + i, part)), part);
      store(d_weight + i, fma(dy_i, z, load(d_weight + i, part)), part);
      store(d_bias + i, load(d_bias + i, part) + dy_i, part);
    });
  }
}
