// Included in the namespace of each instruction set: collects its functions into a Table.
template <class T>
constexpr Ops<T> make_ops() {
  return {
      .rms_norm_forward = rms_norm_forward<T>,
      .rms_norm_backward = rms_norm_backward<T>,
      .layer_norm_forward = layer_norm_forward<T>,
      .layer_norm_backward = layer_norm_backward<T>,
      .qk_forward = qk_forward<T>,
      .qk_backward = qk_backward<T>,
      .gelu_forward = gelu_forward<T>,
      .gelu_backward = gelu_backward<T>,
      .glu_forward = glu_forward<T>,
      .glu_backward = glu_backward<T>,
      .add_in_place = add_in_place<T>,
      .attention = make_attention_ops<T>(),
      .embedding_forward = embedding_forward<T>,
      .embedding_backward = embedding_backward<T>,
      .cross_entropy_forward = cross_entropy_forward<T>,
      .cross_entropy_forward_backward = cross_entropy_forward_backward<T>,
      .adamw_update = adamw_update<T>,
      .apply_update = apply_update<T>,
  };
}

constexpr Table make_table() {
  return {.peak = {.fma = peak_fma, .fma_flop = kPeakFmaFlop, .read = peak_read},
          .packed = make_packed_ops(),
          .paged = make_paged_ops(),
          .f32 = make_ops<float>(),
          .bf16_ = make_ops<bf16>(),
          .to_bf16 = convert_to_bf16,
          .to_float = convert_to_float,
          .sum_of_squares = sum_of_squares,
          .scale = scale,
          .momentum_update = momentum_update};
}
