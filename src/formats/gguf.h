// GGUF: `header | metadata | tensor table | padding | tensor bytes`, little endian.
// https://github.com/ggml-org/ggml, docs/gguf.md. Versions 2 and 3 (one layout) are read, 3 is written. Read
// by mapping the file; nothing in it is trusted, and metadata and tensors stay where they are: reading takes
// 8 bytes of memory for a key and 16 for a tensor, which is less than these take in the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/file.h"
#include "kernels/quants.h"

namespace tumbler::formats {

// Numbers as in the file.
enum class GgufType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };
const char* gguf_type_name(GgufType type) noexcept;

// A metadata value in the file. An array's elements lie one after the other.
struct GgufValue {
  GgufType type;
  GgufType element = GgufType::u8;        // of an array
  uint64_t count = 1;                     // of an array
  std::span<const std::byte> bytes = {};  // checked: as long as type and count say

  bool is_array_of_text() const noexcept { return type == GgufType::array && element == GgufType::text; }
  // Each text of an array of texts, in order. Views into the file.
  void for_each_text(const std::function<void(std::string_view)>& body) const;
  // Whole numbers, floats and truth values; element `i` of an array. Nothing where it is something else or
  // does not fit.
  std::optional<int64_t> integer(uint64_t i = 0) const noexcept;
  std::optional<double> number(uint64_t i = 0) const noexcept;
};

struct GgufTensor {
  std::string_view name;  // in the file
  kernels::WeightType type;
  std::vector<int64_t> shape;  // rows first, as elsewhere in this program: the file's order turned round
  std::span<const std::byte> bytes;  // in the file: packed weights as they are, at any alignment

  int64_t cols() const noexcept { return shape.empty() ? 1 : shape.back(); }
  int64_t count() const noexcept;
  // As a matrix: all dimensions but the last are rows.
  kernels::PackedMatrix matrix() const noexcept { return {type, count() / cols(), cols(), bytes}; }
};

// The parts of a whole file image, which must outlive this.
class GgufContents {
 public:
  // Checks everything: counts against the bytes left (before anything is allocated), lengths of texts, types,
  // nesting, duplicate keys and tensor names, alignment, dimensions and their product, whole blocks, offsets,
  // tensors that overlap or end beyond the file. Reasons have one code, "gguf"; details say where.
  static Result<GgufContents> parse(std::span<const std::byte> file);

  uint32_t version() const noexcept { return version_; }
  int64_t key_count() const noexcept { return static_cast<int64_t>(keys_.size()); }
  int64_t tensor_count() const noexcept { return static_cast<int64_t>(tensors_.size()); }
  std::string_view key(int64_t i) const noexcept;  // by name
  std::optional<GgufValue> find(std::string_view key) const noexcept;
  GgufTensor tensor(int64_t i) const;  // by name
  std::optional<GgufTensor> find_tensor(std::string_view name) const;

 private:
  std::span<const std::byte> file_;
  uint32_t version_ = 0;
  uint64_t data_ = 0;              // where tensor bytes begin
  std::vector<uint64_t> keys_;     // where entries begin, sorted by name
  std::vector<uint64_t> tensors_;  // likewise
  friend class GgufParser;
};

class GgufFile {
 public:
  // Throws Error with the reason where the file is not whole.
  explicit GgufFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const noexcept { return path_; }
  const GgufContents& contents() const noexcept { return contents_; }

  // find_x: nothing where the key is missing; get_x: throws Error there. Both throw Error on another type.
  // Whole numbers of any width are integers, floats and whole numbers are numbers. An array of equal numbers
  // (one for each layer) is that number.
  std::optional<int64_t> find_integer(std::string_view key) const;
  std::optional<double> find_number(std::string_view key) const;
  std::optional<bool> find_flag(std::string_view key) const;
  std::optional<std::string_view> find_text(std::string_view key) const;
  std::optional<GgufValue> find_texts(std::string_view key) const;  // an array of texts
  int64_t get_integer(std::string_view key) const;
  std::string_view get_text(std::string_view key) const;

  // Throws Error where there is none of this name, or its shape differs.
  GgufTensor get_tensor(std::string_view name, std::span<const int64_t> shape) const;

 private:
  std::filesystem::path path_;
  io::MappedFile file_;
  GgufContents contents_;
};

// Text from a file as messages may show it: at most 60 bytes, what does not print as '?'.
std::string printable(std::string_view text);

// Writes tensors one after the other, from where they are.
class GgufWriter {
 public:
  // Takes the tensor's bytes in order, in pieces of any size.
  using Sink = std::function<void(std::span<const std::byte>)>;
  using Source = std::function<void(const Sink&)>;

  // Metadata, in this order in the file. CHECKs that a key is not set twice.
  void set_u32(std::string_view key, int64_t value);  // Throws Error where it does not fit
  void set_f32(std::string_view key, double value);
  void set_flag(std::string_view key, bool value);
  void set_text(std::string_view key, std::string_view value);
  void set_texts(std::string_view key, std::span<const std::string> values);
  void set_i32s(std::string_view key, std::span<const int32_t> values);
  void set_f32s(std::string_view key, std::span<const float> values);

  // `shape` rows first. CHECKs that rows are whole blocks and that the name is new.
  void add(std::string name, std::vector<int64_t> shape, kernels::WeightType type, Source source);
  // Bytes of all tensors that were added.
  int64_t tensor_bytes() const noexcept;
  // Appears under its name when whole (io::AtomicFile). Throws Error on a failed write.
  void write(const std::filesystem::path& path) const;

 private:
  struct Entry {
    std::string name;
    std::vector<int64_t> shape;
    kernels::WeightType type;
    int64_t size_bytes;
    Source source;
  };
  void begin(std::string_view key, GgufType type);
  std::string metadata_;
  std::vector<std::string> keys_;
  std::vector<Entry> entries_;
};

}  // namespace tumbler::formats
