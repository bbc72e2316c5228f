#include "base/bytes.h"

#include <gtest/gtest.h>

namespace infer {
namespace {

TEST(Bytes, APlainNumberIsBytes) { EXPECT_EQ(*parse_bytes("123"), 123u); }

TEST(Bytes, DecimalAndBinaryUnitsDiffer) {
  EXPECT_EQ(*parse_bytes("16GB"), 16'000'000'000u);
  EXPECT_EQ(*parse_bytes("2GiB"), 2147483648u);
  EXPECT_EQ(*parse_bytes("1.5kib"), 1536u);
  EXPECT_EQ(*parse_bytes("7B"), 7u);
}

TEST(Bytes, MalformedSizesAreRefusedWithTheText) {
  for (const char* text : {"", "GB", "1.GB", ".5GB", "-1", "1 GB", "1TB", "1e3", "99999999999999999999", "1GBs"}) {
    const Result<uint64_t> size = parse_bytes(text);
    ASSERT_FALSE(size.has_value()) << text;
    EXPECT_EQ(size.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(size.error().message.find(text), std::string::npos);
  }
}

TEST(Bytes, TextHasThreeSignificantDigits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.00 kB");
  EXPECT_EQ(format_bytes(999'999), "1.00 MB");
  EXPECT_EQ(format_bytes(12'345'678), "12.3 MB");
  EXPECT_EQ(format_bytes(321'000'000'000), "321 GB");
}

}  // namespace
}  // namespace infer
