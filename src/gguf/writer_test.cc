#include "gguf/writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/format.h"
#include "testing/gguf_bytes.h"
#include "testing/gguf_invariants.h"
#include "testing/property.h"

namespace infer::gguf {
namespace {

using kernels::WeightType;

std::span<const std::byte> zeros(size_t count) {
  static constexpr std::array<std::byte, 4096> kZeros{};
  return std::span(kZeros).first(count);
}

std::string tensor_name(size_t i) { return format("t{}", i); }

class FullSink final : public ByteSink {
 public:
  explicit FullSink(size_t room) : room_(room) {}
  Status write(std::span<const std::byte> bytes) override {
    if (bytes.size() > room_) return Error{ErrorCode::kExhausted, "no space left"};
    room_ -= bytes.size();
    return {};
  }

 private:
  size_t room_;
};

TEST(GgufWriter, TheFileIsAsTheFormatSays) {
  Writer writer;
  ASSERT_TRUE(writer.add_string("a", "xyz").has_value());
  ASSERT_TRUE(writer.add("b", uint16_t{7}).has_value());
  const std::array<std::string_view, 2> texts{"", "q"};
  ASSERT_TRUE(writer.add_strings("c", texts).has_value());
  ASSERT_TRUE(writer.add_tensor("t", WeightType::kF32, {3}).has_value());
  ASSERT_TRUE(writer.add_tensor("u", WeightType::kF16, {2, 2}).has_value());
  const uint64_t announced = *writer.file_bytes();
  MemorySink sink;
  auto data = std::move(writer).write_header(&sink);
  ASSERT_TRUE(data.has_value());
  ASSERT_TRUE(data->append("t", zeros(12)).has_value());
  ASSERT_TRUE(data->append("u", zeros(8)).has_value());
  ASSERT_TRUE(data->finish().has_value());

  testing::GgufBytes expected;
  expected.preamble(3, 2, 3).string_entry("a", "xyz").key("b", ValueType::kUint16).put(uint16_t{7});
  expected.array_key("c", 8, 2).text("").text("q").tensor("t", {3}, 0, 0).tensor("u", {2, 2}, 1, 32);
  expected.pad(32).zeros(64);
  EXPECT_TRUE(std::ranges::equal(sink.bytes(), expected.bytes()));
  EXPECT_EQ(sink.bytes().size(), announced);
}

TEST(GgufWriter, EveryScalarTypeAndArrayComesBack) {
  Writer writer;
  const auto add = [&](std::string_view key, auto value) {
    ASSERT_TRUE(writer.add(key, value).has_value()) << key;
    const std::array<decltype(value), 2> twice{value, value};
    ASSERT_TRUE(writer.add_array(format("{}s", key), std::span<const decltype(value)>(twice)).has_value()) << key;
  };
  add("u8", uint8_t{200});
  add("i8", int8_t{-100});
  add("u16", uint16_t{60000});
  add("i16", int16_t{-30000});
  add("u32", uint32_t{4000000000});
  add("i32", int32_t{-2000000000});
  add("u64", uint64_t{1} << 40);
  add("i64", -(int64_t{1} << 40));
  add("bool", true);
  add("f32", 1.25f);
  add("f64", 2.5);
  MemorySink sink;
  ASSERT_TRUE(std::move(writer).write_header(&sink).has_value());
  const auto file = File::parse(sink.bytes(), "written");
  ASSERT_TRUE(file.has_value()) << file.error().message;
  const auto expect = [&](std::string_view key, int64_t value) {
    EXPECT_EQ((*file)->find(key)->as_int(), value);
    EXPECT_EQ((*file)->find(format("{}s", key))->as_ints(), (std::vector<int64_t>{value, value}));
  };
  expect("u8", 200);
  expect("i8", -100);
  expect("u16", 60000);
  expect("i16", -30000);
  expect("u32", 4000000000);
  expect("i32", -2000000000);
  expect("u64", int64_t{1} << 40);
  expect("i64", -(int64_t{1} << 40));
  expect("bool", 1);
  EXPECT_EQ((*file)->find("f32")->as_float(), 1.25);
  EXPECT_EQ((*file)->find("f64s")->as_floats(), (std::vector<float>{2.5f, 2.5f}));
}

TEST(GgufWriter, AnOtherAlignmentIsRecordedAndKept) {
  Writer writer(4096);
  ASSERT_TRUE(writer.add_tensor("t", WeightType::kF32, {3}).has_value());
  ASSERT_TRUE(writer.add_tensor("u", WeightType::kF32, {1}).has_value());
  MemorySink sink;
  auto data = std::move(writer).write_header(&sink);
  ASSERT_TRUE(data->append("t", zeros(12)).has_value());
  ASSERT_TRUE(data->append("u", zeros(4)).has_value());
  EXPECT_EQ(sink.bytes().size(), 3u * 4096);
  const auto file = File::parse(sink.bytes(), "written");
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_EQ(*(*file)->get_u32("general.alignment"), 4096u);
  for (const uint32_t wrong : {0u, 4u, 48u, 1u << 21}) {
    MemorySink unused;
    EXPECT_EQ(Writer(wrong).write_header(&unused).error().code, ErrorCode::kInvalidArgument) << wrong;
    EXPECT_FALSE(Writer(wrong).file_bytes().has_value());
  }
}

TEST(GgufWriter, WhatTheReaderWouldRefuseIsRefused) {
  Writer writer;
  ASSERT_TRUE(writer.add("k", uint32_t{1}).has_value());
  EXPECT_FALSE(writer.add("k", uint32_t{2}).has_value());
  EXPECT_FALSE(writer.add("", uint32_t{2}).has_value());
  EXPECT_FALSE(writer.add("general.alignment", uint32_t{64}).has_value());
  EXPECT_FALSE(writer.add(std::string(65536, 'k'), uint32_t{2}).has_value());
  EXPECT_FALSE(writer.add_string("s", std::string(Limits::kStringBytes + 1, 'x')).has_value());
  const std::array<std::byte, 3> bytes{std::byte{0}, std::byte{1}, std::byte{2}};
  EXPECT_FALSE(writer.add_value("v", Value(ValueType::kUint32, ValueType::kUint32, 1, bytes)).has_value());
  EXPECT_FALSE(writer.add_value("v", Value(ValueType::kArray, ValueType::kBool, 3, bytes)).has_value());
  EXPECT_FALSE(writer.add_value("v", Value(ValueType::kArray, ValueType::kArray, 3, bytes)).has_value());
  EXPECT_FALSE(writer.add_value("v", Value(ValueType::kArray, ValueType::kString, 1, bytes)).has_value());
  EXPECT_FALSE(writer.add_value("v", Value(ValueType::kArray, ValueType::kUint8, 4, bytes)).has_value());

  ASSERT_TRUE(writer.add_tensor("t", WeightType::kF32, {8}).has_value());
  EXPECT_FALSE(writer.add_tensor("t", WeightType::kF32, {8}).has_value());
  EXPECT_FALSE(writer.add_tensor("", WeightType::kF32, {8}).has_value());
  EXPECT_FALSE(writer.add_tensor(std::string(65, 'n'), WeightType::kF32, {8}).has_value());
  EXPECT_FALSE(writer.add_tensor("u", WeightType::kF32, {}).has_value());
  EXPECT_FALSE(writer.add_tensor("u", WeightType::kF32, {1, 1, 1, 1, 1}).has_value());
  EXPECT_FALSE(writer.add_tensor("u", WeightType::kF32, {8, 0}).has_value());
  EXPECT_FALSE(writer.add_tensor("u", WeightType::kQ4_0, {33}).has_value());
  EXPECT_FALSE(writer.add_tensor("u", WeightType::kF32, {uint64_t{1} << 32, uint64_t{1} << 32}).has_value());
  EXPECT_FALSE(writer.add_tensor("u", WeightType::kF32, {uint64_t{1} << 62}).has_value());
  EXPECT_FALSE(writer.add_tensor("u", static_cast<WeightType>(999), {8}).has_value());
  // Two that are possible alone but not together.
  ASSERT_TRUE(writer.add_tensor("u", WeightType::kF32, {uint64_t{1} << 60}).has_value());
  EXPECT_FALSE(writer.add_tensor("w", WeightType::kF32, {uint64_t{1} << 60}).has_value());
}

TEST(GgufWriter, DataComesInOrderAndExactly) {
  Writer writer;
  ASSERT_TRUE(writer.add_tensor("a", WeightType::kF32, {4}).has_value());
  ASSERT_TRUE(writer.add_tensor("b", WeightType::kF32, {4}).has_value());
  MemorySink sink;
  auto data = std::move(writer).write_header(&sink);
  ASSERT_TRUE(data.has_value());
  EXPECT_NE(data->append("b", zeros(16)).error().message.find("turn of 'a'"), std::string::npos);
  EXPECT_TRUE(data->append("a", zeros(10)).has_value());
  EXPECT_NE(data->append("a", zeros(7)).error().message.find("only 6 of 16 are missing"), std::string::npos);
  EXPECT_NE(data->finish().error().message.find("'a' has 10 of its 16 bytes, and 1 tensors"), std::string::npos);
  EXPECT_TRUE(data->append("a", zeros(6)).has_value());
  EXPECT_TRUE(data->append("b", zeros(16)).has_value());
  EXPECT_TRUE(data->finish().has_value());
  EXPECT_FALSE(data->append("b", zeros(1)).has_value());
  EXPECT_TRUE(File::parse(sink.bytes(), "written").has_value());
}

TEST(GgufWriter, AFullSinkStopsEverythingAfterIt) {
  for (size_t room = 0; room < 160; ++room) {
    Writer writer;
    ASSERT_TRUE(writer.add_tensor("a", WeightType::kF32, {16}).has_value());
    FullSink sink(room);
    auto data = std::move(writer).write_header(&sink);
    if (!data) {
      EXPECT_EQ(data.error().code, ErrorCode::kExhausted);
      continue;
    }
    const Status appended = data->append("a", zeros(64));
    EXPECT_EQ(appended.has_value(), data->finish().has_value()) << room;
    EXPECT_TRUE(appended || appended.error().code == ErrorCode::kExhausted) << room;
  }
}

TEST(GgufWriter, RandomModelsComeBackUnchanged) {
  testing::for_each_case(200, [](Rng& rng) {
    Writer writer(8u << rng.below(8));
    std::vector<std::string> texts(rng.below(20));
    for (size_t i = 0; i < texts.size(); ++i) {
      texts[i].resize(rng.below(40));
      for (char& c : texts[i]) c = static_cast<char>(rng.below(256));
      ASSERT_TRUE(writer.add_string(format("key.{}", i), texts[i]).has_value());
    }
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    ASSERT_TRUE(writer.add_strings("all", views).has_value());
    std::vector<std::vector<std::byte>> contents(rng.below(12));
    constexpr std::array<WeightType, 4> kTypes{WeightType::kF32, WeightType::kBF16, WeightType::kQ5_1,
                                               WeightType::kQ6_K};
    for (size_t i = 0; i < contents.size(); ++i) {
      const auto& info = *kernels::weight_type_info(static_cast<uint32_t>(kTypes[rng.below(4)]));
      const uint64_t blocks = 1 + rng.below(4), rows = 1 + rng.below(5);
      contents[i].resize(blocks * rows * info.block_bytes);
      for (std::byte& byte : contents[i]) byte = std::byte{static_cast<unsigned char>(rng.below(256))};
      ASSERT_TRUE(writer.add_tensor(tensor_name(i), info.type, {blocks * info.block_elems, rows}).has_value());
    }
    MemorySink sink;
    auto data = std::move(writer).write_header(&sink);
    ASSERT_TRUE(data.has_value());
    for (size_t i = 0; i < contents.size(); ++i) {
      const size_t half = rng.below(static_cast<uint32_t>(contents[i].size()));
      const std::span<const std::byte> all = contents[i];
      ASSERT_TRUE(data->append(tensor_name(i), all.first(half)).has_value());
      ASSERT_TRUE(data->append(tensor_name(i), all.subspan(half)).has_value());
    }
    ASSERT_TRUE(data->finish().has_value());
    const auto file = File::parse(sink.bytes(), "written");
    ASSERT_TRUE(file.has_value()) << file.error().message;
    EXPECT_EQ(testing::broken_invariant(**file, sink.bytes()), "");
    EXPECT_EQ((*file)->find("all")->as_strings(), views);
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(*(*file)->get_string(format("key.{}", i)), texts[i]);
    for (size_t i = 0; i < contents.size(); ++i) {
      EXPECT_TRUE(std::ranges::equal((*file)->find_tensor(tensor_name(i))->data, contents[i]));
    }
  });
}

}  // namespace
}  // namespace infer::gguf
