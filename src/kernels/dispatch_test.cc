// The choice of kernels by what the processor and the system have.
#include "kernels/dispatch.h"

#include <gtest/gtest.h>

#include <string>

namespace infer::kernels {

namespace {

IsaSupport everything() {
  IsaSupport support;
  support.avx2_fma_f16c = true;
  support.avx512_vnni = true;
  support.amx_int8 = true;
  return support;
}

}  // namespace

TEST(Dispatch, TheBestSetThatIsSupportedIsChosen) {
  IsaSupport support = everything();
  EXPECT_STREQ(select_kernels(support, "").value()->name, "amx");
  support.amx_int8 = false;
  EXPECT_STREQ(select_kernels(support, "").value()->name, "avx512");
  support.avx512_vnni = false;
  EXPECT_STREQ(select_kernels(support, "").value()->name, "avx2");
  support.avx2_fma_f16c = false;
  EXPECT_STREQ(select_kernels(support, "").value()->name, "scalar");
}

TEST(Dispatch, AForcedSetIsTheOneThatRuns) {
  for (const char* name : {"scalar", "avx2", "avx512", "amx"}) {
    EXPECT_STREQ(select_kernels(everything(), name).value()->name, name);
  }
}

TEST(Dispatch, AForcedSetThatIsMissingOrUnknownIsAnErrorThatSaysWhatThereIs) {
  IsaSupport support = everything();
  support.amx_int8 = false;
  support.avx512_vnni = false;
  const auto missing = select_kernels(support, "avx512");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(missing.error().message.find("the best here is 'avx2'"), std::string::npos) << missing.error().message;
  const auto unknown = select_kernels(support, "sse");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(unknown.error().message.find("scalar, avx2, avx512 or amx"), std::string::npos) << unknown.error().message;
}

TEST(Dispatch, EveryTableSaysHowItsWeightsAreAskedFor) {
  for (const WeightStream stream : {WeightStream::kPastL2, WeightStream::kThroughL2}) {
    IsaSupport support = everything();
    support.stream = stream;
    for (const KernelTable* table : supported_kernels(support)) EXPECT_EQ(table->stream, stream) << table->name;
  }
}

TEST(Dispatch, OnlyZen5AndLaterAskForWeightsPastTheSecondLevelCache) {
  EXPECT_EQ(weight_stream_for("AuthenticAMD", 26), WeightStream::kPastL2);
  EXPECT_EQ(weight_stream_for("AuthenticAMD", 25), WeightStream::kThroughL2);
  EXPECT_EQ(weight_stream_for("AuthenticAMD", 23), WeightStream::kThroughL2);
  EXPECT_EQ(weight_stream_for("HygonGenuine", 24), WeightStream::kThroughL2);
  EXPECT_EQ(weight_stream_for("GenuineIntel", 6), WeightStream::kThroughL2);
  EXPECT_EQ(weight_stream_for("", 0), WeightStream::kThroughL2);
}

}  // namespace infer::kernels
