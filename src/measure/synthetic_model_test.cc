#include "measure/synthetic_model.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/hash.h"
#include "gguf/file.h"
#include "kernels/reference.h"
#include "model/model_config.h"

namespace infer::measure {
namespace {

class StillClock final : public Clock {
 public:
  Instant now() const override { return {}; }
  WallTime wall_time() const override { return {}; }
};

std::vector<std::byte> tiny(const std::string& type, uint64_t seed = 1) {
  const StillClock clock;
  const auto model = SyntheticModel::make({.shape = "llama-tiny", .type = type, .seed = seed});
  EXPECT_TRUE(model.has_value());
  gguf::MemorySink sink;
  const Status written = model->write(sink, {clock, Deadline::never(), {}}, nullptr);
  EXPECT_TRUE(written.has_value());
  EXPECT_EQ(sink.bytes().size(), model->file_bytes());
  return sink.bytes();
}

class SyntheticTypes : public ::testing::TestWithParam<std::string> {};

TEST_P(SyntheticTypes, WeightsHaveTheAskedTypeAndSpreadAndMeanZero) {
  const std::vector<std::byte> bytes = tiny(GetParam());
  const auto file = gguf::File::parse(bytes, "tiny");
  ASSERT_TRUE(file.has_value()) << file.error().message;
  const gguf::Tensor* tensor = (*file)->find_tensor("blk.1.ffn_up.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->type, kernels::weight_type_by_name(GetParam().c_str())->type);
  const int cols = static_cast<int>(tensor->dims[0]);
  std::vector<float> row(static_cast<size_t>(cols));
  double sum = 0, squares = 0;
  for (uint64_t r = 0; r < tensor->rows(); ++r) {
    kernels::dequantize_row(tensor->type, tensor->data.data() + r * (tensor->data.size() / tensor->rows()), cols,
                            row.data());
    for (const float w : row) sum += w, squares += static_cast<double>(w) * w;
  }
  const auto count = static_cast<double>(tensor->elements());
  const double wanted = 0.5 / std::sqrt(cols);
  EXPECT_NEAR(std::sqrt(squares / count) / wanted, 1.0, 0.06);
  EXPECT_LT(std::fabs(sum / count) / wanted, 0.12);  // Signed codes without a zero point lie half a step off.
}

INSTANTIATE_TEST_SUITE_P(All, SyntheticTypes, ::testing::ValuesIn(synthetic_type_names()),
                         [](const auto& test) { return test.param; });

TEST(SyntheticModel, TheSameSeedGivesTheSameBytesAndAnotherDoesNot) {
  EXPECT_EQ(tiny("q4_0", 7), tiny("q4_0", 7));
  EXPECT_NE(tiny("q4_0", 7), tiny("q4_0", 8));
}

TEST(SyntheticModel, TypesAreNamedInAnyCase) { EXPECT_EQ(tiny("Q4_K"), tiny("q4_k")); }

TEST(SyntheticModel, FourBitModelsHaveSixBitEmbeddings) {
  const std::vector<std::byte> bytes = tiny("q4_0");
  const auto file = gguf::File::parse(bytes, "tiny");
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ((*file)->find_tensor("token_embd.weight")->type, kernels::WeightType::kQ6_K);
}

TEST(SyntheticModel, SizesAreThoseOfTheRealShapes) {
  EXPECT_NEAR(static_cast<double>(SyntheticModel::make({.shape = "llama-1b", .type = "f16"})->file_bytes()), 2.472e9,
              2e6);
  EXPECT_NEAR(static_cast<double>(SyntheticModel::make({.shape = "llama-8b", .type = "f16"})->file_bytes()), 16.06e9,
              1e7);
}

TEST(SyntheticModel, AMixtureOfTwentyBillionHasTwelveGigabytesAndOnlyItsExpertsAreSmall) {
  const auto real = SyntheticModel::make({.shape = "gpt-oss-20b", .type = "mxfp4"});
  ASSERT_TRUE(real.has_value()) << real.error().message;
  EXPECT_NEAR(static_cast<double>(real->file_bytes()), 12.1e9, 0.1e9);
  const StillClock clock;
  gguf::MemorySink sink;
  ASSERT_TRUE(SyntheticModel::make({.shape = "gpt-oss-tiny", .type = "mxfp4"})
                  ->write(sink, {clock, Deadline::never(), {}}, nullptr)
                  .has_value());
  const std::vector<std::byte> bytes = sink.bytes();
  const auto file = gguf::File::parse(bytes, "tiny");
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ((*file)->find_tensor("blk.3.ffn_down_exps.weight")->type, kernels::WeightType::kMXFP4);
  EXPECT_EQ((*file)->find_tensor("blk.3.ffn_down_exps.weight")->dims[2], 8u);
  EXPECT_EQ((*file)->find_tensor("blk.3.attn_q.weight")->type, kernels::WeightType::kQ8_0);
  EXPECT_TRUE(model::read_model_config(**file).has_value());
}

TEST(SyntheticModel, UnknownNamesAreRefused) {
  EXPECT_FALSE(SyntheticModel::make({.shape = "llama-9t", .type = "f16"}).has_value());
  EXPECT_FALSE(SyntheticModel::make({.shape = "llama-1b", .type = "q1"}).has_value());
}

TEST(SyntheticModel, ACancelledWriteEndsEarly) {
  const StillClock clock;
  CancelSource source;
  source.cancel(CancelReason::kUser);
  gguf::MemorySink sink;
  const auto model = SyntheticModel::make({.shape = "llama-1b", .type = "q4_0"});
  EXPECT_EQ(model->write(sink, {clock, Deadline::never(), source.token()}, nullptr).error().code,
            ErrorCode::kCancelled);
  EXPECT_LT(sink.bytes().size(), 100'000u);
}

}  // namespace
}  // namespace infer::measure
