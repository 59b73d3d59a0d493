// The model in plain loops and double precision, written apart from forward.cc: the oracle of nn's tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>
#include <string>
#include <vector>

#include "kernels/cross_entropy.h"
#include "nn/parameters.h"
#include "nn/transformer.h"

namespace tumbler::nn {

class ReferenceModel {
 public:
  using Vector = std::vector<double>;
  std::map<std::string, Vector> w;  // by Tensor::name
  // Told what token t attends to, from token `first` on.
  std::function<void(int64_t layer, int64_t head, size_t t, size_t first, const Vector& p)> on_attention;

  explicit ReferenceModel(const Parameters& p) : c_(p.config()) {
    for (const Tensor& t : p.tensors()) {
      const auto values = p.master(t);
      w[t.name] = Vector(values.begin(), values.end());
    }
  }

  // Sum of weights * loss; losses (B*T) where given.
  double loss(const Batch& batch, Vector* losses = nullptr) const {
    double sum = 0;
    if (losses != nullptr) losses->assign(batch.tokens.size(), 0);
    for (int64_t b = 0; b < batch.B; ++b) {
      const std::vector<Vector> x = hidden(batch, b);
      for (int64_t t = 0; t < batch.T; ++t) {
        const auto n = static_cast<size_t>(b * batch.T + t);
        if (batch.targets[n] == kernels::kIgnoreTarget) continue;
        const double l = cross_entropy(x[static_cast<size_t>(t)], batch.targets[n]);
        sum += l * (batch.weights.empty() ? 1.0 : static_cast<double>(batch.weights[n]));
        if (losses != nullptr) (*losses)[n] = l;
      }
    }
    return sum;
  }

  Vector logits(const Vector& x) const {
    return product(x, w.at(c_.tied ? "embedding" : "head"), nullptr, c_.vocab_size);
  }

  // Rows (T, C) that the head reads, for sequence b.
  // `layers`: as if the model ended after so many; -1: all.
  std::vector<Vector> hidden(const Batch& batch, int64_t b, int64_t layers = -1) const {
    const auto T = static_cast<size_t>(batch.T), C = static_cast<size_t>(c_.n_embd);
    std::vector<Vector> x(T, Vector(C));
    for (size_t t = 0; t < T; ++t) {
      const size_t n = static_cast<size_t>(b) * T + t;
      for (size_t i = 0; i < C; ++i) {
        x[t][i] = c_.embedding_scale * w.at("embedding")[static_cast<size_t>(batch.tokens[n]) * C + i];
        if (!c_.rope()) x[t][i] += w.at("positions")[static_cast<size_t>(position(batch, n, t)) * C + i];
      }
    }
    for (int64_t l = 0; l < (layers < 0 ? c_.n_layer : layers); ++l) layer(l, batch, b, x);
    for (Vector& row : x) row = norm(row, "final_norm");
    return x;
  }

 private:
  static double position(const Batch& batch, size_t n, size_t t) {
    return batch.positions.empty() ? static_cast<double>(t) : static_cast<double>(batch.positions[n]);
  }
  const Vector* optional(const std::string& name) const {
    const auto found = w.find(name);
    return found != w.end() ? &found->second : nullptr;
  }
  static Vector product(const Vector& x, const Vector& weight, const Vector* bias, int64_t rows) {
    Vector out(static_cast<size_t>(rows));
    for (size_t r = 0; r < out.size(); ++r) {
      double sum = bias != nullptr ? (*bias)[r] : 0.0;
      for (size_t i = 0; i < x.size(); ++i) sum += x[i] * weight[r * x.size() + i];
      out[r] = sum;
    }
    return out;
  }
  Vector norm(const Vector& x, const std::string& name) const {
    const auto n = static_cast<double>(x.size());
    double mean = 0, square = 0;
    if (c_.layer_norm()) {
      for (const double v : x) mean += v / n;
    }
    for (const double v : x) square += (v - mean) * (v - mean) / n;
    Vector out(x.size());
    const Vector* bias = optional(name + "_bias");
    for (size_t i = 0; i < x.size(); ++i) {
      out[i] = (x[i] - mean) / std::sqrt(square + c_.norm_eps) * w.at(name)[i] +
               (bias != nullptr ? (*bias)[i] : 0.0);
    }
    return out;
  }
  // One head: norm, then rotation.
  void prepare(double* head, const Vector* weight, double at, bool local) const {
    const int64_t D = c_.head_dim;
    if (weight != nullptr) {
      double square = 0;
      for (int64_t d = 0; d < D; ++d) square += head[d] * head[d] / static_cast<double>(D);
      for (int64_t d = 0; d < D; ++d)
        head[d] *= (*weight)[static_cast<size_t>(d)] / std::sqrt(square + c_.norm_eps);
    }
    if (!c_.rope()) return;
    for (int64_t d = 0; d < D / 2; ++d) {
      const double exponent = -2.0 * static_cast<double>(d) / static_cast<double>(D);
      const double angle =
          local ? at * std::pow(c_.rope_theta_local, exponent)
                : at * std::pow(c_.rope_theta, exponent) / (c_.rope_scaling == "linear" ? c_.rope_factor : 1);
      const double x = head[d], y = head[d + D / 2];
      head[d] = x * std::cos(angle) - y * std::sin(angle);
      head[d + D / 2] = y * std::cos(angle) + x * std::sin(angle);
    }
  }
  static double gelu(double x) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
  }
  void layer(int64_t number, const Batch& batch, int64_t b, std::vector<Vector>& x) const {
    const std::string name = "layers." + std::to_string(number) + ".";
    const bool local = c_.is_local(number);
    const int64_t H = c_.n_head, KV = c_.n_kv_head, D = c_.head_dim;
    std::vector<Vector> qkv;
    for (size_t t = 0; t < x.size(); ++t) {
      qkv.push_back(product(norm(x[t], name + "attn_norm"), w.at(name + "qkv"), optional(name + "qkv_bias"),
                            c_.qkv_rows()));
      const double at = position(batch, static_cast<size_t>(b) * x.size() + t, t);
      for (int64_t h = 0; h < H; ++h)
        prepare(&qkv[t][static_cast<size_t>(h * D)], optional(name + "q_norm"), at, local);
      for (int64_t h = H; h < H + KV; ++h)
        prepare(&qkv[t][static_cast<size_t>(h * D)], optional(name + "k_norm"), at, local);
    }
    for (size_t t = 0; t < x.size(); ++t) {
      const size_t n = static_cast<size_t>(b) * x.size() + t;
      auto first = static_cast<size_t>(batch.first_key.empty() ? 0 : batch.first_key[n]);
      const auto window = static_cast<size_t>(c_.sliding_window);
      if (local && t + 1 > window) first = std::max(first, t + 1 - window);
      const Vector attn = attend(number, qkv, t, first);
      Vector delta = product(attn, w.at(name + "out"), optional(name + "out_bias"), c_.n_embd);
      if (c_.post_norms) delta = norm(delta, name + "attn_post_norm");
      for (size_t i = 0; i < delta.size(); ++i) x[t][i] += delta[i];
      Vector mlp = feed_forward(norm(x[t], name + "mlp_norm"), name);
      if (c_.post_norms) mlp = norm(mlp, name + "mlp_post_norm");
      for (size_t i = 0; i < mlp.size(); ++i) x[t][i] += mlp[i];
    }
  }
  Vector attend(int64_t number, const std::vector<Vector>& qkv, size_t t, size_t first) const {
    const int64_t H = c_.n_head, KV = c_.n_kv_head, D = c_.head_dim;
    Vector out(static_cast<size_t>(H * D), 0.0);
    for (int64_t h = 0; h < H; ++h) {
      const auto q = static_cast<size_t>(h * D), k = static_cast<size_t>((H + h / (H / KV)) * D),
                 v = k + static_cast<size_t>(KV * D);
      Vector p;
      double total = 0;
      for (size_t s = first; s <= t; ++s) {
        double score = 0;
        for (size_t d = 0; d < static_cast<size_t>(D); ++d) score += qkv[t][q + d] * qkv[s][k + d];
        p.push_back(std::exp(score * c_.score_scale()));
        total += p.back();
      }
      for (double& weight : p) weight /= total;
      if (on_attention) on_attention(number, h, t, first, p);
      for (size_t s = first; s <= t; ++s)
        for (size_t d = 0; d < static_cast<size_t>(D); ++d) out[q + d] += p[s - first] * qkv[s][v + d];
    }
    return out;
  }
  Vector feed_forward(const Vector& x, const std::string& name) const {
    const auto F = static_cast<size_t>(c_.n_ff);
    const Vector up =
        product(x, w.at(name + "up"), optional(name + "up_bias"), c_.n_ff * (c_.gated() ? 2 : 1));
    Vector act(F);
    for (size_t i = 0; i < F; ++i) {
      if (c_.mlp == "gelu")
        act[i] = gelu(up[i]);
      else if (c_.mlp == "gelu_glu")
        act[i] = gelu(up[i]) * up[F + i];
      else
        act[i] = up[i] / (1 + std::exp(-up[i])) * up[F + i];
    }
    return product(act, w.at(name + "down"), optional(name + "down_bias"), c_.n_embd);
  }
  double cross_entropy(const Vector& x, int32_t target) const {
    const Vector z = logits(x);
    double total = 0;
    const double largest = *std::max_element(z.begin(), z.end());
    for (const double v : z) total += std::exp(v - largest);
    return std::log(total) + largest - z[static_cast<size_t>(target)];
  }

  ModelConfig c_;
};

}  // namespace tumbler::nn
