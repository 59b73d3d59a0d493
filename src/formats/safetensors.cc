#include "formats/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include <xxhash.h>

#include "base/check.h"
#include "base/error.h"
#include "kernels/activation.h"

namespace tumbler::formats {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors is little endian, and is read in place");

constexpr int64_t kLengthBytes = 8;
constexpr int64_t kMaxHeaderBytes = 100'000'000;          // the limit of the reference implementation
constexpr std::string_view kChecksumPrefix = "xxh3_64/";  // of metadata keys: one for each tensor

struct TypeName {
  TensorType type;
  const char* name;
  int64_t bytes;
};
constexpr std::array kTypes = {
    TypeName{TensorType::BOOL, "BOOL", 1},       TypeName{TensorType::U8, "U8", 1},
    TypeName{TensorType::I8, "I8", 1},           TypeName{TensorType::F8_E5M2, "F8_E5M2", 1},
    TypeName{TensorType::F8_E4M3, "F8_E4M3", 1}, TypeName{TensorType::I16, "I16", 2},
    TypeName{TensorType::U16, "U16", 2},         TypeName{TensorType::F16, "F16", 2},
    TypeName{TensorType::BF16, "BF16", 2},       TypeName{TensorType::I32, "I32", 4},
    TypeName{TensorType::U32, "U32", 4},         TypeName{TensorType::F32, "F32", 4},
    TypeName{TensorType::C64, "C64", 8},         TypeName{TensorType::I64, "I64", 8},
    TypeName{TensorType::U64, "U64", 8},         TypeName{TensorType::F64, "F64", 8},
};

// Product of the shape and the size of an element; -1 where it does not fit int64_t.
int64_t size_of(const std::vector<int64_t>& shape, TensorType type) noexcept {
  int64_t size = tensor_type_bytes(type);
  // A zero makes the product zero whatever the rest says, so the rest must be multiplied on its own to see it
  // overflow.
  bool zero = false;
  for (const int64_t n : shape) {
    if (n == 0)
      zero = true;
    else if (__builtin_mul_overflow(size, n, &size))
      return -1;
  }
  return zero ? 0 : size;
}

// The header's grammar is fixed: {"name": {"dtype": s, "shape": [n…], "data_offsets": [n, n]},
// "__metadata__": {s: s}}. A SAX reader keeps depth and memory bounded and sees duplicate keys, which a tree
// would swallow.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  SafetensorsHeader header;
  std::string problem;

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a truth value"); }
  bool number_float(number_float_t, const string_t& text) override {
    return unexpected("the number " + text);
  }
  bool binary(binary_t&) override { return unexpected("binary data"); }
  bool number_integer(number_integer_t value) override { return number(value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return fail("a number beyond 2^63");
    return number(static_cast<int64_t>(value));
  }
  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      header.metadata[key_] = std::move(value);
      return true;
    }
    if (place_ != Place::tensor || field_ != Field::dtype) return unexpected("a string");
    const auto* found =
        std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& t) { return value == t.name; });
    if (found == kTypes.end())
      return fail(fmt::format("tensor '{}': unknown dtype '{}'", tensor_.name, value.substr(0, 20)));
    tensor_.type = found->type;
    return true;
  }
  bool start_object(size_t) override {
    if (place_ == Place::outside)
      place_ = Place::top;
    else if (place_ == Place::top && key_ == "__metadata__")
      place_ = Place::metadata;
    else if (place_ == Place::top)
      place_ = Place::tensor;
    else
      return unexpected("an object");
    if (place_ == Place::tensor) {
      tensor_ = {.name = key_, .type = TensorType::U8, .shape = {}, .offset = 0, .size_bytes = 0};
      seen_ = 0;
    }
    return true;
  }
  bool end_object() override {
    if (place_ == Place::tensor && !finish_tensor()) return false;
    place_ = place_ == Place::top ? Place::done : Place::top;
    return true;
  }
  bool start_array(size_t) override {
    if (place_ != Place::tensor || in_array_ || field_ == Field::dtype) return unexpected("an array");
    in_array_ = true;
    return true;
  }
  bool end_array() override {
    in_array_ = false;
    return true;
  }
  bool key(string_t& name) override {
    if (place_ == Place::tensor) return tensor_field(name);
    auto& names = place_ == Place::top ? names_ : metadata_names_;
    if (!names.insert(name).second) return fail(fmt::format("duplicate key '{}'", name.substr(0, 100)));
    key_ = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return fail(fmt::format("not JSON at byte {}", position));
  }

 private:
  enum class Place { outside, top, metadata, tensor, done };
  enum class Field { dtype = 1, shape = 2, offsets = 4 };

  bool fail(std::string why) {
    if (problem.empty()) problem = std::move(why);
    return false;
  }
  bool unexpected(const std::string& what) {
    return fail(fmt::format("unexpected {} after key '{}'", what, key_.substr(0, 100)));
  }
  bool tensor_field(const std::string& name) {
    field_ = name == "dtype" ? Field::dtype : name == "shape" ? Field::shape : Field::offsets;
    if (name != "dtype" && name != "shape" && name != "data_offsets")
      return fail(fmt::format("tensor '{}': unknown key '{}'", tensor_.name, name.substr(0, 100)));
    if (seen_ & static_cast<int>(field_))
      return fail(fmt::format("tensor '{}': duplicate key '{}'", tensor_.name, name));
    seen_ |= static_cast<int>(field_);
    offsets_.clear();
    return true;
  }
  bool number(int64_t value) {
    if (!in_array_) return unexpected("a number");
    if (value < 0) return fail(fmt::format("tensor '{}': negative number {}", tensor_.name, value));
    if (field_ == Field::shape) {
      tensor_.shape.push_back(value);
      return tensor_.shape.size() <= 16 ||
             fail(fmt::format("tensor '{}': more than 16 dimensions", tensor_.name));
    }
    offsets_.push_back(value);
    if (offsets_.size() == 2) {
      tensor_.offset = offsets_[0];
      if (offsets_[1] < offsets_[0])
        return fail(fmt::format("tensor '{}': ends before it begins", tensor_.name));
      tensor_.size_bytes = offsets_[1] - offsets_[0];
      offsets_complete_ = true;
    }
    return offsets_.size() <= 2 || fail(fmt::format("tensor '{}': more than two offsets", tensor_.name));
  }
  bool finish_tensor() {
    if (seen_ != 7 || !offsets_complete_)
      return fail(fmt::format("tensor '{}': dtype, shape or offsets missing", tensor_.name));
    const int64_t expected = size_of(tensor_.shape, tensor_.type);
    if (expected < 0) return fail(fmt::format("tensor '{}': shape overflows", tensor_.name));
    if (expected != tensor_.size_bytes)
      return fail(fmt::format("tensor '{}': shape needs {} bytes, offsets span {}", tensor_.name, expected,
                              tensor_.size_bytes));
    offsets_complete_ = false;
    header.tensors.push_back(std::move(tensor_));
    return true;
  }

  Place place_ = Place::outside;
  Field field_ = Field::dtype;
  std::string key_;
  std::set<std::string> names_, metadata_names_;
  TensorInfo tensor_{};
  std::vector<int64_t> offsets_;
  int seen_ = 0;
  bool in_array_ = false, offsets_complete_ = false;
};

Reason bad(std::string detail) {
  return {"bad_safetensors", std::move(detail)};
}

// Seeded with what the header says of the tensor, so that a flipped byte there is seen too.
class Checksum {
 public:
  Checksum(std::string_view name, TensorType type, const std::vector<int64_t>& shape) {
    XXH3_64bits_reset(state_.get());
    std::string head = fmt::format("{}|{}", name, tensor_type_name(type));
    for (const int64_t n : shape) head += fmt::format("|{}", n);
    update(std::as_bytes(std::span(head)));
  }
  void update(std::span<const std::byte> bytes) {
    XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
  }
  std::string hex() const { return fmt::format("{:016x}", XXH3_64bits_digest(state_.get())); }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const noexcept { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_{XXH3_createState()};
};

float half_to_float(uint16_t h) noexcept {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16, exponent = (h >> 10) & 31u,
                 mantissa = h & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

// Elements may lie at any address: the format promises no alignment.
template <class Stored, class Convert>
void convert(std::span<const std::byte> bytes, std::span<float> out, Convert to) {
  for (size_t i = 0; i < out.size(); ++i) {
    Stored value;
    std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    out[i] = to(value);
  }
}

}  // namespace

const char* tensor_type_name(TensorType type) noexcept {
  return kTypes[static_cast<size_t>(type)].name;
}
int64_t tensor_type_bytes(TensorType type) noexcept {
  return kTypes[static_cast<size_t>(type)].bytes;
}

Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> file) {
  const auto size = static_cast<int64_t>(file.size());
  if (size < kLengthBytes) return bad(fmt::format("got {} bytes, expected at least 8", size));
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  if (length > static_cast<uint64_t>(kMaxHeaderBytes))
    return bad(fmt::format("header of {} bytes, expected at most 100 MB", length));
  const int64_t rest = size - kLengthBytes;
  if (static_cast<int64_t>(length) > rest)
    return bad(
        fmt::format("header of {} bytes in a file that has {} after its length: truncated", length, rest));
  const std::string_view json(reinterpret_cast<const char*>(file.data()) + kLengthBytes,
                              static_cast<size_t>(length));
  if (json.empty() || json[0] != '{') return bad("header does not begin with '{'");
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &reader)) return bad(reader.problem);
  SafetensorsHeader header = std::move(reader.header);
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.offset, a.size_bytes) < std::pair(b.offset, b.size_bytes);
  });
  const int64_t data_bytes = rest - static_cast<int64_t>(length);
  int64_t end = 0;
  for (TensorInfo& t : header.tensors) {
    if (t.offset != end)
      return bad(
          fmt::format("tensor '{}': begins at {}, expected {}: overlap or hole", t.name, t.offset, end));
    if (t.size_bytes > data_bytes - end)
      return bad(fmt::format("tensor '{}': ends beyond the file: truncated", t.name));
    end += t.size_bytes;
    t.offset += size - data_bytes;
  }
  if (end != data_bytes) return bad(fmt::format("tensors end at {}, data at {}", end, data_bytes));
  return header;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), file_(path) {
  Result<SafetensorsHeader> header = parse_safetensors(file_.bytes());
  if (!header)
    throw Error("safetensors", "{}: {}; copy or make the file again", path_.string(), header.reason().detail);
  header_ = std::move(*header);
  for (size_t i = 0; i < header_.tensors.size(); ++i) by_name_.emplace(header_.tensors[i].name, i);
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const noexcept {
  const auto found = by_name_.find(name);
  return found != by_name_.end() ? &header_.tensors[found->second] : nullptr;
}

const TensorInfo& SafetensorsFile::get(std::string_view name, std::span<const int64_t> shape) const {
  const TensorInfo* info = find(name);
  if (info == nullptr) throw Error("safetensors", "{}: tensor '{}' is missing", path_.string(), name);
  if (!std::equal(info->shape.begin(), info->shape.end(), shape.begin(), shape.end())) {
    throw Error("safetensors", "{}: tensor '{}': got shape ({}), expected ({})", path_.string(), name,
                fmt::join(info->shape, ", "), fmt::join(shape, ", "));
  }
  return *info;
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorInfo& info) const noexcept {
  return file_.bytes().subspan(static_cast<size_t>(info.offset), static_cast<size_t>(info.size_bytes));
}

void SafetensorsFile::verify(const TensorInfo& info) const {
  const auto expected = header_.metadata.find(std::string(kChecksumPrefix) + info.name);
  if (expected == header_.metadata.end()) {
    // Files of others have no checksums; a file of ours has one for every tensor.
    const auto any = header_.metadata.lower_bound(std::string(kChecksumPrefix));
    if (any == header_.metadata.end() || !any->first.starts_with(kChecksumPrefix)) return;
    throw Error(
        "safetensors",
        "{}: tensor '{}' has no checksum, others have: the file is damaged; use another copy or checkpoint",
        path_.string(), info.name);
  }
  Checksum checksum(info.name, info.type, info.shape);
  checksum.update(bytes(info));
  if (checksum.hex() != expected->second) {
    throw Error(
        "safetensors",
        "{}: tensor '{}': got checksum {}, expected {}: the file is damaged; use another copy or checkpoint",
        path_.string(), info.name, checksum.hex(), expected->second);
  }
}

void SafetensorsFile::verify_all() const {
  for (const TensorInfo& info : tensors()) verify(info);
}

void SafetensorsFile::read(const TensorInfo& info, std::span<float> out) const {
  if (static_cast<int64_t>(out.size()) != info.count()) {
    throw Error("safetensors", "{}: tensor '{}': got {} values, expected {}", path_.string(), info.name,
                info.count(), out.size());
  }
  verify(info);
  const std::span<const std::byte> data = bytes(info);
  switch (info.type) {
    case TensorType::F32:
      if (!out.empty()) std::memcpy(out.data(), data.data(), data.size());
      return;
    case TensorType::BF16:
      return convert<kernels::bf16>(data, out, [](kernels::bf16 x) { return kernels::to_float(x); });
    case TensorType::F16:
      return convert<uint16_t>(data, out, half_to_float);
    case TensorType::F64:
      return convert<double>(data, out, [](double x) { return static_cast<float>(x); });
    default:
      throw Error("safetensors", "{}: tensor '{}': got dtype {}, expected F32, F16, BF16 or F64",
                  path_.string(), info.name, tensor_type_name(info.type));
  }
}

void SafetensorsWriter::add(std::string name, TensorType type, std::vector<int64_t> shape, Source source) {
  const int64_t size = size_of(shape, type);
  CHECK(size >= 0);
  entries_.push_back({std::move(name), type, std::move(shape), size, std::move(source)});
}

void SafetensorsWriter::add(std::string name, std::vector<int64_t> shape, std::span<const float> values,
                            kernels::DType type) {
  CHECK(size_of(shape, TensorType::F32) == static_cast<int64_t>(values.size_bytes()));
  if (type == kernels::DType::f32) {
    return add(std::move(name), TensorType::F32, std::move(shape),
               [values](const Sink& sink) { sink(std::as_bytes(values)); });
  }
  add(std::move(name), TensorType::BF16, std::move(shape), [values](const Sink& sink) {
    std::vector<kernels::bf16> rounded(std::min<size_t>(values.size(), 1 << 18));
    for (size_t begin = 0; begin < values.size(); begin += rounded.size()) {
      const size_t count = std::min(rounded.size(), values.size() - begin);
      kernels::to_bf16(rounded.data(), values.data() + begin, static_cast<int64_t>(count));
      sink(std::as_bytes(std::span(rounded).first(count)));
    }
  });
}

void SafetensorsWriter::add(std::string name, std::vector<int64_t> shape, std::span<const int64_t> values) {
  CHECK(size_of(shape, TensorType::I64) == static_cast<int64_t>(values.size_bytes()));
  add(std::move(name), TensorType::I64, std::move(shape),
      [values](const Sink& sink) { sink(std::as_bytes(values)); });
}

void SafetensorsWriter::write(const std::filesystem::path& path) const {
  nlohmann::ordered_json metadata = metadata_, tensors = nlohmann::ordered_json::object();
  int64_t offset = 0;
  for (const Entry& e : entries_) {
    Checksum checksum(e.name, e.type, e.shape);
    e.source([&](std::span<const std::byte> piece) { checksum.update(piece); });
    metadata[std::string(kChecksumPrefix) + e.name] = checksum.hex();
    CHECK(!tensors.contains(e.name), "{} twice", e.name);
    tensors[e.name] = {{"dtype", tensor_type_name(e.type)},
                       {"shape", e.shape},
                       {"data_offsets", {offset, offset + e.size_bytes}}};
    offset += e.size_bytes;
  }
  nlohmann::ordered_json header{{"__metadata__", std::move(metadata)}};
  header.update(tensors);
  std::string json = header.dump();
  json.resize((json.size() + 7) / 8 * 8, ' ');  // so that the data begin on a multiple of 8
  const uint64_t length = json.size();
  io::AtomicFile file(path);
  file.write(&length, sizeof(length));
  file.write(json);
  for (const Entry& e : entries_) {
    const int64_t before = file.size_bytes();
    e.source([&](std::span<const std::byte> piece) { file.write(piece.data(), piece.size()); });
    CHECK(file.size_bytes() - before == e.size_bytes, "{}", e.name);
  }
  file.commit();
}

}  // namespace tumbler::formats
