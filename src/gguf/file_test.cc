#include "gguf/file.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "gguf/limits.h"
#include "testing/gguf_bytes.h"
#include "testing/gguf_invariants.h"

namespace infer::gguf {
namespace {

using ::infer::testing::GgufBytes;

constexpr uint32_t kF32 = 0;
constexpr uint32_t kQ8_0 = 8;

std::string parse_error(const GgufBytes& file, ErrorCode expected) {
  const Result<std::unique_ptr<File>> result = File::parse(file.bytes(), "model");
  if (result) return "accepted";
  EXPECT_EQ(result.error().code, expected) << result.error().message;
  return result.error().message;
}

#define EXPECT_REFUSED(file, code, words)                         \
  do {                                                            \
    const std::string message = parse_error(file, code);          \
    EXPECT_NE(message.find(words), std::string::npos) << message; \
    EXPECT_TRUE(message.starts_with("model: ")) << message;       \
  } while (false)

// Two metadata entries and two tensors.
GgufBytes small_file(uint32_t version) {
  GgufBytes file;
  file.preamble(version, 2, 2).string_entry("general.architecture", "llama").u32_entry("llama.block_count", 7);
  file.tensor("norm", {4}, kF32, 0).tensor("weight", {64, 3}, kQ8_0, 32).pad(32);
  for (int i = 0; i < 4; ++i) file.put(static_cast<float>(i));
  return file.pad(32).zeros(6 * 34);
}

TEST(GgufFile, MetadataAndTensorsOfVersionsTwoAndThreeAreRead) {
  for (const uint32_t version : {2u, 3u}) {
    const GgufBytes bytes = small_file(version);
    const Result<std::unique_ptr<File>> file = File::parse(bytes.bytes(), "model");
    ASSERT_TRUE(file.has_value()) << file.error().message;
    const File& model = **file;
    EXPECT_EQ(model.name(), "model");
    EXPECT_EQ(model.version(), version);
    EXPECT_EQ(model.file_bytes(), bytes.bytes().size());
    EXPECT_EQ(*model.get_string("general.architecture"), "llama");
    EXPECT_EQ(*model.get_u32("llama.block_count"), 7u);
    ASSERT_EQ(model.tensors().size(), 2u);
    const Tensor* weight = model.find_tensor("weight");
    ASSERT_NE(weight, nullptr);
    EXPECT_EQ(weight->type, kernels::WeightType::kQ8_0);
    EXPECT_EQ(weight->shape_text(), "[64, 3]");
    EXPECT_EQ(weight->rows(), 3u);
    EXPECT_EQ(weight->elements(), 192u);
    EXPECT_EQ(weight->data.size(), 204u);
    float last = 0;
    std::memcpy(&last, model.find_tensor("norm")->data.data() + 12, sizeof(last));
    EXPECT_EQ(last, 3.0f);
    EXPECT_EQ(testing::broken_invariant(model, bytes.bytes()), "");
    model.drop_resident(*weight);  // No effect on memory.
    EXPECT_EQ(model.find("nothing"), nullptr);
    EXPECT_EQ(model.find_tensor("nothing"), nullptr);
  }
}

TEST(GgufFile, AFileWithoutTensorsNeedsNoPadding) {
  GgufBytes file;
  file.preamble(3, 0, 1).string_entry("a", "b");
  EXPECT_TRUE(File::parse(file.bytes(), "model").has_value());
  EXPECT_TRUE(File::parse(GgufBytes().preamble(3, 0, 0).bytes(), "model").has_value());
}

TEST(GgufFile, TheStatedAlignmentPlacesTheData) {
  GgufBytes file;
  file.preamble(3, 1, 1).u32_entry("general.alignment", 256).tensor("t", {2}, kF32, 256).pad(256).zeros(256);
  file.put(1.5f).put(2.5f);
  const auto parsed = File::parse(file.bytes(), "model");
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  float first = 0;
  std::memcpy(&first, (*parsed)->tensors()[0].data.data(), sizeof(first));
  EXPECT_EQ(first, 1.5f);
}

TEST(GgufFile, OtherVersionsAndByteOrdersAreNamed) {
  EXPECT_REFUSED(GgufBytes().preamble(1, 0, 0), ErrorCode::kUnsupported, "GGUF version 1");
  EXPECT_REFUSED(GgufBytes().preamble(4, 0, 0), ErrorCode::kUnsupported, "GGUF version 4");
  EXPECT_REFUSED(GgufBytes().preamble(0, 0, 0), ErrorCode::kCorrupt, "version 0");
  EXPECT_REFUSED(GgufBytes().preamble(0x03000000, 0, 0), ErrorCode::kUnsupported, "big-endian");
}

TEST(GgufFile, WhatIsNoGgufFileIsSaidPlainly) {
  EXPECT_REFUSED(GgufBytes(), ErrorCode::kCorrupt, "0 bytes");
  EXPECT_REFUSED(GgufBytes().raw("GGU"), ErrorCode::kCorrupt, "3 bytes");
  EXPECT_REFUSED(GgufBytes().raw("PK\x03\x04 zip"), ErrorCode::kCorrupt, "starts with \"PK\\x03\\x04\"");
  EXPECT_REFUSED(GgufBytes().raw("tjgg____________"), ErrorCode::kUnsupported, "before GGUF");
  EXPECT_REFUSED(GgufBytes().raw("version https://git-lfs.github.com/spec/v1"), ErrorCode::kCorrupt, "git lfs pull");
  EXPECT_REFUSED(GgufBytes().raw("<!doctype html>"), ErrorCode::kCorrupt, "web page");
}

TEST(GgufFile, UnreadableTensorTypesAreNamedWithWhatIsSupported) {
  struct Case {
    uint32_t id;
    const char* words;
  };
  for (const Case& one :
       {Case{16, "type 16 (iq2_xxs)"}, Case{40, "type 40 (nvfp4)"}, Case{27, "type 27 (i64)"}, Case{4, "type 4 (q4_2)"},
        Case{999, "type 999 (unknown)"}, Case{0xFFFFFFFF, "type 4294967295"}}) {
    GgufBytes file;
    file.preamble(3, 1, 0).tensor("blk.0.w", {256}, one.id, 0).pad(32).zeros(1024);
    EXPECT_REFUSED(file, ErrorCode::kUnsupported, one.words);
    EXPECT_REFUSED(file, ErrorCode::kUnsupported, "tensor 'blk.0.w'");
    EXPECT_REFUSED(file, ErrorCode::kUnsupported, "f32, f16, q4_0");
  }
}

TEST(GgufFile, DuplicatesAreRefused) {
  GgufBytes keys;
  keys.preamble(3, 0, 3).u32_entry("a", 1).u32_entry("b", 1).u32_entry("a", 2);
  EXPECT_REFUSED(keys, ErrorCode::kCorrupt, "'a' occurs twice (entries 1 and 3)");
  GgufBytes tensors;
  tensors.preamble(3, 2, 0).tensor("t", {8}, kF32, 0).tensor("t", {8}, kF32, 32).pad(32).zeros(64);
  EXPECT_REFUSED(tensors, ErrorCode::kCorrupt, "tensor 't' occurs twice");
}

TEST(GgufFile, EmptyNamesAreRefused) {
  EXPECT_REFUSED(GgufBytes().preamble(3, 0, 1).u32_entry("", 1).zeros(8), ErrorCode::kCorrupt,
                 "entry 1 of 1: the key is empty");
  EXPECT_REFUSED(GgufBytes().preamble(3, 1, 0).tensor("", {8}, kF32, 0).pad(32).zeros(32), ErrorCode::kCorrupt,
                 "tensor 1 of 1: the name is empty");
}

TEST(GgufFile, NestedArraysAndUnknownValueTypesAreRefused) {
  GgufBytes nested;
  nested.preamble(3, 0, 1).array_key("k", 9, 1).put(uint32_t{4}).put(uint64_t{1}).put(uint32_t{1});
  EXPECT_REFUSED(nested, ErrorCode::kUnsupported, "array of arrays");
  EXPECT_REFUSED(GgufBytes().preamble(3, 0, 1).text("k").put(uint32_t{13}).zeros(16), ErrorCode::kCorrupt,
                 "value type 13 does not exist");
  EXPECT_REFUSED(GgufBytes().preamble(3, 0, 1).array_key("k", 13, 0).zeros(8), ErrorCode::kCorrupt,
                 "array element type 13 does not exist");
}

TEST(GgufFile, BoolsAreZeroOrOne) {
  EXPECT_REFUSED(GgufBytes().preamble(3, 0, 1).key("flag", ValueType::kBool).put(uint8_t{2}), ErrorCode::kCorrupt,
                 "metadata key 'flag': a bool is stored as 2");
  EXPECT_REFUSED(
      GgufBytes().preamble(3, 0, 1).array_key("flags", 7, 3).put(uint8_t{0}).put(uint8_t{1}).put(uint8_t{255}),
      ErrorCode::kCorrupt, "a bool is stored as 255");
}

TEST(GgufFile, OverlappingTensorsAreRefused) {
  GgufBytes file;
  file.preamble(3, 2, 0).tensor("a", {16}, kF32, 32).tensor("b", {16}, kF32, 0).pad(32).zeros(96);
  EXPECT_REFUSED(file, ErrorCode::kCorrupt, "tensors 'b' and 'a' overlap");
}

TEST(GgufFile, RowsAreWholeBlocks) {
  GgufBytes file;
  file.preamble(3, 1, 0).tensor("t", {33}, kQ8_0, 0).pad(32).zeros(256);
  EXPECT_REFUSED(file, ErrorCode::kCorrupt, "rows of 33 elements");
}

TEST(GgufFile, HostileNamesReachMessagesWithoutControlCharacters) {
  GgufBytes file;
  file.preamble(3, 1, 0).tensor("\x1b[2J\r\n\xff", {8}, 999, 0).pad(32).zeros(32);
  const std::string message = parse_error(file, ErrorCode::kUnsupported);
  EXPECT_NE(message.find("'\\x1b[2J\\x0d\\n\\xff'"), std::string::npos) << message;
}

TEST(GgufFile, TypedGettersSayKeyExpectationAndFinding) {
  GgufBytes bytes;
  bytes.preamble(3, 0, 6).u32_entry("count", 5).string_entry("text", "x\ny");
  bytes.key("big", ValueType::kUint64).put(uint64_t{1} << 32).key("minus", ValueType::kInt8).put(int8_t{-1});
  bytes.key("nan", ValueType::kFloat32).put(std::numeric_limits<float>::quiet_NaN());
  bytes.key("flag", ValueType::kBool).put(uint8_t{1});
  const auto parsed = File::parse(bytes.bytes(), "model");
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  const File& file = **parsed;
  EXPECT_EQ(*file.get_u32_or("count", 9), 5u);
  EXPECT_EQ(*file.get_u32_or("absent", 9), 9u);
  EXPECT_EQ(*file.get_f32_or("count", 9), 5.0f);
  EXPECT_EQ(*file.get_f32_or("absent", 9), 9.0f);
  EXPECT_TRUE(*file.get_bool_or("flag", false));
  EXPECT_TRUE(*file.get_bool_or("absent", true));
  EXPECT_EQ(*file.get_string_or("absent", "z"), "z");
  EXPECT_EQ(file.get_u32("absent").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(file.get_f32("absent").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(file.get_string("absent").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(file.get_u32("text").error().message,
            "metadata key 'text' must be an integer from 0 to 4294967295, but is \"x\\ny\" of type string");
  for (const char* key : {"big", "minus", "flag", "nan"}) {
    EXPECT_EQ(file.get_u32_or(key, 1).error().code, ErrorCode::kCorrupt) << key;
  }
  for (const char* key : {"nan", "flag", "text"})
    EXPECT_EQ(file.get_f32_or(key, 1).error().code, ErrorCode::kCorrupt) << key;
  EXPECT_EQ(file.get_bool_or("count", false).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(file.get_string_or("count", "").error().code, ErrorCode::kCorrupt);
}

TEST(GgufFile, TheEmbeddedModelOpens) {
  const std::string path = INFER_SOURCE_DIR "/models/tales-q8_0.gguf";
  const auto file = File::open(path);
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_EQ(*(*file)->get_string("general.architecture"), "llama");
  EXPECT_EQ(*(*file)->get_u32("llama.block_count"), 6u);
  EXPECT_EQ((*file)->find("tokenizer.ggml.tokens")->as_strings()->size(), 4096u);
  const Tensor* embedding = (*file)->find_tensor("token_embd.weight");
  ASSERT_NE(embedding, nullptr);
  EXPECT_EQ(embedding->shape_text(), "[256, 4096]");
  const std::byte before = embedding->data[0];
  (*file)->drop_resident(*embedding);
  EXPECT_EQ(embedding->data[0], before);
}

TEST(GgufFile, WhatCannotBeOpenedNamesThePath) {
  EXPECT_EQ(File::open("no/such/model.gguf").error().code, ErrorCode::kNotFound);
  EXPECT_NE(File::open("no/such/model.gguf").error().message.find("no/such/model.gguf"), std::string::npos);
  EXPECT_EQ(File::open(INFER_SOURCE_DIR "/models").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(File::open(INFER_SOURCE_DIR "/CMakeLists.txt").error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace infer::gguf
