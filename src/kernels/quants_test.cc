#include "kernels/quants.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"

namespace tumbler::kernels {
namespace {

const std::vector<WeightType> kAll = {WeightType::f32,  WeightType::f16,  WeightType::bf16, WeightType::q8_0,
                                      WeightType::q4_0, WeightType::q4_1, WeightType::q5_0, WeightType::q5_1,
                                      WeightType::q4_k, WeightType::q5_k, WeightType::q6_k};

// tests/golden/make_quants.py
const nlohmann::json& golden() {
  static const nlohmann::json file =
      nlohmann::json::parse(std::ifstream(TUMBLER_SOURCE_DIR "/tests/golden/quants.json"));
  return file;
}

std::vector<std::byte> from_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}
std::vector<float> floats(const nlohmann::json& hex) {
  const std::vector<std::byte> bytes = from_hex(hex.get<std::string>());
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::vector<float> there_and_back(const std::vector<float>& x, WeightType type) {
  const auto n = static_cast<int64_t>(x.size());
  std::vector<std::byte> packed(static_cast<size_t>(row_bytes(type, n)));
  quantize(packed.data(), x.data(), type, n);
  std::vector<float> y(x.size());
  dequantize(y.data(), packed.data(), type, n);
  return y;
}

// Sum of squared errors over sum of squares.
double relative_error(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
    size += std::pow(static_cast<double>(x[i]), 2);
  }
  return error / size;
}

TEST(Quants, UnpackedValuesAreThoseOfAnotherProgramToTheBit) {
  int types = 0;
  for (const auto& [name, entry] : golden().at("unpack").items()) {
    const WeightType type = find_weight_type(name).value();
    const std::vector<std::byte> blocks = from_hex(entry.at("blocks"));
    const std::vector<float> expected = floats(entry.at("values"));
    ASSERT_EQ(row_bytes(type, static_cast<int64_t>(expected.size())), static_cast<int64_t>(blocks.size()));
    std::vector<float> got(expected.size());
    dequantize(got.data(), blocks.data(), type, static_cast<int64_t>(got.size()));
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(expected[i])) << name << " " << i;
    ++types;
  }
  EXPECT_EQ(types, 10);
}

TEST(Quants, PackedBytesAreThoseOfAnotherProgram) {
  const std::vector<float> x = floats(golden().at("weights"));
  int types = 0;
  for (const auto& [name, hex] : golden().at("pack").items()) {
    const WeightType type = find_weight_type(name).value();
    const std::vector<std::byte> expected = from_hex(hex);
    std::vector<std::byte> got(expected.size());
    quantize(got.data(), x.data(), type, static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], expected[i]) << name << " byte " << i;
    ++types;
  }
  EXPECT_EQ(types, 7);
}

// There are many good roundings of a super-block; ours may err no more than ggml's own search does.
TEST(Quants, SuperBlocksErrNoMoreThanAnotherProgram) {
  const std::vector<float> x = floats(golden().at("gauss"));
  for (const auto& [name, error] : golden().at("errors").items()) {
    const double ours = relative_error(x, there_and_back(x, find_weight_type(name).value()));
    EXPECT_LE(ours, 1.01 * error.get<double>()) << name;
    RecordProperty(name, std::to_string(ours / error.get<double>()));
  }
}

TEST(Quants, ErrorStaysWithinAStep) {
  Rng rng(3, 1);
  std::vector<float> x(512);
  for (float& v : x) v = static_cast<float>(rng.normal());
  for (const WeightType type : kAll) {
    const std::vector<float> y = there_and_back(x, type);
    // A level is at most (largest - least) / levels wide, for normal numbers less than 10 / levels, and
    // scales are themselves rounded: 2^-11 of f16, for super-blocks 1/126 of the largest.
    const double levels = type <= WeightType::bf16   ? 1e9
                          : type == WeightType::q8_0 ? 255
                          : type == WeightType::q6_k ? 63
                          : type == WeightType::q5_0 || type == WeightType::q5_1 || type == WeightType::q5_k
                              ? 31
                              : 15;
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_NEAR(y[i], x[i], 10 / levels + std::abs(x[i]) * (type == WeightType::f32 ? 0 : 1.0 / 126))
          << weight_type_name(type) << " " << i;
  }
}

TEST(Quants, ZerosAndConstantsSurvive) {
  for (const WeightType type : kAll) {
    for (const float value : {0.0f, 0.5f, -0.5f, 1e-30f}) {
      const std::vector<float> x(256, value);
      const std::vector<float> y = there_and_back(x, type);
      for (const float v : y) EXPECT_NEAR(v, value, 1e-3f) << weight_type_name(type);
    }
  }
}

TEST(Quants, ScalesOfSixBitsUnpack) {
  // Bits set one at a time; every field is read from where the comment says.
  for (int bit = 0; bit < 96; ++bit) {
    uint8_t packed[12] = {}, scales[8], mins[8];
    packed[bit / 8] = static_cast<uint8_t>(1 << (bit % 8));
    unpack_scales(packed, scales, mins);
    int ones = 0;
    for (int i = 0; i < 8; ++i) ones += std::popcount(scales[i]) + std::popcount(mins[i]);
    EXPECT_EQ(ones, 1) << bit;
  }
}

TEST(Quants, HalfPrecisionBothWays) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const f16 h{{static_cast<uint8_t>(bits), static_cast<uint8_t>(bits >> 8)}};
    const float x = to_float(h);
    if (std::isnan(x)) {
      EXPECT_TRUE((bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0);
      EXPECT_TRUE(std::isnan(to_float(to_f16(x))));
      continue;
    }
    const f16 back = to_f16(x);
    ASSERT_EQ(back.bytes[0] | back.bytes[1] << 8, static_cast<int>(bits));
    // Half way to the next one goes to the even one, a little more goes up.
    const f16 next{{static_cast<uint8_t>(bits + 1), static_cast<uint8_t>((bits + 1) >> 8)}};
    if ((bits & 0x7fff) >= 0x7bff) continue;
    const float half = 0.5f * (x + to_float(next));
    const f16 tie = to_f16(half), up = to_f16(std::nextafter(half, to_float(next)));
    ASSERT_EQ(tie.bytes[0], (bits & 1 ? next : h).bytes[0]);
    ASSERT_EQ(up.bytes[0], next.bytes[0]);
  }
  EXPECT_EQ(to_float(to_f16(65520.0f)), INFINITY);
  EXPECT_EQ(to_float(to_f16(-1e30f)), -INFINITY);
  EXPECT_EQ(to_float(to_f16(65519.0f)), 65504.0f);
}

TEST(Quants, NamesAndSizes) {
  for (const WeightType type : kAll) {
    EXPECT_EQ(find_weight_type(weight_type_name(type)), type);
    EXPECT_EQ(row_bytes(type, 512), 512 / block_elements(type) * block_bytes(type));
    EXPECT_EQ(row_bytes(type, 0), 0);
  }
  EXPECT_EQ(find_weight_type("q2_k"), std::nullopt);
  EXPECT_DEATH(row_bytes(WeightType::q4_k, 128), "128 elements of q4_k");
}

}  // namespace
}  // namespace tumbler::kernels
