#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gguf/file.h"
#include "gguf/printable.h"
#include "gguf/writer.h"

namespace infer::gguf {
namespace {

// Values that own their bytes.
template <class T>
class Scalar {
 public:
  explicit Scalar(T value) : value_(value) {}
  Value operator*() const { return Value(ValueTypeOf<T>::value, ValueTypeOf<T>::value, 1, bytes()); }

 private:
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(&value_, 1)); }
  T value_;
};

template <class T>
Value array_of(const std::vector<T>& values) {
  return Value(ValueType::kArray, ValueTypeOf<T>::value, values.size(), std::as_bytes(std::span(values)));
}

Value text_of(std::string_view text) {
  return Value(ValueType::kString, ValueType::kString, 1, std::as_bytes(std::span(text)));
}

template <class T>
void expect_int(T value) {
  const Scalar<T> scalar(value);
  EXPECT_EQ((*scalar).as_int(), static_cast<int64_t>(value));
  EXPECT_EQ((*scalar).as_float(), static_cast<double>(value));
  EXPECT_EQ((*scalar).to_text(40), std::to_string(value));
}

TEST(GgufValue, EveryIntegerTypeReadsAsInteger) {
  expect_int(uint8_t{255});
  expect_int(int8_t{-128});
  expect_int(uint16_t{65535});
  expect_int(int16_t{-32768});
  expect_int(uint32_t{4294967295u});
  expect_int(std::numeric_limits<int32_t>::min());
  expect_int(std::numeric_limits<int64_t>::min());
  expect_int(uint64_t{1} << 62);
}

TEST(GgufValue, WhatDoesNotFitIsNothing) {
  const Scalar<uint64_t> big(uint64_t{1} << 63);
  EXPECT_FALSE((*big).as_int().has_value());
  EXPECT_EQ((*big).as_float(), 0x1p63);
  const Scalar<float> real(1.0f);
  EXPECT_FALSE((*real).as_int().has_value());
  EXPECT_EQ((*real).as_float(), 1.0);
  EXPECT_FALSE((*real).as_bool().has_value());
  EXPECT_FALSE((*real).as_string().has_value());
  const Value text = text_of("12");
  EXPECT_FALSE(text.as_int().has_value());
  EXPECT_FALSE(text.as_float().has_value());
  EXPECT_FALSE(text.as_strings().has_value());
  EXPECT_EQ(text.as_string(), "12");
}

TEST(GgufValue, BoolsReadAsBoolsAndIntegers) {
  const Scalar<bool> yes(true);
  EXPECT_EQ((*yes).as_bool(), true);
  EXPECT_EQ((*yes).as_int(), 1);
  EXPECT_FALSE((*yes).as_float().has_value());
  EXPECT_EQ((*yes).to_text(10), "true");
}

TEST(GgufValue, ArraysConvertWhenEveryElementFits) {
  EXPECT_EQ(array_of(std::vector<int32_t>{-1, 2}).as_ints(), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(array_of(std::vector<int32_t>{-1, 2}).as_floats(), (std::vector<float>{-1, 2}));
  EXPECT_EQ(array_of(std::vector<double>{0.5}).as_floats(), (std::vector<float>{0.5f}));
  EXPECT_FALSE(array_of(std::vector<double>{1e300}).as_floats().has_value());
  EXPECT_TRUE(std::isinf((*array_of(std::vector<double>{std::numeric_limits<double>::infinity()}).as_floats())[0]));
  EXPECT_FALSE(array_of(std::vector<float>{1}).as_ints().has_value());
  EXPECT_FALSE(array_of(std::vector<uint64_t>{1, uint64_t{1} << 63}).as_ints().has_value());
  EXPECT_FALSE(array_of(std::vector<int32_t>{1}).as_strings().has_value());
  EXPECT_FALSE(array_of(std::vector<int32_t>{1}).as_int().has_value());
  EXPECT_EQ(array_of(std::vector<int32_t>{}).as_ints()->size(), 0u);
}

TEST(GgufValue, BytesThatContradictTheCountAreNothing) {
  const std::vector<std::byte> bytes(7);
  EXPECT_FALSE(Value(ValueType::kUint32, ValueType::kUint32, 1, bytes).as_int().has_value());
  EXPECT_FALSE(Value(ValueType::kFloat64, ValueType::kFloat64, 1, bytes).as_float().has_value());
  EXPECT_EQ(Value(ValueType::kFloat64, ValueType::kFloat64, 1, bytes).to_text(10), "?");
  EXPECT_FALSE(Value(ValueType::kArray, ValueType::kUint32, 2, bytes).as_ints().has_value());
  EXPECT_FALSE(Value(ValueType::kArray, ValueType::kString, 1, bytes).as_strings().has_value());
  EXPECT_FALSE(Value(ValueType::kArray, ValueType::kString, std::numeric_limits<uint64_t>::max(), bytes).as_strings());
}

TEST(GgufValue, TextIsOneShortLineSafeForATerminal) {
  EXPECT_EQ(text_of("llama").to_text(40), "\"llama\"");
  EXPECT_EQ(text_of("a\nb\x1b[0m").to_text(40), "\"a\\nb\\x1b[0m\"");
  EXPECT_EQ(text_of("0123456789").to_text(8), "\"012...\"");
  EXPECT_EQ(text_of("0123").to_text(1), ".");
  EXPECT_EQ(array_of(std::vector<float>{1, 2}).to_text(40), "[float32 x 2]");
  const Scalar<float> tenth(0.1f);
  EXPECT_EQ((*tenth).to_text(40), "0.1");
  const Scalar<double> epsilon(1e-5);
  EXPECT_EQ((*epsilon).to_text(40), "1e-05");
}

TEST(GgufValue, PrintableKeepsTextAndEscapesTheRest) {
  EXPECT_EQ(printable("日本語 ö", 40), "日本語 ö");
  EXPECT_EQ(printable("日本語日本語", 5), "日本...");
  EXPECT_EQ(printable("日本語日本", 5), "日本語日本");
  EXPECT_EQ(printable("a\\b", 40), "a\\\\b");
  EXPECT_EQ(printable("\xC0\x80", 40), "\\xc0\\x80");                    // Overlong.
  EXPECT_EQ(printable("\xED\xA0\x80", 40), "\\xed\\xa0\\x80");           // A surrogate.
  EXPECT_EQ(printable("\xF4\x90\x80\x80", 40), "\\xf4\\x90\\x80\\x80");  // Above U+10FFFF.
  EXPECT_EQ(printable("\xE3\x81", 40), "\\xe3\\x81");                    // Cut off.
  EXPECT_EQ(printable("\xC2\x9B", 40), "\\xc2\\x9b");                    // C1: starts an escape on some terminals.
  EXPECT_EQ(printable("\xE2\x80\xAE", 40), "\\xe2\\x80\\xae");           // Right-to-left override.
  for (size_t width = 0; width < 12; ++width) EXPECT_LE(printable("\x01\x02\x03\x04", width).size(), width);
}

}  // namespace
}  // namespace infer::gguf
