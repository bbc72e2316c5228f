// Files made to break a reader. Each class of published GGUF vulnerabilities has a test with its name.
#include <gtest/gtest.h>

#include <limits>

#include "gguf/file.h"
#include "gguf/limits.h"
#include "testing/gguf_bytes.h"
#include "testing/gguf_invariants.h"

namespace infer::gguf {
namespace {

using ::infer::testing::GgufBytes;

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
constexpr uint32_t kF32 = 0;
constexpr uint32_t kF16 = 1;
constexpr uint32_t kQ8_0 = 8;
constexpr uint32_t kQ4_K = 12;

std::string refusal(const GgufBytes& file, ErrorCode code = ErrorCode::kCorrupt) {
  const Result<std::unique_ptr<File>> result = File::parse(file.bytes(), "model");
  if (result) return "accepted";
  EXPECT_EQ(result.error().code, code) << result.error().message;
  return result.error().message;
}

#define EXPECT_HAS(text, words) EXPECT_NE((text).find(words), std::string::npos) << (text)

GgufBytes one_tensor(std::initializer_list<uint64_t> dims, uint32_t type, uint64_t offset, size_t data_bytes) {
  GgufBytes file;
  file.preamble(3, 1, 0).tensor("t", dims, type, offset).pad(32).zeros(data_bytes);
  return file;
}

// CVE-2024-23605, CVE-2024-21836: counts whose product with an element size wraps.
TEST(GgufHostile, HeaderCountsBeyondTheFileAreRefused) {
  for (const uint64_t count :
       {kHuge, kHuge / 2, kHuge / 48 + 1, uint64_t{1} << 61, uint64_t{1} << 32, uint64_t{1000}}) {
    EXPECT_HAS(refusal(GgufBytes().preamble(3, 0, count).zeros(100)), "metadata entries are announced");
    EXPECT_HAS(refusal(GgufBytes().preamble(3, count, 0).zeros(100)), "tensors are announced");
  }
}

TEST(GgufHostile, CountsAboveTheLimitsAreRefusedEvenWhenTheBytesAreThere) {
  EXPECT_HAS(
      refusal(GgufBytes().preamble(3, 0, Limits::kMetadataEntries + 1).zeros(2'000'000), ErrorCode::kUnsupported),
      "limit of 65536");
  EXPECT_HAS(refusal(GgufBytes().preamble(3, Limits::kTensors + 1, 0).zeros(8'000'000), ErrorCode::kUnsupported),
             "limit of 131072");
  GgufBytes array;
  array.preamble(3, 0, 1).array_key("k", 0, Limits::kArrayElements + 1).zeros(Limits::kArrayElements + 1);
  EXPECT_HAS(refusal(array, ErrorCode::kUnsupported), "limit of 16777216");
  EXPECT_HAS(refusal(GgufBytes().preamble(3, 0, 1).string_entry("k", std::string(Limits::kStringBytes + 1, 'x')),
                     ErrorCode::kUnsupported),
             "limit of 16777216");
  EXPECT_HAS(refusal(GgufBytes().preamble(3, 0, 1).u32_entry(std::string(Limits::kKeyBytes + 1, 'k'), 1),
                     ErrorCode::kUnsupported),
             "limit of 65535");
  GgufBytes name;
  name.preamble(3, 1, 0).tensor(std::string(65, 'n'), {8}, kF32, 0).pad(32).zeros(32);
  EXPECT_HAS(refusal(name, ErrorCode::kUnsupported), "limit of 64");
}

// CVE-2024-21802, CVE-2025-53630, CVE-2026-33298, CVE-2026-27940: element counts and byte counts that wrap.
TEST(GgufHostile, DimensionProductsDoNotWrap) {
  constexpr uint64_t k2To32 = uint64_t{1} << 32;
  EXPECT_HAS(refusal(one_tensor({kHuge}, kF32, 0, 64)), "dimension 1");
  EXPECT_HAS(refusal(one_tensor({k2To32, k2To32}, kF32, 0, 64)), "multiply to more than");
  EXPECT_HAS(refusal(one_tensor({k2To32, k2To32, 1, 1}, kF32, 0, 64)), "multiply to more than");
  EXPECT_HAS(refusal(one_tensor({1 << 16, 1 << 16, 1 << 16, 1 << 16}, kF32, 0, 64)), "multiply to more than");
  EXPECT_HAS(refusal(one_tensor({uint64_t{1} << 63}, kF32, 0, 64)), "multiply to more than");
  // Exactly 2^62 F32 elements are 2^64 bytes: a wrapped size would be 0 and fit.
  EXPECT_HAS(refusal(one_tensor({uint64_t{1} << 62}, kF32, 0, 64)), "the file has only");
  EXPECT_HAS(refusal(one_tensor({uint64_t{1} << 62, 1, 2}, kF16, 0, 64)), "multiply to more than");
  // (2^42 + 1) * 2^22 wraps in 64 bits to 2^22.
  constexpr uint64_t k2To42 = uint64_t{1} << 42;
  EXPECT_HAS(refusal(one_tensor({k2To42 + 1, uint64_t{1} << 22}, kF32, 0, 64)), "multiply to more than");
  EXPECT_HAS(refusal(one_tensor({k2To42 + 1}, kF32, 0, 64)), "the file has only");
  // 2^57 blocks of 144 bytes wrap as well.
  EXPECT_HAS(refusal(one_tensor({uint64_t{1} << 62}, kQ4_K, 0, 64)), "the file has only");
  EXPECT_HAS(refusal(one_tensor({uint64_t{1} << 62}, kQ8_0, 0, 64)), "the file has only");
}

TEST(GgufHostile, NegativeAndZeroDimensionsAreRefused) {
  EXPECT_HAS(refusal(one_tensor({static_cast<uint64_t>(-32)}, kF32, 0, 64)), "dimension 1");
  EXPECT_HAS(refusal(one_tensor({32, static_cast<uint64_t>(-1)}, kF32, 0, 64)), "dimension 2");
  EXPECT_HAS(refusal(one_tensor({0}, kF32, 0, 64)), "dimension 1 is 0");
  EXPECT_HAS(refusal(one_tensor({32, 0}, kF32, 0, 64)), "dimension 2 is 0");
}

TEST(GgufHostile, TheNumberOfDimensionsIsOneToFour) {
  EXPECT_HAS(refusal(one_tensor({}, kF32, 0, 64)), "0 dimensions");
  EXPECT_HAS(refusal(one_tensor({1, 1, 1, 1, 1}, kF32, 0, 64)), "5 dimensions");
  GgufBytes many;
  many.preamble(3, 1, 0).text("t").put(uint32_t{0xFFFFFFFF}).zeros(200);
  EXPECT_HAS(refusal(many), "4294967295 dimensions");
}

// Rounding up to the alignment that wraps to 0; alignments that are none; alignment of another type.
TEST(GgufHostile, AlignmentIsAPowerOfTwoOfTypeUint32) {
  for (const uint32_t alignment : {0u, 1u, 4u, 3u, 33u, 0x80000000u, 0xFFFFFFFFu, 1u << 21}) {
    GgufBytes file;
    file.preamble(3, 1, 1).u32_entry("general.alignment", alignment).tensor("t", {8}, kF32, 0).pad(32).zeros(64);
    EXPECT_HAS(refusal(file), "'general.alignment' is " + std::to_string(alignment));
  }
  const auto with = [](ValueType type) { return GgufBytes().preamble(3, 0, 1).key("general.alignment", type); };
  EXPECT_HAS(refusal(with(ValueType::kUint64).put(uint64_t{32})), "must be of type uint32, but is 32 of type uint64");
  EXPECT_HAS(refusal(with(ValueType::kInt32).put(int32_t{-32})), "of type int32");
  EXPECT_HAS(refusal(with(ValueType::kString).text("32")), "of type string");
  EXPECT_HAS(refusal(with(ValueType::kArray).put(uint32_t{4}).put(uint64_t{0})), "of type array");
  EXPECT_HAS(refusal(with(ValueType::kBool).put(uint8_t{1})), "of type bool");
}

TEST(GgufHostile, OffsetsThatWrapWhenPaddedOrAddedAreRefused) {
  for (const uint64_t offset :
       {kHuge - 31, kHuge - 63, uint64_t{1} << 63, (uint64_t{1} << 63) - 32, kHuge & ~uint64_t{4095}}) {
    EXPECT_HAS(refusal(one_tensor({8}, kF32, offset, 64)), "bytes behind the header");
  }
  for (const uint64_t offset : {uint64_t{1}, uint64_t{16}, kHuge}) {
    EXPECT_HAS(refusal(one_tensor({8}, kF32, offset, 64)), "not a multiple of the alignment");
  }
}

// CVE-2024-23496, CVE-2024-21825, CVE-2024-25664 to 25668: lengths of strings and arrays.
TEST(GgufHostile, StringLengthsBeyondTheFileAreRefused) {
  for (const uint64_t length : {kHuge, kHuge - 8, uint64_t{1} << 63, uint64_t{1} << 32, uint64_t{65}}) {
    EXPECT_HAS(refusal(GgufBytes().preamble(3, 0, 1).put(length).zeros(64)), "the key has");
    EXPECT_HAS(refusal(GgufBytes().preamble(3, 0, 1).key("k", ValueType::kString).put(length).zeros(64)),
               "the string has");
    GgufBytes array;
    array.preamble(3, 0, 1).array_key("k", 8, 2).text("fine").put(length).zeros(64);
    EXPECT_HAS(refusal(array), "array element 2 of 2: the string has");
    EXPECT_HAS(refusal(GgufBytes().preamble(3, 1, 0).put(length).zeros(64)), "tensor 1 of 1: the name has");
  }
}

TEST(GgufHostile, ArrayCountsBeyondTheFileAreRefused) {
  for (uint32_t type = 0; type <= 12; ++type) {
    if (type == static_cast<uint32_t>(ValueType::kArray)) continue;
    for (const uint64_t count : {kHuge, kHuge / 2 + 1, kHuge / 4 + 1, kHuge / 8 + 1, uint64_t{1} << 32, uint64_t{65}}) {
      GgufBytes file;
      file.preamble(3, 0, 1).array_key("k", type, count).zeros(64);
      EXPECT_HAS(refusal(file), "array elements of type");
    }
  }
}

// CVE-2024-32878: an error in the middle of the header must not leave half-made values behind.
TEST(GgufHostile, AnErrorAfterManyGoodEntriesLeavesNothingBehind) {
  GgufBytes file;
  file.preamble(3, 1, 4).string_entry("a", "text").array_key("b", 8, 2).text("x").text("y").u32_entry("c", 1);
  file.array_key("d", 8, 3).text("z").put(kHuge).zeros(100);
  EXPECT_HAS(refusal(file), "metadata key 'd': array element 2 of 3");
}

// CVE-2026-7482: a tensor whose data reaches behind the end of the file.
TEST(GgufHostile, TensorDataBehindTheEndOfTheFileIsRefused) {
  EXPECT_HAS(refusal(one_tensor({8}, kF32, 0, 31)), "the file has only");
  EXPECT_HAS(refusal(one_tensor({8}, kF32, 32, 63)), "the file has only");
  EXPECT_HAS(refusal(one_tensor({8}, kF32, 64, 32)), "bytes behind the header");
  EXPECT_HAS(refusal(one_tensor({8}, kF32, 0, 0)), "the file has only");
  EXPECT_HAS(refusal(one_tensor({1 << 20, 1 << 20}, kF16, 0, 64)), "the file has only");
  EXPECT_EQ(refusal(one_tensor({8}, kF32, 32, 64)), "accepted");
}

TEST(GgufHostile, MissingPaddingBeforeTheDataIsATruncation) {
  GgufBytes file;
  file.preamble(3, 1, 0).tensor("t", {8}, kF32, 0);
  EXPECT_HAS(refusal(file), "truncated");
}

// CVE-2025-49847 and CVE-2025-52566 narrow 64-bit sizes of vocabularies: sizes here stay 64 bits wide.
TEST(GgufHostile, VocabularySizesAreNotNarrowed) {
  GgufBytes file;
  file.preamble(3, 0, 1).array_key("tokenizer.ggml.tokens", 8, (uint64_t{1} << 32) + 2).text("a").text("b");
  EXPECT_HAS(refusal(file), "4294967298 array elements");
  GgufBytes length;
  length.preamble(3, 0, 1).array_key("tokenizer.ggml.tokens", 8, 1).put((uint64_t{1} << 32) + 1).raw("a");
  EXPECT_HAS(refusal(length), "4294967297 bytes");
}

GgufBytes small_file() {
  GgufBytes file;
  file.preamble(3, 2, 8).string_entry("general.architecture", "llama").u32_entry("general.alignment", 32);
  file.key("f", ValueType::kFloat64).put(1.5).key("flag", ValueType::kBool).put(uint8_t{1});
  file.array_key("tokens", 8, 3).text("").text("a").text("bc").array_key("scores", 6, 2).put(1.0f).put(-1.0f);
  file.array_key("none", 12, 0).key("small", ValueType::kInt8).put(int8_t{-5});
  return file.tensor("norm", {4}, kF32, 0).tensor("w", {32, 2, 1, 1}, kQ8_0, 32).pad(32).zeros(32 + 68);
}

TEST(GgufHostile, EveryTruncationIsRefused) {
  const GgufBytes file = small_file();
  const std::span<const std::byte> bytes = file.bytes();
  ASSERT_TRUE(File::parse(bytes, "model").has_value());
  for (size_t length = 0; length < bytes.size(); ++length) {
    // A copy of exactly this size, so that a sanitizer sees every byte read too far.
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
    const auto result = File::parse(cut, "model");
    ASSERT_FALSE(result.has_value()) << length;
    EXPECT_EQ(result.error().code, ErrorCode::kCorrupt) << length << ": " << result.error().message;
  }
}

TEST(GgufHostile, NoFlippedBitBreaksThePromises) {
  const GgufBytes file = small_file();
  std::vector<std::byte> bytes(file.bytes().begin(), file.bytes().end());
  size_t refused = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const std::byte mask{static_cast<unsigned char>(1u << (bit % 8))};
    bytes[bit / 8] ^= mask;
    const auto result = File::parse(bytes, "model");
    if (result) {
      ASSERT_EQ(testing::broken_invariant(**result, bytes), "") << "bit " << bit;
    } else {
      ++refused;
      ASSERT_TRUE(result.error().code == ErrorCode::kCorrupt || result.error().code == ErrorCode::kUnsupported) << bit;
    }
    bytes[bit / 8] ^= mask;
  }
  EXPECT_GT(refused, 1000u);  // Most of the header is lengths, counts, types and offsets.
}

TEST(GgufHostile, NoOverwrittenFieldBreaksThePromises) {
  const GgufBytes file = small_file();
  const std::vector<std::byte> original(file.bytes().begin(), file.bytes().end());
  for (const uint64_t value :
       {uint64_t{0}, kHuge, uint64_t{1} << 63, (uint64_t{1} << 63) - 1, uint64_t{1} << 32, uint64_t{64}}) {
    for (size_t at = 4; at + sizeof(value) <= original.size(); ++at) {
      std::vector<std::byte> bytes = original;
      std::memcpy(bytes.data() + at, &value, sizeof(value));
      const auto result = File::parse(bytes, "model");
      if (!result) continue;
      ASSERT_EQ(testing::broken_invariant(**result, bytes), "") << at;
    }
  }
}

}  // namespace
}  // namespace infer::gguf
