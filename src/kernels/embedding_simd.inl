// embedding.h on vectors.

template <class T>
void embedding_forward(T* out, const int32_t* tokens, const int32_t* positions, const T* wte, const T* wpe,
                       float scale, int64_t N, int64_t C) {
  const Vec factor = set(scale);
  for (int64_t n = 0; n < N; ++n, out += C) {
    const T* row = wte + tokens[n] * C;
    if (wpe == nullptr) {
      for_lanes(C, [&](int64_t i, auto part)
                       TUMBLER_INLINE_LAMBDA { store(out + i, load(row + i, part) * factor, part); });
    } else {
      const T* position = wpe + positions[n] * C;
      for_lanes(C, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
        store(out + i, fma(load(row + i, part), factor, load(position + i, part)), part);
      });
    }
  }
}

// forward was: out = wte[token] * scale + wpe[position]
template <class T>
void embedding_backward(float* d_wte, float* d_wpe, const T* d_out, const int32_t* tokens,
                        const int32_t* positions, float scale, int64_t N, int64_t C, int64_t begin,
                        int64_t end) {
  const Vec factor = set(scale);
  for (int64_t n = 0; n < N; ++n) {
    const T* dy = d_out + n * C + begin;
    float* row = d_wte + tokens[n] * C + begin;
    for_lanes(end - begin, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
      store(row + i, fma(load(dy + i, part), factor, load(row + i, part)), part);
    });
    if (d_wpe == nullptr) continue;
    float* position = d_wpe + positions[n] * C + begin;
    for_lanes(end - begin, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
      store(position + i, load(position + i, part) + load(dy + i, part), part);
    });
  }
}
