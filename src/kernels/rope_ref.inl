// rope.h in plain loops.

template <class T>
float head_rstd(const T* x, int64_t D, float eps) {
  double squares = 0;
  for (int64_t d = 0; d < D; ++d) squares += static_cast<double>(to_float(x[d])) * to_float(x[d]);
  return static_cast<float>(1 / std::sqrt(squares / static_cast<double>(D) + eps));
}

// out = rope(x * r * weight); weight and cos_sin may be null.
template <class T>
void head_forward(T* out, const T* x, const float* weight, const float* cos_sin, int64_t D, float eps) {
  const float r = weight == nullptr ? 1.0f : head_rstd(x, D, eps);
  const int64_t half = D / 2;
  for (int64_t d = 0; d < half; ++d) {
    const float a = to_float(x[d]) * r * (weight == nullptr ? 1.0f : weight[d]);
    const float b = to_float(x[half + d]) * r * (weight == nullptr ? 1.0f : weight[half + d]);
    const float cos = cos_sin == nullptr ? 1.0f : cos_sin[d],
                sin = cos_sin == nullptr ? 0.0f : cos_sin[half + d];
    out[d] = from_float<T>(a * cos - b * sin);
    out[half + d] = from_float<T>(b * cos + a * sin);
  }
}

template <class T>
void qk_forward(T* q, T* k, const T* qkv, const float* q_weight, const float* k_weight, const float* cos_sin,
                const int32_t* positions, const QkShape& shape) {
  const auto [N, H, KV, D, eps] = shape;
  for (int64_t n = 0; n < N; ++n) {
    const float* angles = cos_sin == nullptr ? nullptr : cos_sin + positions[n] * D;
    const T* x = qkv + n * (H + 2 * KV) * D;
    for (int64_t h = 0; h < H; ++h) head_forward(q + (n * H + h) * D, x + h * D, q_weight, angles, D, eps);
    for (int64_t h = 0; h < KV; ++h)
      head_forward(k + (n * KV + h) * D, x + (H + h) * D, k_weight, angles, D, eps);
  }
}

// forward was: out = rope(x * r * weight). The rotation is turned back, then rms_norm_backward. scratch: D
// floats.
template <class T>
void head_backward(T* d_x, float* d_weight, const T* d_out, const T* x, const float* weight,
                   const float* cos_sin, float* scratch, int64_t D, float eps) {
  const int64_t half = D / 2;
  for (int64_t d = 0; d < half; ++d) {
    const float a = to_float(d_out[d]), b = to_float(d_out[half + d]);
    const float cos = cos_sin == nullptr ? 1.0f : cos_sin[d],
                sin = cos_sin == nullptr ? 0.0f : cos_sin[half + d];
    scratch[d] = a * cos + b * sin;
    scratch[half + d] = b * cos - a * sin;
  }
  if (weight == nullptr) {
    for (int64_t d = 0; d < D; ++d) d_x[d] = from_float<T>(scratch[d]);
    return;
  }
  const float r = head_rstd(x, D, eps);
  double dot = 0;
  for (int64_t d = 0; d < D; ++d) dot += static_cast<double>(scratch[d]) * weight[d] * to_float(x[d]);
  const float pull = static_cast<float>(r * r * r * dot / static_cast<double>(D));
  for (int64_t d = 0; d < D; ++d) {
    d_weight[d] += scratch[d] * to_float(x[d]) * r;
    d_x[d] = from_float<T>(r * weight[d] * scratch[d] - pull * to_float(x[d]));
  }
}

template <class T>
void qk_backward(T* d_qkv, float* d_q_weight, float* d_k_weight, const T* d_q, const T* d_k, const T* qkv,
                 const float* q_weight, const float* k_weight, const float* cos_sin, const int32_t* positions,
                 float* scratch, const QkShape& shape) {
  const auto [N, H, KV, D, eps] = shape;
  for (int64_t n = 0; n < N; ++n) {
    const float* angles = cos_sin == nullptr ? nullptr : cos_sin + positions[n] * D;
    const int64_t row = n * (H + 2 * KV) * D;
    for (int64_t h = 0; h < H; ++h)
      head_backward(d_qkv + row + h * D, d_q_weight, d_q + (n * H + h) * D, qkv + row + h * D, q_weight,
                    angles, scratch, D, eps);
    for (int64_t h = 0; h < KV; ++h)
      head_backward(d_qkv + row + (H + h) * D, d_k_weight, d_k + (n * KV + h) * D, qkv + row + (H + h) * D,
                    k_weight, angles, scratch, D, eps);
  }
}
