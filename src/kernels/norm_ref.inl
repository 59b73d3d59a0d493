// norm.h in plain loops.

template <class T>
void add_delta(T* residual, const T* delta, int64_t C) {
  if (delta == nullptr) return;
  for (int64_t c = 0; c < C; ++c) residual[c] = from_float<T>(to_float(residual[c]) + to_float(delta[c]));
}

template <class T>
void rms_norm_forward(T* out, float* rstd, T* residual, const T* delta, const float* weight, int64_t N,
                      int64_t C, float eps) {
  for (int64_t n = 0; n < N; ++n) {
    T* x = residual + n * C;
    add_delta(x, delta == nullptr ? nullptr : delta + n * C, C);
    double squares = 0;
    for (int64_t c = 0; c < C; ++c) squares += static_cast<double>(to_float(x[c])) * to_float(x[c]);
    rstd[n] = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(C) + eps));
    for (int64_t c = 0; c < C; ++c) out[n * C + c] = from_float<T>(to_float(x[c]) * rstd[n] * weight[c]);
  }
}

// forward was: out = x * r * weight with r = 1/sqrt(mean(x^2) + eps), so with g = d_out * weight
// d_x = r g - x r^3 mean(g x)
template <class T>
void rms_norm_backward(T* d_residual, float* d_weight, const T* d_out, const T* residual, const float* weight,
                       const float* rstd, int64_t N, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    const T *dy = d_out + n * C, *x = residual + n * C;
    const float r = rstd[n];
    double dot = 0;
    for (int64_t c = 0; c < C; ++c) dot += static_cast<double>(to_float(dy[c])) * weight[c] * to_float(x[c]);
    const float pull = static_cast<float>(r * r * r * dot / static_cast<double>(C));
    for (int64_t c = 0; c < C; ++c) {
      T& dx = d_residual[n * C + c];
      dx = from_float<T>(to_float(dx) + r * weight[c] * to_float(dy[c]) - pull * to_float(x[c]));
      d_weight[c] += to_float(dy[c]) * to_float(x[c]) * r;
    }
  }
}

template <class T>
void layer_norm_forward(T* out, float* mean, float* rstd, T* residual, const T* delta, const float* weight,
                        const float* bias, int64_t N, int64_t C, float eps) {
  for (int64_t n = 0; n < N; ++n) {
    T* x = residual + n * C;
    add_delta(x, delta == nullptr ? nullptr : delta + n * C, C);
    double sum = 0, squares = 0;
    for (int64_t c = 0; c < C; ++c) sum += to_float(x[c]);
    mean[n] = static_cast<float>(sum / static_cast<double>(C));
    for (int64_t c = 0; c < C; ++c) {
      const double centred = static_cast<double>(to_float(x[c])) - mean[n];
      squares += centred * centred;
    }
    rstd[n] = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(C) + eps));
    for (int64_t c = 0; c < C; ++c)
      out[n * C + c] = from_float<T>((to_float(x[c]) - mean[n]) * rstd[n] * weight[c] + bias[c]);
  }
}

// forward was: out = z * weight + bias with z = (x - mean) r, so with g = d_out * weight
// d_x = r (g - mean(g) - z mean(g z))
template <class T>
void layer_norm_backward(T* d_residual, float* d_weight, float* d_bias, const T* d_out, const T* residual,
                         const float* weight, const float* mean, const float* rstd, int64_t N, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    const T *dy = d_out + n * C, *x = residual + n * C;
    double g_sum = 0, gz_sum = 0;
    for (int64_t c = 0; c < C; ++c) {
      const double g = static_cast<double>(to_float(dy[c])) * weight[c];
      g_sum += g;
      gz_sum += g * (to_float(x[c]) - mean[n]) * rstd[n];
    }
    const float g_mean = static_cast<float>(g_sum / static_cast<double>(C));
    const float gz_mean = static_cast<float>(gz_sum / static_cast<double>(C));
    for (int64_t c = 0; c < C; ++c) {
      const float z = (to_float(x[c]) - mean[n]) * rstd[n], dy_c = to_float(dy[c]);
      T& dx = d_residual[n * C + c];
      dx = from_float<T>(to_float(dx) + rstd[n] * (dy_c * weight[c] - g_mean - z * gz_mean));
      d_weight[c] += dy_c * z;
      d_bias[c] += dy_c;
    }
  }
}
