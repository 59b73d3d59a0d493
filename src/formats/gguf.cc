#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/error.h"
#include "formats/gguf_layout.h"

namespace tumbler::formats {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is little endian, and is read in place");

template <class T>
T load(const std::byte* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

// A text that was checked: its length and its bytes.
std::string_view text_at(const std::byte* from) noexcept {
  return {reinterpret_cast<const char*>(from) + 8, static_cast<size_t>(load<uint64_t>(from))};
}

bool is_integer(GgufType type) noexcept {
  return type != GgufType::f32 && type != GgufType::f64 && type != GgufType::text && type != GgufType::array;
}

}  // namespace

const char* gguf_type_name(GgufType type) noexcept {
  constexpr const char* kNames[] = {"u8",   "i8",   "u16",   "i16", "u32", "i32", "f32",
                                    "bool", "text", "array", "u64", "i64", "f64"};
  return kNames[static_cast<size_t>(type)];
}

std::string printable(std::string_view text) {
  std::string out(text.substr(0, 60));
  for (char& c : out)
    if (c < 0x20 || c == 0x7f) c = '?';
  return text.size() > 60 ? out + "…" : out;
}

void GgufValue::for_each_text(const std::function<void(std::string_view)>& body) const {
  CHECK(is_array_of_text());
  const std::byte* at = bytes.data();
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view text = text_at(at);
    body(text);
    at += 8 + text.size();
  }
}

std::optional<int64_t> GgufValue::integer(uint64_t i) const noexcept {
  const GgufType t = type == GgufType::array ? element : type;
  if (!is_integer(t) || i >= count) return std::nullopt;
  const std::byte* at = bytes.data() + i * scalar_bytes(t);
  switch (t) {
    case GgufType::u8:
      return load<uint8_t>(at);
    case GgufType::boolean:
      return load<uint8_t>(at) != 0;
    case GgufType::i8:
      return load<int8_t>(at);
    case GgufType::u16:
      return load<uint16_t>(at);
    case GgufType::i16:
      return load<int16_t>(at);
    case GgufType::u32:
      return load<uint32_t>(at);
    case GgufType::i32:
      return load<int32_t>(at);
    case GgufType::i64:
      return load<int64_t>(at);
    default:
      break;
  }
  const auto value = load<uint64_t>(at);
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return static_cast<int64_t>(value);
}

std::optional<double> GgufValue::number(uint64_t i) const noexcept {
  const GgufType t = type == GgufType::array ? element : type;
  if (i < count && t == GgufType::f32) return static_cast<double>(load<float>(bytes.data() + i * 4));
  if (i < count && t == GgufType::f64) return load<double>(bytes.data() + i * 8);
  const std::optional<int64_t> whole = t == GgufType::boolean ? std::nullopt : integer(i);
  return whole ? std::optional(static_cast<double>(*whole)) : std::nullopt;
}

int64_t GgufTensor::count() const noexcept {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

std::string_view GgufContents::key(int64_t i) const noexcept {
  return text_at(file_.data() + keys_[static_cast<size_t>(i)]);
}

std::optional<GgufValue> GgufContents::find(std::string_view key) const noexcept {
  const auto name = [&](uint64_t at) { return text_at(file_.data() + at); };
  const auto found = std::lower_bound(keys_.begin(), keys_.end(), key,
                                      [&](uint64_t at, std::string_view k) { return name(at) < k; });
  if (found == keys_.end() || name(*found) != key) return std::nullopt;
  const std::byte* at = file_.data() + *found + 8 + key.size();
  GgufValue value{.type = static_cast<GgufType>(load<uint32_t>(at))};
  at += 4;
  const auto left = [&] { return static_cast<size_t>(file_.data() + file_.size() - at); };
  if (value.type == GgufType::array) {
    value.element = static_cast<GgufType>(load<uint32_t>(at));
    value.count = load<uint64_t>(at + 4);
    at += 12;
    const uint64_t each = scalar_bytes(value.element);
    value.bytes = {at, each > 0 ? static_cast<size_t>(value.count * each) : left()};
  } else if (value.type == GgufType::text) {
    value.bytes = std::as_bytes(std::span(text_at(at)));
  } else {
    value.bytes = {at, scalar_bytes(value.type)};
  }
  return value;
}

GgufTensor GgufContents::tensor(int64_t i) const {
  const TensorEntry entry = read_tensor_entry(file_.data() + tensors_[static_cast<size_t>(i)]);
  GgufTensor tensor{.name = entry.name, .type = *find_tensor_type(entry.type), .shape = {}, .bytes = {}};
  for (uint32_t d = entry.n_dims; d > 0; --d) tensor.shape.push_back(entry.dims[d - 1]);
  const int64_t size =
      tensor.count() / kernels::block_elements(tensor.type) * kernels::block_bytes(tensor.type);
  tensor.bytes = file_.subspan(data_ + entry.offset, static_cast<size_t>(size));
  return tensor;
}

std::optional<GgufTensor> GgufContents::find_tensor(std::string_view name) const {
  const auto found =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [&](uint64_t at, std::string_view n) { return text_at(file_.data() + at) < n; });
  if (found == tensors_.end() || text_at(file_.data() + *found) != name) return std::nullopt;
  return tensor(found - tensors_.begin());
}

namespace {

GgufContents parse_or_throw(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  Result<GgufContents> contents = GgufContents::parse(bytes);
  if (!contents) throw Error("gguf", "{}: {}", path.string(), contents.reason().detail);
  return *std::move(contents);
}

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path)
    : path_(path), file_(path), contents_(parse_or_throw(path, file_.bytes())) {}

namespace {

[[noreturn]] void wrong_type(const GgufFile& file, std::string_view key, const GgufValue& got,
                             const char* expected) {
  throw Error(
      "gguf", "{}: {}: got {}{}, expected {}", file.path().string(), key, gguf_type_name(got.type),
      got.type == GgufType::array ? fmt::format(" of {} {}", got.count, gguf_type_name(got.element)) : "",
      expected);
}

// `read(value, i)` of a scalar, or of an array whose elements are all equal.
template <class Read>
auto read_equal(const GgufFile& file, std::string_view key, const GgufValue& value, const char* expected,
                const Read& read) {
  if (value.count == 0) wrong_type(file, key, value, expected);
  const auto first = read(value, uint64_t{0});
  if (!first) wrong_type(file, key, value, expected);
  for (uint64_t i = 1; i < value.count; ++i)
    if (read(value, i) != first)
      throw Error("gguf", "{}: {}: got different values, expected one for all layers", file.path().string(),
                  key);
  return *first;
}

}  // namespace

std::optional<int64_t> GgufFile::find_integer(std::string_view key) const {
  const auto value = contents_.find(key);
  if (!value) return std::nullopt;
  if (value->type == GgufType::boolean) wrong_type(*this, key, *value, "a whole number");
  return read_equal(*this, key, *value, "a whole number",
                    [](const GgufValue& v, uint64_t i) { return v.integer(i); });
}

std::optional<double> GgufFile::find_number(std::string_view key) const {
  const auto value = contents_.find(key);
  if (!value) return std::nullopt;
  return read_equal(*this, key, *value, "a number",
                    [](const GgufValue& v, uint64_t i) { return v.number(i); });
}

std::optional<bool> GgufFile::find_flag(std::string_view key) const {
  const auto value = contents_.find(key);
  if (!value) return std::nullopt;
  if (value->type != GgufType::boolean) wrong_type(*this, key, *value, "a truth value");
  return value->integer() != 0;
}

std::optional<std::string_view> GgufFile::find_text(std::string_view key) const {
  const auto value = contents_.find(key);
  if (!value) return std::nullopt;
  if (value->type != GgufType::text) wrong_type(*this, key, *value, "a text");
  return std::string_view(reinterpret_cast<const char*>(value->bytes.data()), value->bytes.size());
}

std::optional<GgufValue> GgufFile::find_texts(std::string_view key) const {
  const auto value = contents_.find(key);
  if (value && !value->is_array_of_text()) wrong_type(*this, key, *value, "an array of texts");
  return value;
}

int64_t GgufFile::get_integer(std::string_view key) const {
  if (const auto value = find_integer(key)) return *value;
  throw Error("gguf", "{}: {}: missing; is this a language model?", path_.string(), key);
}

std::string_view GgufFile::get_text(std::string_view key) const {
  if (const auto value = find_text(key)) return *value;
  throw Error("gguf", "{}: {}: missing; is this a language model?", path_.string(), key);
}

GgufTensor GgufFile::get_tensor(std::string_view name, std::span<const int64_t> shape) const {
  auto tensor = contents_.find_tensor(name);
  if (!tensor)
    throw Error("gguf", "{}: no tensor '{}'; is the file of the architecture it names?", path_.string(),
                name);
  if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end()))
    throw Error("gguf", "{}: tensor '{}': got shape ({}), expected ({})", path_.string(), name,
                fmt::join(tensor->shape, ", "), fmt::join(shape, ", "));
  return *std::move(tensor);
}

}  // namespace tumbler::formats
