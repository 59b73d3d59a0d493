// optimizer.h in plain loops.

inline double sum_of_squares(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

inline void scale(float* x, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

template <class T>
void adamw_update(float* master, float* m, float* v, const float* grad, T* copy, const AdamW& h, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = grad[i] * h.grad_scale;
    m[i] = h.beta1 * m[i] + (1 - h.beta1) * g;
    v[i] = h.beta2 * v[i] + (1 - h.beta2) * g * g;
    const float update = (m[i] / h.bias1) / (std::sqrt(v[i] / h.bias2) + h.eps);
    master[i] = master[i] * (1 - h.lr * h.weight_decay) - h.lr * update;
    if (copy != nullptr) copy[i] = from_float<T>(master[i]);
  }
}

inline void momentum_update(float* momentum, float* out, const float* grad, float beta, float grad_scale,
                            bool nesterov, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = grad[i] * grad_scale;
    momentum[i] = beta * momentum[i] + g;
    out[i] = nesterov ? g + beta * momentum[i] : momentum[i];
  }
}

template <class T>
void apply_update(float* master, const float* update, T* copy, float lr, float weight_decay, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    master[i] = master[i] * (1 - lr * weight_decay) - lr * update[i];
    if (copy != nullptr) copy[i] = from_float<T>(master[i]);
  }
}
