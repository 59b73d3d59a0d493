// Numbers and entries of GGUF files. Internal to formats/gguf*.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "formats/gguf.h"

namespace tumbler::formats {

constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"
constexpr uint32_t kGgufVersion = 3;
constexpr uint64_t kGgufAlignment = 32;  // where general.alignment does not say otherwise
constexpr uint32_t kGgufTypes = 13;
constexpr uint32_t kMaxDims = 4;
constexpr uint64_t kMaxKeyBytes = 65535, kMaxNameBytes = 64;

// 0 for texts and arrays, whose size varies.
constexpr uint64_t scalar_bytes(GgufType type) noexcept {
  constexpr uint8_t kBytes[kGgufTypes] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kBytes[static_cast<size_t>(type)];
}

// ggml's number of a tensor type; nothing for those that this program does not know.
std::optional<kernels::WeightType> find_tensor_type(uint32_t number) noexcept;
uint32_t tensor_type_number(kernels::WeightType type) noexcept;
// Its name where ggml has or had one, for messages: "Q2_K (10)".
std::string describe_tensor_type(uint32_t number);

struct TensorEntry {
  std::string_view name;
  uint32_t n_dims;
  std::array<int64_t, kMaxDims> dims;  // in the file's order: row length first
  uint32_t type;
  uint64_t offset;  // from where tensor bytes begin
};
// An entry that was checked.
TensorEntry read_tensor_entry(const std::byte* at) noexcept;

}  // namespace tumbler::formats
