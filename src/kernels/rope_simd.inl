// rope.h on vectors. A head is D <= 256 elements, so that everything but its first read is L1. Norm and rope
// are template arguments: the branches are taken once a head.

template <class T>
TUMBLER_INLINE float head_rstd(const T* x, int64_t D, float eps) {
  Vec4 squares = zero4();
  for_lanes4(D, [&](int64_t i, auto part, int k) TUMBLER_INLINE_LAMBDA {
    const Vec v = load(x + i, part);
    squares.v[k] = fma(v, v, squares.v[k]);
  });
  return 1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(D) + eps);
}

template <bool kNorm, bool kRope, class T>
void head_forward(T* out, const T* x, const float* weight, const float* cos_sin, int64_t D, float eps) {
  const int64_t half = D / 2;
  const Vec r = set(kNorm ? head_rstd(x, D, eps) : 1.0f);
  for_lanes(half, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
    Vec a = load(x + i, part), b = load(x + half + i, part);
    if constexpr (kNorm) {
      a = a * r * load(weight + i, part);
      b = b * r * load(weight + half + i, part);
    }
    if constexpr (kRope) {
      const Vec cos = load(cos_sin + i, part), sin = load(cos_sin + half + i, part);
      store(out + i, fnma(b, sin, a * cos), part);
      store(out + half + i, fma(a, sin, b * cos), part);
    } else {
      store(out + i, a, part);
      store(out + half + i, b, part);
    }
  });
}

template <class T>
void heads_forward(T* out, const T* x, const float* weight, const float* cos_sin, int64_t heads, int64_t D,
                   float eps) {
  for (int64_t h = 0; h < heads; ++h, out += D, x += D) {
    if (weight != nullptr && cos_sin != nullptr)
      head_forward<true, true>(out, x, weight, cos_sin, D, eps);
    else if (weight != nullptr)
      head_forward<true, false>(out, x, weight, cos_sin, D, eps);
    else if (cos_sin != nullptr)
      head_forward<false, true>(out, x, weight, cos_sin, D, eps);
    else
      head_forward<false, false>(out, x, weight, cos_sin, D, eps);
  }
}

template <class T>
void qk_forward(T* q, T* k, const T* qkv, const float* q_weight, const float* k_weight, const float* cos_sin,
                const int32_t* positions, const QkShape& shape) {
  const int64_t H = shape.H, KV = shape.KV, D = shape.D;
  for (int64_t n = 0; n < shape.N; ++n) {
    const float* angles = cos_sin == nullptr ? nullptr : cos_sin + positions[n] * D;
    const T* x = qkv + n * (H + 2 * KV) * D;
    heads_forward(q + n * H * D, x, q_weight, angles, H, D, shape.eps);
    heads_forward(k + n * KV * D, x + H * D, k_weight, angles, KV, D, shape.eps);
  }
}

// forward was: out = rope(x * r * weight). The rotation is turned back into g (D floats), then
// rms_norm_backward: d_x = r g weight - x r^3 mean(g weight x)
template <class T>
void head_norm_backward(T* d_x, float* d_weight, const float* g, const T* x, const float* weight, int64_t D,
                        float eps) {
  const float r = head_rstd(x, D, eps);
  Vec4 dot = zero4();
  for_lanes4(D, [&](int64_t i, auto part, int k) TUMBLER_INLINE_LAMBDA {
    dot.v[k] = fma(load(g + i, part) * load(weight + i, part), load(x + i, part), dot.v[k]);
  });
  const Vec scale = set(r), pull = set(r * r * r * sum(dot) / static_cast<float>(D));
  for_lanes(D, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
    const Vec g_r = load(g + i, part) * scale, x_i = load(x + i, part);
    store(d_weight + i, fma(g_r, x_i, load(d_weight + i, part)), part);
    store(d_x + i, fnma(pull, x_i, g_r * load(weight + i, part)), part);
  });
}

// out = the rotation of d_out by the negative angles; a copy where cos_sin is null.
template <class O, class T>
void rope_backward(O* out, const T* d_out, const float* cos_sin, int64_t D) {
  const int64_t half = D / 2;
  for_lanes(half, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
    const Vec a = load(d_out + i, part), b = load(d_out + half + i, part);
    if (cos_sin == nullptr) {
      store(out + i, a, part);
      store(out + half + i, b, part);
    } else {
      const Vec cos = load(cos_sin + i, part), sin = load(cos_sin + half + i, part);
      store(out + i, fma(b, sin, a * cos), part);
      store(out + half + i, fnma(a, sin, b * cos), part);
    }
  });
}

template <class T>
void heads_backward(T* d_x, float* d_weight, const T* d_out, const T* x, const float* weight,
                    const float* cos_sin, float* scratch, int64_t heads, int64_t D, float eps) {
  for (int64_t h = 0; h < heads; ++h, d_x += D, d_out += D, x += D) {
    if (weight == nullptr) {
      rope_backward(d_x, d_out, cos_sin, D);
    } else {
      rope_backward(scratch, d_out, cos_sin, D);
      head_norm_backward(d_x, d_weight, scratch, x, weight, D, eps);
    }
  }
}

template <class T>
void qk_backward(T* d_qkv, float* d_q_weight, float* d_k_weight, const T* d_q, const T* d_k, const T* qkv,
                 const float* q_weight, const float* k_weight, const float* cos_sin, const int32_t* positions,
                 float* scratch, const QkShape& shape) {
  const int64_t H = shape.H, KV = shape.KV, D = shape.D;
  for (int64_t n = 0; n < shape.N; ++n) {
    const float* angles = cos_sin == nullptr ? nullptr : cos_sin + positions[n] * D;
    const int64_t row = n * (H + 2 * KV) * D, k_row = row + H * D;
    heads_backward(d_qkv + row, d_q_weight, d_q + n * H * D, qkv + row, q_weight, angles, scratch, H, D,
                   shape.eps);
    heads_backward(d_qkv + k_row, d_k_weight, d_k + n * KV * D, qkv + k_row, k_weight, angles, scratch, KV, D,
                   shape.eps);
  }
}
