// safetensors: `u64 header length | JSON header | tensor bytes`, all little endian.
// https://github.com/huggingface/safetensors Read by mapping the file; nothing in it is trusted. Files
// written here carry a checksum per tensor, which every read verifies.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/file.h"
#include "kernels/dtype.h"

namespace tumbler::formats {

enum class TensorType {
  BOOL,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  C64,
  I64,
  U64,
  F64
};
const char* tensor_type_name(TensorType type) noexcept;
int64_t tensor_type_bytes(TensorType type) noexcept;

struct TensorInfo {
  std::string name;
  TensorType type;
  std::vector<int64_t> shape;
  int64_t offset;      // bytes, from the start of the file
  int64_t size_bytes;  // = product of shape * size of type
  int64_t count() const noexcept { return size_bytes / tensor_type_bytes(type); }
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // by offset
  std::map<std::string, std::string> metadata;
};

// Checks a whole file image: header length (≤ 100 MB and within the file), JSON (depth, duplicate keys, whole
// numbers), known types, offsets that are contiguous, in range and agree with the shapes, computed without
// overflow. Allocates nothing from header values.
Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> file);

class SafetensorsFile {
 public:
  // Throws Error with the reason where the file is not whole.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::vector<TensorInfo>& tensors() const noexcept { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const noexcept { return header_.metadata; }
  const TensorInfo* find(std::string_view name) const noexcept;
  // Throws Error where there is none of this name, or its shape differs.
  const TensorInfo& get(std::string_view name, std::span<const int64_t> shape) const;
  // In the map: not necessarily aligned, not verified.
  std::span<const std::byte> bytes(const TensorInfo& info) const noexcept;
  // Throws Error where the file carries a checksum of this tensor and the bytes do not fit it ("a flipped
  // byte").
  void verify(const TensorInfo& info) const;
  void verify_all() const;
  // verify(), then out (count) = the values, from F32, F16, BF16 or F64. Throws Error on other types or a
  // wrong count.
  void read(const TensorInfo& info, std::span<float> out) const;
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  io::MappedFile file_;
  SafetensorsHeader header_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

// Writes tensors one after the other, from where they are: no second copy of the model in memory.
class SafetensorsWriter {
 public:
  // Calls `sink` with the tensor's bytes in order, in pieces of any size. Called twice: for the checksum,
  // then for the file.
  using Sink = std::function<void(std::span<const std::byte>)>;
  using Source = std::function<void(const Sink&)>;

  void add(std::string name, TensorType type, std::vector<int64_t> shape, Source source);
  // The values of a span that outlives write(), as F32 or rounded to BF16.
  void add(std::string name, std::vector<int64_t> shape, std::span<const float> values, kernels::DType type);
  void add(std::string name, std::vector<int64_t> shape, std::span<const int64_t> values);  // I64
  void set_metadata(std::string key, std::string value) { metadata_[std::move(key)] = std::move(value); }
  // Appears under its name when whole (io::AtomicFile). Throws Error on a failed write.
  void write(const std::filesystem::path& path) const;

 private:
  struct Entry {
    std::string name;
    TensorType type;
    std::vector<int64_t> shape;
    int64_t size_bytes;
    Source source;
  };
  std::vector<Entry> entries_;
  std::map<std::string, std::string> metadata_{{"format", "pt"}};
};

}  // namespace tumbler::formats
