#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/error.h"
#include "formats/gguf_layout.h"

namespace tumbler::formats {
namespace {

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}
void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<uint64_t>(text.size()));
  out += text;
}
uint64_t padded(uint64_t size) noexcept {
  return (size + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
}

}  // namespace

void GgufWriter::begin(std::string_view key, GgufType type) {
  CHECK(std::find(keys_.begin(), keys_.end(), key) == keys_.end(), "{} set twice", key);
  keys_.emplace_back(key);
  put_text(metadata_, key);
  put(metadata_, static_cast<uint32_t>(type));
}

void GgufWriter::set_u32(std::string_view key, int64_t value) {
  if (value < 0 || value > std::numeric_limits<uint32_t>::max())
    throw Error("gguf", "{}: got {}, expected 0 to 2^32 - 1", key, value);
  begin(key, GgufType::u32);
  put(metadata_, static_cast<uint32_t>(value));
}
void GgufWriter::set_f32(std::string_view key, double value) {
  begin(key, GgufType::f32);
  put(metadata_, static_cast<float>(value));
}
void GgufWriter::set_flag(std::string_view key, bool value) {
  begin(key, GgufType::boolean);
  put(metadata_, static_cast<uint8_t>(value));
}
void GgufWriter::set_text(std::string_view key, std::string_view value) {
  begin(key, GgufType::text);
  put_text(metadata_, value);
}
void GgufWriter::set_texts(std::string_view key, std::span<const std::string> values) {
  begin(key, GgufType::array);
  put(metadata_, static_cast<uint32_t>(GgufType::text));
  put(metadata_, static_cast<uint64_t>(values.size()));
  for (const std::string& value : values) put_text(metadata_, value);
}
void GgufWriter::set_i32s(std::string_view key, std::span<const int32_t> values) {
  begin(key, GgufType::array);
  put(metadata_, static_cast<uint32_t>(GgufType::i32));
  put(metadata_, static_cast<uint64_t>(values.size()));
  for (const int32_t value : values) put(metadata_, value);
}

void GgufWriter::set_f32s(std::string_view key, std::span<const float> values) {
  begin(key, GgufType::array);
  put(metadata_, static_cast<uint32_t>(GgufType::f32));
  put(metadata_, static_cast<uint64_t>(values.size()));
  for (const float value : values) put(metadata_, value);
}

void GgufWriter::add(std::string name, std::vector<int64_t> shape, kernels::WeightType type, Source source) {
  CHECK(!name.empty() && name.size() < kMaxNameBytes && !shape.empty() && shape.size() <= kMaxDims, "{}",
        name);
  int64_t rows = 1;
  for (size_t d = 0; d + 1 < shape.size(); ++d) rows *= shape[d];
  const int64_t size = rows * kernels::row_bytes(type, shape.back());
  entries_.push_back({std::move(name), std::move(shape), type, size, std::move(source)});
}

int64_t GgufWriter::tensor_bytes() const noexcept {
  int64_t bytes = 0;
  for (const Entry& e : entries_) bytes += e.size_bytes;
  return bytes;
}

void GgufWriter::write(const std::filesystem::path& path) const {
  std::string header;
  put(header, kGgufMagic);
  put(header, kGgufVersion);
  put(header, static_cast<uint64_t>(entries_.size()));
  put(header, static_cast<uint64_t>(keys_.size()));
  header += metadata_;
  uint64_t offset = 0;
  for (const Entry& e : entries_) {
    put_text(header, e.name);
    put(header, static_cast<uint32_t>(e.shape.size()));
    for (size_t d = e.shape.size(); d > 0; --d) put(header, e.shape[d - 1]);
    put(header, tensor_type_number(e.type));
    put(header, offset);
    offset += padded(static_cast<uint64_t>(e.size_bytes));
  }
  header.resize(padded(header.size()), '\0');
  io::AtomicFile file(path);
  file.write(header);
  for (const Entry& e : entries_) {
    int64_t written = 0;
    e.source([&](std::span<const std::byte> bytes) {
      file.write(bytes.data(), bytes.size());
      written += static_cast<int64_t>(bytes.size());
    });
    CHECK(written == e.size_bytes, "{}: {} of {} bytes", e.name, written, e.size_bytes);
    const auto size = static_cast<uint64_t>(e.size_bytes);
    file.write(std::string(padded(size) - size, '\0'));
  }
  file.commit();
}

}  // namespace tumbler::formats
