// GgufContents::parse: every check of a GGUF file.
#include <algorithm>
#include <bit>
#include <cstring>

#include "formats/gguf_layout.h"

namespace tumbler::formats {
namespace {

using kernels::WeightType;

struct TensorTypeRow {
  uint32_t number;
  WeightType type;
};
constexpr TensorTypeRow kTensorTypes[] = {
    {0, WeightType::f32},   {1, WeightType::f16},   {2, WeightType::q4_0},  {3, WeightType::q4_1},
    {6, WeightType::q5_0},  {7, WeightType::q5_1},  {8, WeightType::q8_0},  {12, WeightType::q4_k},
    {13, WeightType::q5_k}, {14, WeightType::q6_k}, {30, WeightType::bf16},
};
constexpr std::pair<uint32_t, const char*> kOtherTensorTypes[] = {
    {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
    {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"},
    {24, "I8"},      {25, "I16"},   {26, "I32"},    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},
    {34, "TQ1_0"},   {35, "TQ2_0"}, {39, "MXFP4"},  {40, "NVFP4"}};

// Arrays within arrays deeper than this are refused.
constexpr int kMaxDepth = 4;

// The fewest bytes of an entry: a text of length 0 or more, a type, a value of one byte …
constexpr uint64_t kLeastKeyBytes = 8 + 4 + 1;
// … a name, dimensions, one of them at least or none, type, offset.
constexpr uint64_t kLeastTensorBytes = 8 + 4 + 4 + 8;

template <class T>
T load(const std::byte* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

}  // namespace

std::optional<WeightType> find_tensor_type(uint32_t number) noexcept {
  for (const TensorTypeRow& row : kTensorTypes)
    if (row.number == number) return row.type;
  return std::nullopt;
}

uint32_t tensor_type_number(WeightType type) noexcept {
  for (const TensorTypeRow& row : kTensorTypes)
    if (row.type == type) return row.number;
  return ~0u;
}

std::string describe_tensor_type(uint32_t number) {
  for (const auto& [n, name] : kOtherTensorTypes)
    if (n == number) return fmt::format("{} ({})", name, number);
  return fmt::format("number {}", number);
}

TensorEntry read_tensor_entry(const std::byte* at) noexcept {
  TensorEntry entry{};
  entry.name = {reinterpret_cast<const char*>(at) + 8, static_cast<size_t>(load<uint64_t>(at))};
  at += 8 + entry.name.size();
  entry.n_dims = load<uint32_t>(at);
  at += 4;
  for (uint32_t d = 0; d < entry.n_dims; ++d, at += 8) entry.dims[d] = load<int64_t>(at);
  entry.type = load<uint32_t>(at);
  entry.offset = load<uint64_t>(at + 4);
  return entry;
}

// Walks the file once. Every method returns false with `problem` set where something is wrong; sizes are
// compared with what is left by subtraction and division.
class GgufParser {
 public:
  explicit GgufParser(std::span<const std::byte> file) : file_(file) { out_.file_ = file; }

  bool parse() {
    return read_header() && read_keys() && sort_names(out_.keys_, "key") && read_alignment() &&
           read_tensors() && sort_names(out_.tensors_, "tensor") && check_data();
  }
  GgufContents take() { return std::move(out_); }
  std::string problem;

 private:
  uint64_t left() const noexcept { return file_.size() - at_; }

  bool fail(std::string why) {
    problem = std::move(why);
    return false;
  }
  bool truncated(std::string_view what) {
    return fail(
        fmt::format("{} at byte {}: got {} bytes to the end of the file, expected more; it is not whole",
                    what, at_, left()));
  }

  template <class T>
  bool take_number(T& value, std::string_view what) {
    if (left() < sizeof(T)) return truncated(what);
    value = load<T>(file_.data() + at_);
    at_ += sizeof(T);
    return true;
  }
  bool take_text(std::string_view& text, std::string_view what, uint64_t most) {
    uint64_t size = 0;
    if (!take_number(size, what)) return false;
    if (size > left())
      return fail(fmt::format("{} at byte {}: got a length of {}, expected at most the {} bytes left", what,
                              at_ - 8, size, left()));
    if (size > most)
      return fail(fmt::format("{} at byte {}: got {} bytes, expected at most {}", what, at_ - 8, size, most));
    text = {reinterpret_cast<const char*>(file_.data()) + at_, static_cast<size_t>(size)};
    at_ += size;
    return true;
  }
  bool take_type(GgufType& type, std::string_view what) {
    uint32_t number = 0;
    if (!take_number(number, what)) return false;
    if (number >= kGgufTypes)
      return fail(fmt::format("{}: got type {}, expected 0 to {}", what, number, kGgufTypes - 1));
    type = static_cast<GgufType>(number);
    return true;
  }

  bool read_header() {
    uint32_t magic = 0;
    if (!take_number(magic, "magic number")) return false;
    if (magic != kGgufMagic)
      return fail(fmt::format("got the bytes {:08x}, expected GGUF; this is another kind of file", magic));
    if (!take_number(out_.version_, "version")) return false;
    if (out_.version_ != 2 && out_.version_ != 3) {
      const bool swapped = out_.version_ != 0 && (out_.version_ & 0xffff) == 0;
      return fail(
          swapped ? std::string("got a big-endian file, expected little endian; convert it again")
                  : fmt::format("version: got {}, expected 2 or 3; convert the model again", out_.version_));
    }
    if (!take_number(n_tensors_, "number of tensors") || !take_number(n_keys_, "number of keys"))
      return false;
    // The file must have room for what it announces, before anything is allocated for it.
    if (n_keys_ > left() / kLeastKeyBytes)
      return fail(fmt::format("number of keys: got {}, expected at most {} in the {} bytes left", n_keys_,
                              left() / kLeastKeyBytes, left()));
    if (n_tensors_ > (left() - n_keys_ * kLeastKeyBytes) / kLeastTensorBytes)
      return fail(fmt::format("number of tensors: got {}, expected at most {} in the {} bytes left",
                              n_tensors_, (left() - n_keys_ * kLeastKeyBytes) / kLeastTensorBytes, left()));
    return true;
  }

  bool read_keys() {
    out_.keys_.reserve(n_keys_);
    for (uint64_t i = 0; i < n_keys_; ++i) {
      out_.keys_.push_back(at_);
      std::string_view key;
      if (!take_text(key, "key", kMaxKeyBytes)) return false;
      const std::string what = fmt::format("key '{}'", printable(key));
      GgufType type{};
      if (!take_type(type, what) || !skip_value(type, what, 0)) return false;
    }
    return true;
  }
  bool skip_value(GgufType type, const std::string& what, int depth) {
    if (type == GgufType::text) {
      std::string_view text;
      return take_text(text, what, ~uint64_t{0});
    }
    if (type == GgufType::array) return skip_array(what, depth);
    if (left() < scalar_bytes(type)) return truncated(what);
    at_ += scalar_bytes(type);
    return true;
  }
  bool skip_array(const std::string& what, int depth) {
    if (depth >= kMaxDepth)
      return fail(fmt::format("{}: got arrays {} deep, expected at most {}", what, depth + 1, kMaxDepth));
    GgufType element{};
    uint64_t count = 0;
    if (!take_type(element, what) || !take_number(count, what)) return false;
    // A text takes 8 bytes at least, an array 12.
    const uint64_t each = element == GgufType::text    ? 8
                          : element == GgufType::array ? 12
                                                       : scalar_bytes(element);
    if (count > left() / each)
      return fail(fmt::format("{}: got {} elements of {}, expected at most {} in the {} bytes left", what,
                              count, gguf_type_name(element), left() / each, left()));
    if (scalar_bytes(element) > 0) {
      at_ += count * each;
      return true;
    }
    for (uint64_t i = 0; i < count; ++i)
      if (!skip_value(element, what, depth + 1)) return false;
    return true;
  }

  // By name, in place; equal neighbours are duplicates.
  bool sort_names(std::vector<uint64_t>& entries, const char* what) {
    const auto name = [&](uint64_t at) {
      return std::string_view(reinterpret_cast<const char*>(file_.data()) + at + 8,
                              static_cast<size_t>(load<uint64_t>(file_.data() + at)));
    };
    std::sort(entries.begin(), entries.end(), [&](uint64_t a, uint64_t b) { return name(a) < name(b); });
    const auto twice = std::adjacent_find(entries.begin(), entries.end(),
                                          [&](uint64_t a, uint64_t b) { return name(a) == name(b); });
    return twice == entries.end() ||
           fail(fmt::format("{} '{}': got it twice, expected once", what, printable(name(*twice))));
  }

  bool read_alignment() {
    const std::optional<GgufValue> value = out_.find("general.alignment");
    if (!value) return true;
    const std::optional<int64_t> alignment =
        value->type == GgufType::u32 ? value->integer() : std::optional<int64_t>();
    if (!alignment || *alignment < 8 || *alignment > (1 << 20) ||
        !std::has_single_bit(static_cast<uint64_t>(*alignment)))
      return fail(fmt::format("general.alignment: got {}, expected a power of two from 8 to {} as u32",
                              alignment ? fmt::format("{}", *alignment) : gguf_type_name(value->type),
                              1 << 20));
    alignment_ = static_cast<uint64_t>(*alignment);
    return true;
  }

  bool read_tensors() {
    out_.tensors_.reserve(n_tensors_);
    for (uint64_t i = 0; i < n_tensors_; ++i) {
      out_.tensors_.push_back(at_);
      std::string_view name;
      uint32_t n_dims = 0;
      if (!take_text(name, "tensor name", kMaxNameBytes)) return false;
      const std::string what = fmt::format("tensor '{}'", printable(name));
      if (!take_number(n_dims, what)) return false;
      if (n_dims > kMaxDims)
        return fail(fmt::format("{}: got {} dimensions, expected at most {}", what, n_dims, kMaxDims));
      const uint64_t rest = uint64_t{n_dims} * 8 + 4 + 8;
      if (left() < rest) return truncated(what);
      at_ += rest;
      int64_t size = 0;
      if (!check_shape(read_tensor_entry(file_.data() + out_.tensors_.back()), what, size)) return false;
    }
    return true;
  }
  // size = bytes of the tensor.
  bool check_shape(const TensorEntry& entry, const std::string& what, int64_t& size) {
    const std::optional<WeightType> type = find_tensor_type(entry.type);
    if (!type)
      return fail(
          fmt::format("{}: got the type {}, expected F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, "
                      "Q5_K or Q6_K; use a file of one of these",
                      what, describe_tensor_type(entry.type)));
    int64_t count = 1;
    for (uint32_t d = 0; d < entry.n_dims; ++d) {
      if (entry.dims[d] < 1)
        return fail(fmt::format("{}: got a dimension of {}, expected at least 1", what, entry.dims[d]));
      if (__builtin_mul_overflow(count, entry.dims[d], &count))
        return fail(fmt::format("{}: got dimensions whose product is beyond 2^63", what));
    }
    const int64_t row = entry.n_dims > 0 ? entry.dims[0] : 1, block = kernels::block_elements(*type);
    if (row % block != 0)
      return fail(fmt::format("{}: got rows of {} elements, expected a multiple of {} for {}", what, row,
                              block, kernels::weight_type_name(*type)));
    if (__builtin_mul_overflow(count / block, kernels::block_bytes(*type), &size))
      return fail(fmt::format("{}: got a size beyond 2^63 bytes", what));
    return true;
  }

  bool check_data() {
    const uint64_t padding = (alignment_ - at_ % alignment_) % alignment_;
    // A file without tensors may end here.
    if (n_tensors_ > 0 && padding > left()) return truncated("padding before the tensors");
    out_.data_ = at_ + std::min(padding, left());
    const uint64_t size = file_.size() - out_.data_;
    std::vector<uint64_t> by_offset = out_.tensors_;
    const auto entry_at = [&](uint64_t at) { return read_tensor_entry(file_.data() + at); };
    std::sort(by_offset.begin(), by_offset.end(),
              [&](uint64_t a, uint64_t b) { return entry_at(a).offset < entry_at(b).offset; });
    uint64_t end = 0;
    std::string_view before;
    for (const uint64_t at : by_offset) {
      const TensorEntry entry = entry_at(at);
      const std::string what = fmt::format("tensor '{}'", printable(entry.name));
      int64_t bytes = 0;
      if (!check_shape(entry, what, bytes)) return false;
      if (entry.offset % alignment_ != 0)
        return fail(
            fmt::format("{}: got offset {}, expected a multiple of {}", what, entry.offset, alignment_));
      if (entry.offset > size || static_cast<uint64_t>(bytes) > size - entry.offset)
        return fail(
            fmt::format("{}: got {} bytes at {} of {}, expected them within the file; it is not whole", what,
                        bytes, entry.offset, size));
      if (entry.offset < end)
        return fail(fmt::format("{}: got a place that overlaps tensor '{}'", what, printable(before)));
      end = entry.offset + static_cast<uint64_t>(bytes);
      before = entry.name;
    }
    return true;
  }

  std::span<const std::byte> file_;
  uint64_t at_ = 0;
  uint64_t n_keys_ = 0, n_tensors_ = 0;
  uint64_t alignment_ = kGgufAlignment;
  GgufContents out_;
};

Result<GgufContents> GgufContents::parse(std::span<const std::byte> file) {
  GgufParser parser(file);
  if (!parser.parse()) return Reason{"gguf", std::move(parser.problem)};
  return parser.take();
}

}  // namespace tumbler::formats
