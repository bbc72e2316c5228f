#include "model/model.h"

#include <gtest/gtest.h>

#include <string>

#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"

namespace infer::model {
namespace {

using testing::RandomModel;

struct Attempt {
  std::vector<std::byte> bytes;
  std::unique_ptr<gguf::File> file;
  os::ThreadPool pool{1};
  testing::TestClock clock;

  explicit Attempt(const RandomModel& random)
      : bytes(testing::write_model(random)), file(gguf::File::parse(bytes, "m").value()) {}
  Result<std::unique_ptr<Model>> load(const ModelOptions& options, const CallContext& call,
                                      const LoadProgress& progress = nullptr) {
    return Model::load(*file, *testing::machine_kernels().front(), pool, options, call, progress);
  }
  Result<std::unique_ptr<Model>> load(const ModelOptions& options) {
    return load(options, {clock, Deadline::never(), {}});
  }
};

void expect_refused(const RandomModel& random, ErrorCode code, std::string_view part,
                    const ModelOptions& options = {}) {
  Attempt attempt(random);
  const auto model = attempt.load(options);
  ASSERT_FALSE(model.has_value()) << "expected: " << part;
  EXPECT_EQ(model.error().code, code) << model.error().message;
  EXPECT_NE(model.error().message.find(part), std::string::npos) << model.error().message;
}

// How often the wrapped entries of a table were called.
int g_packed = 0, g_multiplied = 0, g_attended = 0, g_normed = 0;
const kernels::KernelTable* g_wrapped = nullptr;

kernels::KernelTable counting(const kernels::KernelTable& table) {
  g_wrapped = &table;
  g_packed = g_multiplied = g_attended = g_normed = 0;
  kernels::KernelTable wrapper = table;
  wrapper.pack_panels = [](kernels::WeightType type, const std::byte* source, int rows, int cols, int begin, int end,
                           std::byte* target) {
    ++g_packed;
    g_wrapped->pack_panels(type, source, rows, cols, begin, end, target);
  };
  wrapper.matmul = [](const kernels::MatmulArgs& args) {
    ++g_multiplied;
    g_wrapped->matmul(args);
  };
  wrapper.attend = [](const kernels::AttentionArgs& args) {
    ++g_attended;
    g_wrapped->attend(args);
  };
  wrapper.rms_norm = [](const float* x, const float* weight, int n, float eps, float* out) {
    ++g_normed;
    g_wrapped->rms_norm(x, weight, n, eps, out);
  };
  return wrapper;
}

TEST(Model, ComputesWithTheTableThatItWasGivenAndNoOther) {
  for (const kernels::KernelTable* table : testing::machine_kernels()) {
    const kernels::KernelTable wrapper = counting(*table);
    const auto loaded = testing::load_random({}, wrapper, 1, {});
    EXPECT_GT(g_packed, 0) << table->name;
    EXPECT_EQ(&loaded->model->kernels(), &wrapper);
    EXPECT_STREQ(loaded->model->kernels().name, table->name);
    kv::SequenceCache cache = loaded->model->make_sequence();
    const std::vector<TokenId> tokens{1, 2, 3};
    EXPECT_EQ(loaded->compute(cache, tokens, 1).size(), 3u);
    const int layers = loaded->model->config().layers;
    EXPECT_GE(g_multiplied, 3 * (7 * layers + 1)) << table->name << ": seven products a layer, and the output";
    EXPECT_GE(g_attended, 3 * layers) << table->name;
    EXPECT_GE(g_normed, 3 * (2 * layers + 1)) << table->name;
  }
}

TEST(Model, RefusesATensorThatIsMissing) {
  for (const char* name : {"token_embd.weight", "output_norm.weight", "blk.1.ffn_down.weight", "blk.0.attn_norm.weight",
                           "blk.0.attn_q.weight", "blk.1.ffn_norm.weight"}) {
    expect_refused({.without = {name}}, ErrorCode::kCorrupt, std::string("tensor ") + name + " is missing");
  }
}

TEST(Model, RefusesATensorOfAnotherShapeNamingBoth) {
  expect_refused({.dims = {{"blk.0.attn_k.weight", {64, 48}}}}, ErrorCode::kCorrupt,
                 "tensor blk.0.attn_k.weight has the shape [64, 48], but the model's metadata asks for [64, 32]");
  expect_refused({.dims = {{"output_norm.weight", {32}}}}, ErrorCode::kCorrupt, "asks for [64]");
  expect_refused({.dims = {{"blk.1.ffn_up.weight", {64, 48, 2}}}}, ErrorCode::kCorrupt, "asks for [64, 96]");
  expect_refused({.dims = {{"rope_freqs.weight", {4}}}}, ErrorCode::kCorrupt, "asks for [8]");
}

TEST(Model, RefusesTensorsThatItWouldNotUse) {
  expect_refused({.dims = {{"blk.0.attn_q_norm.weight", {16}}}}, ErrorCode::kUnsupported, "blk.0.attn_q_norm.weight");
  expect_refused({.dims = {{"blk.2.attn_q.weight", {64, 64}}}}, ErrorCode::kUnsupported, "blk.2.attn_q.weight");
}

TEST(Model, RefusesRotaryFactorsThatCannotDivide) {
  RandomModel random{.rope_factors = true};
  Attempt attempt(random);
  auto& data = attempt.bytes;
  const gguf::Tensor* factors = attempt.file->find_tensor("rope_freqs.weight");
  const auto offset = static_cast<size_t>(factors->data.data() - data.data());
  std::fill_n(data.begin() + static_cast<std::ptrdiff_t>(offset), 4, std::byte{0});
  const auto model = attempt.load({});
  ASSERT_FALSE(model.has_value());
  EXPECT_EQ(model.error().message, "rotary factor 0 must be a number above 0, but is 0");
}

TEST(Model, RefusesOptionsOutOfRange) {
  const auto refused = [](const ModelOptions& options, std::string_view part) {
    expect_refused({}, ErrorCode::kInvalidArgument, part, options);
  };
  refused({.context = -1}, "the context must be from 1 to");
  refused({.context = 1 << 25}, "the context must be from 1 to");
  refused({.sequences = 0}, "the number of sequences must be");
  refused({.tokens_per_step = 0}, "tokens per step must be");
  refused({.logits_per_step = 0}, "logits per step must be");
  refused({.context = 1 << 24, .sequences = 1 << 12, .tokens_per_step = 1}, "choose a shorter context");
}

TEST(Model, RefusesWhatDoesNotFitWithNumbersAndARemedy) {
  const RandomModel random;
  Attempt attempt(random);
  const MemoryEstimate estimate = *Model::estimate(*attempt.file, 1, {.context = 1024});
  expect_refused(random, ErrorCode::kExhausted, "the memory limit is",
                 {.context = 1024, .memory_limit_bytes = estimate.total() - 1});
  expect_refused(random, ErrorCode::kExhausted, "a context of at most 960 tokens fits",
                 {.context = 1024, .memory_limit_bytes = estimate.total() - 1});
  expect_refused(random, ErrorCode::kExhausted, "the machine has available only 1.00 kB: use a smaller model",
                 {.context = 1024, .memory_available_bytes = 1000});
  const auto model = attempt.load({.context = 1024, .memory_limit_bytes = estimate.total()});
  ASSERT_TRUE(model.has_value()) << model.error().message;
  EXPECT_EQ((*model)->memory().total(), estimate.total());
  // Layers, tokens, heads, K and V; codes of 16 dimensions and a scale.
  EXPECT_EQ(estimate.kv_bytes, 2u * 1024 * 2 * 2 * (16 * 2 + 4));
}

TEST(Model, TakesTheTrainedContextByDefault) {
  EXPECT_EQ((*Attempt(RandomModel{.context = 300}).load({}))->options().context, 300);
  EXPECT_EQ((*Attempt(RandomModel{.context = 100000}).load({}))->options().context, 4096);
}

TEST(Model, ReportsLoadingFromNothingToAll) {
  Attempt attempt(RandomModel{});
  std::vector<double> fractions;
  const CallContext call{attempt.clock, Deadline::never(), {}};
  ASSERT_TRUE(attempt.load({}, call, [&](double fraction) { fractions.push_back(fraction); }).has_value());
  ASSERT_GE(fractions.size(), 15u);  // One per matrix.
  EXPECT_TRUE(std::is_sorted(fractions.begin(), fractions.end()));
  EXPECT_GT(fractions.front(), 0);
  EXPECT_DOUBLE_EQ(fractions.back(), 1.0);
}

TEST(Model, StopsLoadingWhenAskedTo) {
  Attempt attempt(RandomModel{});
  CancelSource source;
  const CallContext call{attempt.clock, Deadline::never(), source.token()};
  const auto model = attempt.load({}, call, [&](double fraction) {
    EXPECT_LT(fraction, 0.6);
    if (fraction > 0.4) source.cancel(CancelReason::kUser);
  });
  ASSERT_FALSE(model.has_value());
  EXPECT_EQ(model.error().code, ErrorCode::kCancelled);
  const auto late = attempt.load({}, {attempt.clock, Deadline::at(Instant()), {}});
  EXPECT_EQ(late.error().code, ErrorCode::kDeadline);
}

class ModelStep : public ::testing::Test {
 protected:
  std::unique_ptr<testing::LoadedModel> loaded_ =
      testing::load_random(RandomModel{.layers = 3}, *testing::machine_kernels().front(), 1,
                           {.context = 200, .tokens_per_step = 32, .logits_per_step = 4});
  Model& model_ = *loaded_->model;
  kv::SequenceCache cache_ = model_.make_sequence();

  Status run(std::span<const TokenId> tokens, int logits_begin, int logits_end) {
    const SequenceSlice slice{&cache_, tokens, logits_begin, logits_end};
    return model_.run({{&slice, 1}}, loaded_->call());
  }
  void expect_refused(const Status& status, std::string_view part) {
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(status.error().message.find(part), std::string::npos) << status.error().message;
    EXPECT_EQ(cache_.length(), 0);
    EXPECT_EQ(model_.page_pool().taken_pages(), 0);
  }
};

TEST_F(ModelStep, RefusesTokensOutsideTheVocabulary) {
  expect_refused(run(std::vector<TokenId>{1, 80}, 0, 1), "token 80 is not in the vocabulary of 80");
  expect_refused(run(std::vector<TokenId>{-1}, 0, 1), "token -1 is not");
}

TEST_F(ModelStep, RefusesBatchesBeyondItsLimits) {
  const std::vector<TokenId> many(33, 1);
  expect_refused(run(many, 32, 33), "a step of 33 tokens");
  expect_refused(run({many.data(), 32}, 0, 5), "5 of them with logits");
  expect_refused(run({many.data(), 2}, 1, 3), "cannot give the logits of 1 to 3");
  expect_refused(run({many.data(), 2}, 2, 1), "cannot give the logits of 2 to 1");
  expect_refused(run({}, 0, 0), "0 tokens");
  expect_refused(model_.run({}, loaded_->call()), "0 tokens");
}

TEST_F(ModelStep, RefusesToGoPastTheContext) {
  const std::vector<TokenId> tokens(32, 1);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(run(tokens, 32, 32).has_value());
  ASSERT_TRUE(run({tokens.data(), 8}, 8, 8).has_value());
  const Status status = run({tokens.data(), 1}, 0, 1);
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message.find("200"), std::string::npos) << status.error().message;
  EXPECT_EQ(cache_.length(), 200);
}

TEST_F(ModelStep, ADeadlineBetweenLayersLeavesTheCacheAsItWas) {
  const std::vector<TokenId> tokens{1, 2, 3, 4};
  ASSERT_TRUE(run(tokens, 3, 4).has_value());
  const std::vector<float> expected(model_.logits(0).begin(), model_.logits(0).end());
  cache_.truncate(0);
  // The clock is read once before each layer: the third reading is late.
  const testing::TestClock clock(Duration::from_ms(1));
  const SequenceSlice slice{&cache_, tokens, 3, 4};
  const Status status = model_.run({{&slice, 1}}, {clock, Deadline::at(Instant::from_ns(3'000'000)), {}});
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, ErrorCode::kDeadline);
  EXPECT_EQ(clock.now(), Instant::from_ns(4'000'000));
  EXPECT_EQ(cache_.length(), 0);
  EXPECT_EQ(model_.page_pool().taken_pages(), 0);
  ASSERT_TRUE(run(tokens, 3, 4).has_value());
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), model_.logits(0).begin()));
}

TEST_F(ModelStep, TellsWhatATokenReadsAndComputes) {
  const uint64_t matrices = 3u * (64 * (64 + 32 + 32) + 64 * 64 + 3 * 64 * 96);
  const uint64_t output = 80 * 64, norms = (3 * 2 + 1) * 64;
  EXPECT_EQ(model_.bytes_per_token(0), 4 * (matrices + output + norms));
  EXPECT_EQ(model_.bytes_per_token(10) - model_.bytes_per_token(0), 10u * 3 * 2 * 32 * 2);
  EXPECT_EQ(model_.operations_per_token(false), 2 * matrices);
  EXPECT_EQ(model_.operations_per_token(true), 2 * (matrices + output));
}

}  // namespace
}  // namespace infer::model
