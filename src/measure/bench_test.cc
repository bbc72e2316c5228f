#include "measure/bench.h"

#include <gtest/gtest.h>

#include <memory>

#include "gguf/byte_sink.h"
#include "gguf/file.h"
#include "kernels/dispatch.h"
#include "measure/machine_limits.h"
#include "measure/synthetic_model.h"
#include "os/system_clock.h"

namespace infer::measure {
namespace {

class BenchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto made = SyntheticModel::make({.shape = "llama-tiny", .type = "q4_0"});
    ASSERT_TRUE(made.has_value() && made->write(sink_, call_, nullptr).has_value());
    file_ = gguf::File::parse(sink_.bytes(), "tiny").value();
    kernels_ = kernels::select_kernels({}, "").value();
  }

  Result<BenchResult> measure(const BenchSettings& settings, int context, int threads) {
    os::ThreadPool pool(threads);
    model::ModelOptions options;
    options.context = context;
    INFER_ASSIGN(const auto model, model::Model::load(*file_, *kernels_, pool, options, call_, nullptr));
    return run_bench(*model, settings, call_, [this](uint64_t done, uint64_t total) {
      done_ = done;
      total_ = total;
    });
  }

  os::SystemClock clock_;
  CancelSource cancel_;
  CallContext call_{clock_, Deadline::never(), cancel_.token()};
  gguf::MemorySink sink_;
  std::unique_ptr<gguf::File> file_;
  const kernels::KernelTable* kernels_ = nullptr;
  uint64_t done_ = 0;
  uint64_t total_ = 0;
};

constexpr BenchSettings kSmall{.prompt_tokens = 9, .generated_tokens = 3, .depth = 5, .repetitions = 2};

TEST_F(BenchTest, TheWorkIsCountedAndFinished) {
  const auto result = measure(kSmall, kSmall.context(), 1);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_GT(result->prefill_tokens_per_second.median, 0);
  EXPECT_GT(result->decode_tokens_per_second.median, 0);
  EXPECT_GT(result->decode_bytes_per_token, 1'000'000u);
  EXPECT_EQ(done_, 5u + 3u * (9u + 3u)) << "the depth once, then a warm-up and two repetitions";
  EXPECT_EQ(total_, done_);
}

TEST_F(BenchTest, TheHashDependsOnTheInputAndNotOnTheThreads) {
  const uint64_t one = measure(kSmall, 64, 1)->output_hash;
  EXPECT_EQ(measure(kSmall, 64, 3)->output_hash, one);
  BenchSettings deeper = kSmall;
  deeper.depth = 6;
  EXPECT_NE(measure(deeper, 64, 1)->output_hash, one);
}

TEST_F(BenchTest, AContextThatIsTooShortIsRefused) {
  EXPECT_EQ(measure(kSmall, 8, 1).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(BenchTest, CancellingEndsIt) {
  const BenchSettings endless{.prompt_tokens = 9, .generated_tokens = 1, .repetitions = 1'000'000'000};
  os::ThreadPool pool(1);
  const auto model = model::Model::load(*file_, *kernels_, pool, {}, call_, nullptr).value();
  const auto result =
      run_bench(*model, endless, call_, [this](uint64_t, uint64_t) { cancel_.cancel(CancelReason::kUser); });
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
}

TEST_F(BenchTest, TheMachinesLimitsAreMeasured) {
  os::ThreadPool pool(2);
  const auto limits = measure_machine_limits(*kernels_, pool, 0, call_);
  ASSERT_TRUE(limits.has_value()) << limits.error().message;
  EXPECT_GT(limits->read_bytes_per_second, 1e7);
  EXPECT_GT(limits->int8_ops_per_second, 1e6);
  EXPECT_GT(limits->f32_ops_per_second, 1e6);
}

}  // namespace
}  // namespace infer::measure
