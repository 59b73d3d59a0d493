// optimizer.h on vectors: one pass over memory each.

inline double sum_of_squares(const float* x, int64_t n) {
  DoubleSum sums[4] = {zero_double_sum(), zero_double_sum(), zero_double_sum(), zero_double_sum()};
  for_lanes4(n, [&](int64_t i, auto part, int k)
                    TUMBLER_INLINE_LAMBDA { add_squares(&sums[k], load(x + i, part)); });
  return (sum(sums[0]) + sum(sums[1])) + (sum(sums[2]) + sum(sums[3]));
}

inline void scale(float* x, float factor, int64_t n) {
  const Vec f = set(factor);
  for_lanes(n,
            [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA { store(x + i, load(x + i, part) * f, part); });
}

template <class T>
void adamw_update(float* master, float* m, float* v, const float* grad, T* copy, const AdamW& h, int64_t n) {
  const Vec grad_scale = set(h.grad_scale), beta1 = set(h.beta1), beta2 = set(h.beta2), eps = set(h.eps);
  const Vec one_beta1 = set(1 - h.beta1), one_beta2 = set(1 - h.beta2),
            shrink = set(1 - h.lr * h.weight_decay);
  const Vec step = set(h.lr / h.bias1), correct2 = set(1 / h.bias2);
  for_lanes(n, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
    const Vec g = load(grad + i, part) * grad_scale;
    const Vec new_m = fma(beta1, load(m + i, part), one_beta1 * g);
    const Vec new_v = fma(beta2, load(v + i, part), one_beta2 * g * g);
    const Vec update = new_m / (sqrt(new_v * correct2) + eps);
    const Vec new_master = fnma(step, update, load(master + i, part) * shrink);
    store(m + i, new_m, part);
    store(v + i, new_v, part);
    store(master + i, new_master, part);
    if (copy != nullptr) store(copy + i, new_master, part);
  });
}

inline void momentum_update(float* momentum, float* out, const float* grad, float beta, float grad_scale,
                            bool nesterov, int64_t n) {
  const Vec b = set(beta), s = set(grad_scale);
  for_lanes(n, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
    const Vec g = load(grad + i, part) * s, m = fma(b, load(momentum + i, part), g);
    store(momentum + i, m, part);
    store(out + i, nesterov ? fma(b, m, g) : m, part);
  });
}

template <class T>
void apply_update(float* master, const float* update, T* copy, float lr, float weight_decay, int64_t n) {
  const Vec shrink = set(1 - lr * weight_decay), step = set(lr);
  for_lanes(n, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
    const Vec x = fnma(step, load(update + i, part), load(master + i, part) * shrink);
    store(master + i, x, part);
    if (copy != nullptr) store(copy + i, x, part);
  });
}
