#include "kernels/matmul.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include <oneapi/dnnl/dnnl.h>

#include "base/check.h"
#include "kernels/activation.h"
#include "kernels/isa.h"
#include "kernels/matmul_ref.h"
#include "kernels/parallel.h"

namespace tumbler::kernels {
namespace {

// One product as the BLAS has it, row-major: C (M, N) = A (M, K) * B (K, N), where A or B may lie transposed
// in memory.
struct Product {
  int64_t M, N, K;
  bool transpose_a, transpose_b;
  int64_t lda, ldb, ldc;
  bool accumulate;
};

void sgemm(const Product& p, const float* a, const float* b, float* c) {
  const dnnl_status_t status = dnnl_sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', p.M, p.N, p.K,
                                          1.0f, a, p.lda, b, p.ldb, p.accumulate ? 1.0f : 0.0f, c, p.ldc);
  CHECK(status == dnnl_success, "dnnl_sgemm M={} N={} K={}: status {}", p.M, p.N, p.K,
        static_cast<int>(status));
}

// bf16 products by oneDNN's matmul primitive. Making one takes far longer than a small product, so they are
// kept by shape. Training uses a few dozen shapes; serving many: beyond kMost the cache starts again.
class Bf16Products {
 public:
  static Bf16Products& instance() {
    static Bf16Products products;
    return products;
  }

  template <class O>
  void run(const Product& p, const bf16* a, const bf16* b, const float* bias, O* c) {
    constexpr dnnl::memory::data_type out_type =
        std::is_same_v<O, float> ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
    const Entry entry = get(p, bias != nullptr, out_type);
    const auto memory = [&](const dnnl::memory::desc& desc, const void* data) {
      return dnnl::memory(desc, engine_, const_cast<void*>(data));
    };
    std::unordered_map<int, dnnl::memory> arguments = {
        {DNNL_ARG_SRC, memory(entry.desc.src_desc(), a)},
        {DNNL_ARG_WEIGHTS, memory(entry.desc.weights_desc(), b)},
        {DNNL_ARG_DST, memory(entry.desc.dst_desc(), c)}};
    if (bias != nullptr) arguments.emplace(DNNL_ARG_BIAS, memory(entry.bias_desc, bias));
    dnnl::stream stream(engine_);
    entry.primitive.execute(stream, arguments);
    stream.wait();
  }

 private:
  struct Entry {
    dnnl::matmul::primitive_desc desc;
    dnnl::memory::desc bias_desc;
    dnnl::matmul primitive;
  };
  using Key = std::array<int64_t, 11>;
  static constexpr size_t kMost = 1024;

  Entry get(const Product& p, bool bias, dnnl::memory::data_type out_type) {
    const Key key = {p.M,
                     p.N,
                     p.K,
                     p.transpose_a,
                     p.transpose_b,
                     p.lda,
                     p.ldb,
                     p.ldc,
                     p.accumulate,
                     bias,
                     static_cast<int64_t>(out_type)};
    const std::lock_guard lock(mutex_);
    if (const auto found = entries_.find(key); found != entries_.end()) return found->second;
    if (entries_.size() >= kMost) entries_.clear();
    return entries_.emplace(key, make(p, bias, out_type)).first->second;
  }

  Entry make(const Product& p, bool bias, dnnl::memory::data_type out_type) {
    using dims = dnnl::memory::dims;
    constexpr auto kBf16 = dnnl::memory::data_type::bf16;
    const auto strides = [](bool transposed, int64_t ld) { return transposed ? dims{1, ld} : dims{ld, 1}; };
    const dnnl::memory::desc a({p.M, p.K}, kBf16, strides(p.transpose_a, p.lda));
    const dnnl::memory::desc b({p.K, p.N}, kBf16, strides(p.transpose_b, p.ldb));
    const dnnl::memory::desc c({p.M, p.N}, out_type, dims{p.ldc, 1});
    const dnnl::memory::desc bias_desc({1, p.N}, dnnl::memory::data_type::f32, dims{p.N, 1});
    dnnl::primitive_attr attributes;
    if (p.accumulate) {
      dnnl::post_ops post;
      post.append_sum(1.0f);
      attributes.set_post_ops(post);
    }
    const dnnl::matmul::desc description =
        bias ? dnnl::matmul::desc(a, b, bias_desc, c) : dnnl::matmul::desc(a, b, c);
    const dnnl::matmul::primitive_desc primitive_desc(description, attributes, engine_);
    return {primitive_desc, bias_desc, dnnl::matmul(primitive_desc)};
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  std::mutex mutex_;
  std::map<Key, Entry> entries_;
};

// Rows of the (rows, cols) matrix that `count` elements with leading dimension `ld` occupy, widened to f32
// without gaps.
const float* widen(std::vector<float>& scratch, const bf16* data, int64_t rows, int64_t cols, int64_t ld) {
  scratch.resize(static_cast<size_t>(rows * cols));
  for (int64_t r = 0; r < rows; ++r) to_float(scratch.data() + r * cols, data + r * ld, cols);
  return scratch.data();
}

// rows = bias (+ what is there), so that the product can be accumulated on top.
void begin_with_bias(Matrix<float> out, const float* bias, bool accumulate) {
  parallel_rows(out.rows, out.cols * static_cast<int64_t>(sizeof(float)), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      float* row = out.data + n * out.row_stride;
      for (int64_t c = 0; c < out.cols; ++c) row[c] = accumulate ? row[c] + bias[c] : bias[c];
    }
  });
}

void product_f32(Product p, const float* a, const float* b, const float* bias, float* c) {
  if (bias != nullptr) {
    begin_with_bias({c, p.M, p.N, p.ldc}, bias, p.accumulate);
    p.accumulate = true;
  }
  sgemm(p, a, b, c);
}

// For machines without bf16 products: both operands as f32, the sum in f32, one rounding at the end. Right,
// and slow: such machines train in f32 (best_dtype()); this is for tests and for looking at bf16 models. The
// scratch grows to the largest product.
template <class O>
void product_widened(Product p, const bf16* a, const bf16* b, const float* bias, O* c) {
  thread_local std::vector<float> wide_a, wide_b, wide_c;
  const int64_t rows_a = p.transpose_a ? p.K : p.M, cols_a = p.transpose_a ? p.M : p.K;
  const int64_t rows_b = p.transpose_b ? p.N : p.K, cols_b = p.transpose_b ? p.K : p.N;
  const float* fa = widen(wide_a, a, rows_a, cols_a, p.lda);
  const float* fb = widen(wide_b, b, rows_b, cols_b, p.ldb);
  p.lda = cols_a;
  p.ldb = cols_b;
  if constexpr (std::is_same_v<O, float>) {
    product_f32(p, fa, fb, bias, c);
  } else {
    const int64_t ldc = p.ldc;
    wide_c.resize(static_cast<size_t>(p.M * p.N));
    if (p.accumulate) widen(wide_c, c, p.M, p.N, ldc);
    p.ldc = p.N;
    product_f32(p, fa, fb, bias, wide_c.data());
    for (int64_t r = 0; r < p.M; ++r) to_bf16(c + r * ldc, wide_c.data() + r * p.N, p.N);
  }
}

template <class T, class O>
void product(const Product& p, const T* a, const T* b, const float* bias, O* c) {
  if (p.M == 0 || p.N == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    product_f32(p, a, b, bias, c);
  } else if (has_fast_bf16()) {
    Bf16Products::instance().run(p, a, b, bias, c);
  } else {
    product_widened(p, a, b, bias, c);
  }
}

}  // namespace

template <class T, class O>
void matmul_forward(Matrix<O> out, Matrix<const T> inp, Matrix<const T> weight, const float* bias,
                    bool accumulate) noexcept {
  CHECK(out.rows == inp.rows && out.cols == weight.rows && inp.cols == weight.cols,
        "out ({}, {}) = inp ({}, {}) * weight ({}, {})^T", out.rows, out.cols, inp.rows, inp.cols,
        weight.rows, weight.cols);
  if (active_isa() == Isa::ref) return ref::matmul_forward<T, O>(out, inp, weight, bias, accumulate);
  product({out.rows, out.cols, inp.cols, false, true, inp.row_stride, weight.row_stride, out.row_stride,
           accumulate},
          inp.data, weight.data, bias, out.data);
}

template <class T, class O>
void matmul_backward_input(Matrix<O> d_inp, Matrix<const T> d_out, Matrix<const T> weight,
                           bool accumulate) noexcept {
  CHECK(d_inp.rows == d_out.rows && d_inp.cols == weight.cols && d_out.cols == weight.rows,
        "d_inp ({}, {}) = d_out ({}, {}) * weight ({}, {})", d_inp.rows, d_inp.cols, d_out.rows, d_out.cols,
        weight.rows, weight.cols);
  if (active_isa() == Isa::ref) return ref::matmul_backward_input<T, O>(d_inp, d_out, weight, accumulate);
  product({d_inp.rows, d_inp.cols, d_out.cols, false, false, d_out.row_stride, weight.row_stride,
           d_inp.row_stride, accumulate},
          d_out.data, weight.data, nullptr, d_inp.data);
}

template <class T>
void matmul_backward_weight(Matrix<float> d_weight, Matrix<const T> d_out, Matrix<const T> inp,
                            bool accumulate) noexcept {
  CHECK(d_weight.rows == d_out.cols && d_weight.cols == inp.cols && d_out.rows == inp.rows,
        "d_weight ({}, {}) = d_out ({}, {})^T * inp ({}, {})", d_weight.rows, d_weight.cols, d_out.rows,
        d_out.cols, inp.rows, inp.cols);
  if (active_isa() == Isa::ref) return ref::matmul_backward_weight<T>(d_weight, d_out, inp, accumulate);
  product({d_weight.rows, d_weight.cols, d_out.rows, true, false, d_out.row_stride, inp.row_stride,
           d_weight.row_stride, accumulate},
          d_out.data, inp.data, nullptr, d_weight.data);
}

template <class T>
void bias_backward(float* d_bias, Matrix<const T> d_out) noexcept {
  // Threads own columns, so that every sum has one order. 64 columns of f32 are four cache lines.
  constexpr int64_t kColumns = 64;
  if (active_isa() == Isa::ref) return ref::bias_backward<T>(d_bias, d_out);
  const int64_t blocks = (d_out.cols + kColumns - 1) / kColumns;
  parallel_rows(blocks, d_out.rows * kColumns * static_cast<int64_t>(sizeof(T)),
                [&](int64_t begin, int64_t end) {
                  for (int64_t block = begin; block < end; ++block) {
                    const int64_t first = block * kColumns, count = std::min(kColumns, d_out.cols - first);
                    float sums[kColumns] = {};
                    for (int64_t n = 0; n < d_out.rows; ++n) {
                      const T* row = d_out.data + n * d_out.row_stride + first;
                      for (int64_t c = 0; c < count; ++c) sums[c] += to_float(row[c]);
                    }
                    for (int64_t c = 0; c < count; ++c) d_bias[first + c] += sums[c];
                  }
                });
}

#define INSTANTIATE(T, O)                                                                       \
  template void matmul_forward<T, O>(Matrix<O>, Matrix<const T>, Matrix<const T>, const float*, \
                                     bool) noexcept;                                            \
  template void matmul_backward_input<T, O>(Matrix<O>, Matrix<const T>, Matrix<const T>, bool) noexcept;
INSTANTIATE(float, float)
INSTANTIATE(bf16, bf16)
INSTANTIATE(bf16, float)
#undef INSTANTIATE
template void matmul_backward_weight<float>(Matrix<float>, Matrix<const float>, Matrix<const float>,
                                            bool) noexcept;
template void matmul_backward_weight<bf16>(Matrix<float>, Matrix<const bf16>, Matrix<const bf16>,
                                           bool) noexcept;
template void bias_backward<float>(float*, Matrix<const float>) noexcept;
template void bias_backward<bf16>(float*, Matrix<const bf16>) noexcept;

}  // namespace tumbler::kernels
