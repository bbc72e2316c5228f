#include "app/engine_target.h"

#include <gtest/gtest.h>

#include "os/system_clock.h"
#include "testing/byte_tokenizer.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"

namespace infer::app {
namespace {

TEST(EngineTarget, APolicyIsInTheEnginesCacheFromTheNextStepOn) {
  const os::SystemClock clock;
  const auto loaded =
      testing::load_random({.vocabulary = testing::kByteTokens, .seed = 4}, *testing::machine_kernels().front(), 2,
                           {.context = 512, .logits_per_step = 8});
  const auto tokenizer = testing::make_byte_tokenizer(false);
  const auto engine = engine::Engine::start(engine::make_model_runner(*loaded->model), *tokenizer, {}, clock).value();
  EngineTarget target(*engine, {.sink_tokens = 9}, "random");
  const auto answer = [&] {
    engine::Request request{.prompt = tokenizer->encode("once upon a time", {.add_special = false}),
                            .options = {.tokens_max = 4, .ignore_end_tokens = true},
                            .sampling = {.temperature = 0},
                            .limits = {Deadline::never()}};
    engine::Submitted submitted = engine->submit(std::move(request));
    return engine::read_answer(**submitted.handle, {clock, Deadline::never(), {}});
  };
  control::Policy policy;
  policy.kv.mode = kv::KvMode::kQuality;
  policy.kv.recent_window = 77;
  ASSERT_TRUE(target.apply(policy));
  EXPECT_EQ(answer().tokens.size(), 4u);
  const telemetry::EngineFacts facts = target.facts();
  EXPECT_EQ(facts.snapshot.kv.policy.mode, kv::KvMode::kQuality);
  EXPECT_EQ(facts.snapshot.kv.policy.recent_window, 77);
  EXPECT_EQ(facts.snapshot.kv.policy.sink_tokens, 9);
  EXPECT_EQ(facts.model, "random");
  EXPECT_EQ(facts.tokens_per_step, engine->limits().tokens_per_step);
  ASSERT_TRUE(target.apply(control::baseline_of(policy)));
  EXPECT_EQ(answer().tokens.size(), 4u);
  EXPECT_EQ(target.facts().snapshot.kv.policy.mode, kv::KvMode::kF16);
}

}  // namespace
}  // namespace infer::app
