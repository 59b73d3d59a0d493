// embedding.h in plain loops.

template <class T>
void embedding_forward(T* out, const int32_t* tokens, const int32_t* positions, const T* wte, const T* wpe,
                       float scale, int64_t N, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t c = 0; c < C; ++c) {
      const float position = wpe == nullptr ? 0.0f : to_float(wpe[positions[n] * C + c]);
      out[n * C + c] = from_float<T>(to_float(wte[tokens[n] * C + c]) * scale + position);
    }
  }
}

// forward was: out = wte[token] * scale + wpe[position]
template <class T>
void embedding_backward(float* d_wte, float* d_wpe, const T* d_out, const int32_t* tokens,
                        const int32_t* positions, float scale, int64_t N, int64_t C, int64_t begin,
                        int64_t end) {
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t c = begin; c < end; ++c) {
      const float dy = to_float(d_out[n * C + c]);
      d_wte[tokens[n] * C + c] += dy * scale;
      if (d_wpe != nullptr) d_wpe[positions[n] * C + c] += dy;
    }
  }
}
