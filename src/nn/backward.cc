// The backward pass, layer by layer from the last. d_x is the gradient of the loss with respect to x.
#include <algorithm>

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/embedding.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "nn/pass.h"

namespace tumbler::nn {

using kernels::bf16;

// forward was: out = inp * weight^T + bias
template <class T>
void Pass<T>::matmul_backward(const char* name, std::span<T> d_inp, std::span<const T> d_out,
                              std::span<const T> inp, std::span<const T> weight, std::span<float> d_weight,
                              std::span<float> d_bias, int64_t OC, int64_t C) {
  const double flops = 2.0 * static_cast<double>(run_.N) * static_cast<double>(OC * C);
  {
    Profiler::Scope scope(profiler, name, flops);
    kernels::matmul_backward_weight<T>(matrix(d_weight, OC, C), const_matrix(d_out, run_.N, OC),
                                       const_matrix(inp, run_.N, C), true);
  }
  if (!d_bias.empty()) {
    Profiler::Scope scope(profiler, "d_bias");
    kernels::bias_backward<T>(d_bias.data(), const_matrix(d_out, run_.N, OC));
  }
  Profiler::Scope scope(profiler, name, flops);
  kernels::matmul_backward_input<T, T>(matrix(d_inp, run_.N, C), const_matrix(d_out, run_.N, OC),
                                       const_matrix(weight, OC, C), false);
}

// forward was: norm = norm(residual); its gradient is in a_.delta and is added to a_.d_residual
template <class T>
void Pass<T>::norm_backward(std::span<T> residual, std::span<const float> weight, std::span<float> mean,
                            std::span<float> rstd, std::span<float> d_weight, std::span<float> d_bias) {
  Profiler::Scope scope(profiler, "norm backward");
  if (config_.layer_norm()) {
    kernels::layer_norm_backward<T>(a_.d_residual.data(), d_weight.data(), d_bias.data(), a_.delta.data(),
                                    residual.data(), weight.data(), mean.data(), rstd.data(),
                                    norm_scratch_.data(), run_.N, C_);
  } else {
    kernels::rms_norm_backward<T>(a_.d_residual.data(), d_weight.data(), a_.delta.data(), residual.data(),
                                  weight.data(), rstd.data(), norm_scratch_.data(), run_.N, C_);
  }
}

// forward was: residual += norm(block), or residual += block without post norms. Returns the gradient of
// block, in a_.delta or in place.
template <class T>
std::span<T> Pass<T>::post_norm_backward(std::span<T> block, std::span<const float> weight,
                                         std::span<float> rstd, std::span<float> d_weight) {
  if (!config_.post_norms) return a_.d_residual;
  Profiler::Scope scope(profiler, "norm backward");
  std::fill_n(a_.delta.begin(), run_.N * C_, T{});
  kernels::rms_norm_backward<T>(a_.delta.data(), d_weight.data(), a_.d_residual.data(), block.data(),
                                weight.data(), rstd.data(), norm_scratch_.data(), run_.N, C_);
  return a_.delta;
}

// forward was: up = norm(mlp_residual) * w_up^T;  act = f(up);  residual = mlp_residual + act * w_down^T
template <class T>
void Pass<T>::mlp_backward(int64_t layer) {
  const LayerWeights<T>& w = weights(layer);
  const LayerActivations<T>& a = activations(layer);
  const LayerGradients& g = parameters_.layer_gradients()[static_cast<size_t>(layer)];
  const int64_t up_rows = config_.gated() ? 2 * F_ : F_;
  activation_forward(a);
  const std::span<T> d_block =
      post_norm_backward(a.mlp_block, w.mlp_post_norm, a.mlp_post_rstd, g.mlp_post_norm);
  matmul_backward("mlp down backward", a_.act, d_block, a_.act, w.down, g.down, g.down_bias, C_, F_);
  {
    // d_up takes the place of up, which nothing reads again.
    Profiler::Scope scope(profiler, "activation backward");
    if (config_.mlp == "gelu") {
      kernels::gelu_backward<T>(a_.act.data(), a_.act.data(), a.up.data(), run_.N * F_);
    } else {
      const auto gate = config_.mlp == "silu_glu" ? kernels::Gate::silu : kernels::Gate::gelu_tanh;
      kernels::glu_backward<T>(a.up.data(), a_.act.data(), a.up.data(), gate, run_.N, F_);
    }
  }
  norm_forward(a.mlp_residual, nullptr, w.mlp_norm, w.mlp_norm_bias, a.mlp_mean, a.mlp_rstd);
  matmul_backward("mlp up backward", a_.delta, config_.gated() ? a.up : a_.act, a_.norm, w.up, g.up,
                  g.up_bias, up_rows, C_);
  norm_backward(a.mlp_residual, w.mlp_norm, a.mlp_mean, a.mlp_rstd, g.mlp_norm, g.mlp_norm_bias);
}

template <class T>
void Pass<T>::attention_backward(int64_t layer) {
  Profiler::Scope scope(profiler, "attention backward", 2 * attention_flops(layer));
  const LayerActivations<T>& a = activations(layer);
  const Heads h = heads(a.qkv, a_.q, a_.k), d = heads(a_.d_qkv, a_.d_q, a_.d_k);
  kernels::attention_backward<T>(d.q, d.k, d.v, {a_.d_attn.data(), HD_}, {a.attn.data(), HD_}, a.lse.data(),
                                 {h.q.data, h.q.token_stride}, {h.k.data, h.k.token_stride},
                                 {h.v.data, h.v.token_stride}, first_key(layer), attention_shape(),
                                 attention_scratch_.view<std::byte>(0, 0).data());
}

// forward was: qkv = norm(attn_residual) * w_qkv^T;  q, k = rope(norm(…));  attn = attention(q, k, v);
// mlp_residual = attn_residual + attn * w_out^T
template <class T>
void Pass<T>::attention_block_backward(int64_t layer) {
  const LayerWeights<T>& w = weights(layer);
  const LayerActivations<T>& a = activations(layer);
  const LayerGradients& g = parameters_.layer_gradients()[static_cast<size_t>(layer)];
  const std::span<T> d_block =
      post_norm_backward(a.attn_block, w.attn_post_norm, a.attn_post_rstd, g.attn_post_norm);
  matmul_backward("attention out backward", a_.d_attn, d_block, a.attn, w.out, g.out, g.out_bias, C_, HD_);
  qk_forward(layer);
  attention_backward(layer);
  if (separate_qk()) {
    Profiler::Scope scope(profiler, "qk norm, rope backward");
    kernels::qk_backward<T>(a_.d_qkv.data(), g.q_norm.data(), g.k_norm.data(), a_.d_q.data(), a_.d_k.data(),
                            a.qkv.data(), w.q_norm.data(), w.k_norm.data(), cos_sin(layer), run_.positions,
                            norm_scratch_.data(), qk_shape());
  }
  norm_forward(a.attn_residual, nullptr, w.attn_norm, w.attn_norm_bias, a.attn_mean, a.attn_rstd);
  matmul_backward("qkv backward", a_.delta, a_.d_qkv, a_.norm, w.qkv, g.qkv, g.qkv_bias, config_.qkv_rows(),
                  C_);
  norm_backward(a.attn_residual, w.attn_norm, a.attn_mean, a.attn_rstd, g.attn_norm, g.attn_norm_bias);
}

// a_.delta holds the gradient of the final norm's output.
template <class T>
void Pass<T>::backward() {
  const ModelWeights<T>& model = parameters_.model<T>();
  const ModelGradients& g = parameters_.model_gradients();
  std::fill_n(a_.d_residual.begin(), run_.N * C_, T{});
  norm_backward(a_.residual, model.final_norm, a_.mean, a_.rstd, g.final_norm, g.final_norm_bias);
  for (int64_t l = config_.n_layer; l-- > 0;) {
    if (options_.recomputation == Recomputation::block && l + 1 < config_.n_layer) {
      layer_forward(l, false);
      if (config_.post_norms) mlp_end_forward(l);
    }
    mlp_backward(l);
    attention_block_backward(l);
  }
  Profiler::Scope scope(profiler, "embedding backward");
  kernels::embedding_backward<T>(g.embedding.data(), g.positions.data(), a_.d_residual.data(), run_.tokens,
                                 run_.positions, static_cast<float>(config_.embedding_scale), run_.N, C_);
}

template class Pass<float>;
template class Pass<bf16>;

}  // namespace tumbler::nn
