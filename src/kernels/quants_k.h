// Quantising super-blocks. Internal to kernels/quants.cc.
#pragma once

#include "kernels/quants.h"

namespace tumbler::kernels {

// x (256) → one block.
void pack(BlockQ4_K& block, const float* x) noexcept;
void pack(BlockQ5_K& block, const float* x) noexcept;
void pack(BlockQ6_K& block, const float* x) noexcept;

}  // namespace tumbler::kernels
