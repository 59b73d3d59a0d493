// cross_entropy.h in plain loops.

template <class T>
void row_maximum_and_sum(float* maximum, float* sum, const T* logits, int64_t V) {
  *maximum = std::numeric_limits<float>::lowest();
  for (int64_t v = 0; v < V; ++v) *maximum = std::max(*maximum, to_float(logits[v]));
  double total = 0;
  for (int64_t v = 0; v < V; ++v) total += std::exp(to_float(logits[v]) - *maximum);
  *sum = static_cast<float>(total);
}

template <class T>
void cross_entropy_forward(float* losses, const T* logits, const int32_t* targets, int64_t N, int64_t V,
                           int64_t stride) {
  for (int64_t n = 0; n < N; ++n) {
    losses[n] = 0;
    if (targets[n] == kIgnoreTarget) continue;
    float maximum, sum;
    row_maximum_and_sum(&maximum, &sum, logits + n * stride, V);
    losses[n] = std::log(sum) + maximum - to_float(logits[n * stride + targets[n]]);
  }
}

// forward was: loss = log sum exp(logits) - logits[target]
template <class T>
void cross_entropy_forward_backward(float* losses, T* logits, const int32_t* targets, const float* weights,
                                    int64_t N, int64_t V, int64_t stride) {
  ref::cross_entropy_forward(losses, logits, targets, N, V, stride);
  for (int64_t n = 0; n < N; ++n) {
    T* row = logits + n * stride;
    if (targets[n] == kIgnoreTarget) {
      std::fill(row, row + V, T{});
      continue;
    }
    float maximum, sum;
    row_maximum_and_sum(&maximum, &sum, row, V);
    for (int64_t v = 0; v < V; ++v) {
      const float probability = std::exp(to_float(row[v]) - maximum) / sum;
      row[v] = from_float<T>((probability - (v == targets[n] ? 1.0f : 0.0f)) * weights[n]);
    }
  }
}
