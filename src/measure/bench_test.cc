#include "measure/bench.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

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

  Result<BenchResult> measure(const BenchSettings& settings, int context, int threads, int step = 512) {
    os::ThreadPool pool(threads);
    model::ModelOptions options;
    options.context = context;
    options.sequences = settings.sequences;
    options.logits_per_step = settings.sequences;
    options.tokens_per_step = step;
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
  EXPECT_GT(result->decode_step.read_bytes, 1'000'000u);
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

TEST_F(BenchTest, SequencesGiveTheSameHoweverTheyShareSteps) {
  BenchSettings three = kSmall;
  three.sequences = 3;
  const auto together = measure(three, three.context(), 1);
  ASSERT_TRUE(together.has_value()) << together.error().message;
  EXPECT_EQ(done_, 5u + 3u * 3u * (9u + 3u)) << "the depth is computed for one and copied to the others";
  EXPECT_EQ(total_, done_);
  EXPECT_NE(together->output_hash, measure(kSmall, 64, 1)->output_hash);
  for (const int step : {3, 4, 9, 10, 26}) {
    EXPECT_EQ(measure(three, three.context(), 2, step)->output_hash, together->output_hash) << step;
  }
  EXPECT_EQ(together->kv_bytes, 3 * measure(kSmall, 64, 1)->kv_bytes);
}

TEST_F(BenchTest, GeneratingBehindThePromptReadsItsCacheToo) {
  BenchSettings behind = kSmall;
  behind.after_prompt = true;
  EXPECT_EQ(behind.decode_depth(), 5 + 9);
  EXPECT_FALSE(measure(behind, behind.context() - 1, 1).has_value());
  const auto result = measure(behind, behind.context(), 1);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(done_, 5u + 3u * (9u + 3u));
  EXPECT_GT(result->decode_step.read_bytes, measure(kSmall, 64, 1)->decode_step.read_bytes);
}

TEST_F(BenchTest, ADepthIsFilledWithCopiesOfWhatWasComputed) {
  BenchSettings deep = kSmall;
  deep.depth = 200;
  deep.computed_depth_max = 64;
  deep.sequences = 2;
  const auto copied = measure(deep, deep.context(), 2);
  ASSERT_TRUE(copied.has_value()) << copied.error().message;
  EXPECT_EQ(done_, 64u + 2u * 3u * (9u + 3u));
  EXPECT_EQ(copied->output_hash, measure(deep, deep.context(), 1, 7)->output_hash);
  const uint64_t page_set = measure(kSmall, 64, 1)->kv_bytes;
  EXPECT_EQ(copied->kv_bytes, 2 * 4 * page_set) << "200 tokens are four pages";
  deep.computed_depth_max = 256;
  EXPECT_NE(copied->output_hash, measure(deep, deep.context(), 1)->output_hash);
}

TEST_F(BenchTest, MoreSequencesThanTheModelHasRoomForAreRefused) {
  os::ThreadPool pool(1);
  const auto model = model::Model::load(*file_, *kernels_, pool, {}, call_, nullptr).value();
  for (const int sequences : {0, 2}) {
    BenchSettings settings = kSmall;
    settings.sequences = sequences;
    const auto result = run_bench(*model, settings, call_, nullptr);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST_F(BenchTest, AStepCostsItsWeightsOnceAndEachSequencesCache) {
  os::ThreadPool pool(1);
  model::ModelOptions options;
  options.tokens_per_step = 16;
  const auto model = model::Model::load(*file_, *kernels_, pool, options, call_, nullptr).value();
  const WorkCost one = decode_step_cost(*model, 1, 0), eight = decode_step_cost(*model, 8, 100);
  EXPECT_EQ(one.read_bytes, model->bytes_per_token(0));
  EXPECT_EQ(one.int8_ops, model->operations_per_token(true)) << "all matrices are of block types";
  EXPECT_EQ(one.f32_ops, 0u);
  EXPECT_EQ(eight.read_bytes,
            model->bytes_per_token(0) + 8 * (model->bytes_per_token(100) - model->bytes_per_token(0)));
  const auto width = static_cast<uint64_t>(model->config().query_width() * model->config().layers);
  EXPECT_EQ(eight.int8_ops, 8 * one.int8_ops + 8 * 100 * 4 * width * 2) << "attention's products count twice";
  const WorkCost prompts = prefill_cost(*model, 2, 20, 7);  // 40 tokens in steps of 16.
  EXPECT_EQ(prompts.read_bytes,
            3 * model->bytes_per_token(0) + 2 * (model->bytes_per_token(7) - model->bytes_per_token(0)));
  EXPECT_EQ(prompts.int8_ops, 40 * model->operations_per_token(false) + 40 * 17 * 4 * width * 2);
}

TEST(Roofline, TheSlowerOfReadingAndComputingDecides) {
  const MachineLimits limits{
      .read_bytes_per_second = 10, .int8_ops_per_second = 100, .f32_ops_per_second = 20, .bf16_ops_per_second = {}};
  EXPECT_DOUBLE_EQ(least_seconds({.read_bytes = 50, .int8_ops = 100, .f32_ops = 20}, limits), 5.0);
  EXPECT_DOUBLE_EQ(least_seconds({.read_bytes = 10, .int8_ops = 100, .f32_ops = 20}, limits), 2.0);
  EXPECT_DOUBLE_EQ(least_seconds({.read_bytes = 10, .int8_ops = 1, .f32_ops = 1}, {}), 0.0);
}

TEST(MachineLimits, OfSeveralMeasurementsTheMedianCounts) {
  const std::vector<MachineLimits> measured{{1, 20, 3, 40.0}, {10, 2, 30, 44.0}, {5, 7, 6, 42.0}};
  const MachineLimits median = median_limits(measured);
  EXPECT_EQ(median.read_bytes_per_second, 5);
  EXPECT_EQ(median.int8_ops_per_second, 7);
  EXPECT_EQ(median.f32_ops_per_second, 6);
  EXPECT_EQ(median.bf16_ops_per_second, 42.0);
  EXPECT_FALSE(median_limits(std::vector<MachineLimits>{{1, 2, 3, {}}}).bf16_ops_per_second.has_value());
}

TEST_F(BenchTest, APauseComesBeforeEachRepetitionThatCountsAndItsErrorEndsTheRun) {
  os::ThreadPool pool(1);
  const auto model = model::Model::load(*file_, *kernels_, pool, {}, call_, nullptr).value();
  int pauses = 0;
  EXPECT_TRUE(run_bench(*model, kSmall, call_, nullptr, [&]() -> Status {
                ++pauses;
                return {};
              }).has_value());
  EXPECT_EQ(pauses, kSmall.repetitions);
  const auto failed = run_bench(*model, kSmall, call_, nullptr,
                                []() -> Status { return Error{ErrorCode::kDeadline, "the pause failed"}; });
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code, ErrorCode::kDeadline);
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
  const auto limits = measure_machine_limits(*kernels_, pool, {}, 0, call_);
  ASSERT_TRUE(limits.has_value()) << limits.error().message;
  EXPECT_GT(limits->read_bytes_per_second, 1e7);
  EXPECT_GT(limits->int8_ops_per_second, 1e6);
  EXPECT_GT(limits->f32_ops_per_second, 1e6);
}

}  // namespace
}  // namespace infer::measure
