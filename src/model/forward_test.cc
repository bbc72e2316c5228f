#include "model/forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "kernels/panels.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"
#include "testing/plain_llama.h"
#include "testing/property.h"

namespace infer::model {
namespace {

using kernels::WeightType;
using testing::LoadedModel;
using testing::RandomModel;
using Logits = std::vector<std::vector<float>>;

std::vector<TokenId> random_tokens(Rng& rng, size_t count, int vocabulary) {
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(rng.below(static_cast<uint32_t>(vocabulary)));
  return tokens;
}

void expect_near(const Logits& actual, const std::vector<std::vector<double>>& expected, double bound) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t t = 0; t < actual.size(); ++t) {
    ASSERT_EQ(actual[t].size(), expected[t].size());
    for (size_t i = 0; i < actual[t].size(); ++i) {
      ASSERT_NEAR(actual[t][i], expected[t][i], bound) << "token " << t << ", logit " << i;
    }
  }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void expect_same_bits(const Logits& actual, const Logits& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t t = 0; t < actual.size(); ++t) ASSERT_TRUE(same_bits(actual[t], expected[t])) << "token " << t;
}

RandomModel random_shape(Rng& rng) {
  RandomModel shape;
  shape.layers = 1 + static_cast<int>(rng.below(3));
  shape.kv_heads = 1 + static_cast<int>(rng.below(3));
  shape.heads = shape.kv_heads * (1 + static_cast<int>(rng.below(4)));
  shape.head_dim = 16 * (1 + static_cast<int>(rng.below(3)));
  shape.width = 32 * (1 + static_cast<int>(rng.below(4)));
  shape.ffn_width = 32 * (1 + static_cast<int>(rng.below(5)));
  shape.vocabulary = 17 + static_cast<int>(rng.below(100));
  shape.rope_dims = rng.below(2) == 0 ? 0 : 2 * (1 + static_cast<int>(rng.below(8)));
  shape.linear_factor = rng.below(3) == 0 ? 4.0f : 0.0f;
  shape.rope_factors = rng.below(3) == 0;
  shape.tied = rng.below(2) == 0;
  shape.biases = rng.below(2) == 0;
  shape.seed = rng.next();
  return shape;
}

// Weights and sums in floats instead of doubles, and attention in 16-bit codes: logits are sums of some 100 products of
// size 1.
constexpr double kFloatBound = 2e-3;

// The same with attention in floats.
constexpr double kFloatCacheBound = 2e-4;

void expect_the_plain_loops_for_any_shape(bool kv_floats, double bound) {
  testing::for_each_case(12, [&](Rng& rng) {
    RandomModel shape = random_shape(rng);
    const WeightType types[] = {WeightType::kF32, WeightType::kF16, WeightType::kBF16};
    shape.type = types[rng.below(3)];
    const auto tokens = random_tokens(rng, 1 + rng.below(150), shape.vocabulary);
    const size_t chunk = 1 + rng.below(100);
    std::vector<std::vector<double>> expected;  // The file is the same for all.
    for (const kernels::KernelTable* kernels : testing::machine_kernels()) {
      SCOPED_TRACE(kernels->name);
      const auto loaded =
          testing::load_random(shape, *kernels, 2, {.context = 200, .logits_per_step = 200, .kv_floats = kv_floats});
      ASSERT_TRUE(loaded->model);
      kv::SequenceCache cache = loaded->model->make_sequence();
      const Logits logits = loaded->compute(cache, tokens, chunk);
      if (expected.empty()) expected = testing::PlainLlama(*loaded->file).logits(tokens);
      expect_near(logits, expected, bound);
    }
  });
}

TEST(Forward, GivesTheLogitsOfThePlainLoopsForAnyShape) { expect_the_plain_loops_for_any_shape(false, kFloatBound); }

TEST(Forward, WithACacheOfFloatsItIsNearerToThem) { expect_the_plain_loops_for_any_shape(true, kFloatCacheBound); }

void expect_borders_change_nothing(bool kv_floats, double bound) {
  const RandomModel shape{.layers = 1};
  const auto& kernels = *testing::machine_kernels().front();
  const auto loaded =
      testing::load_random(shape, kernels, 2, {.context = 1100, .logits_per_step = 512, .kv_floats = kv_floats});
  Rng rng(5);
  const auto tokens = random_tokens(rng, 1090, shape.vocabulary);
  const auto expected = testing::PlainLlama(*loaded->file).logits(tokens);
  kv::SequenceCache cache = loaded->model->make_sequence();
  expect_near(loaded->compute(cache, tokens, 500), expected, bound);
  cache.truncate(510);  // And decoding, where chunks are spread over the threads.
  const std::span<const TokenId> rest = std::span(tokens).subspan(510, 10);
  expect_near(loaded->compute(cache, rest, 1), {expected.begin() + 510, expected.begin() + 520}, bound);
  cache.truncate(0);
}

TEST(Forward, CrossesTheBordersOfPagesAndChunks) { expect_borders_change_nothing(false, kFloatBound); }

TEST(Forward, CrossesThemWithACacheOfFloats) { expect_borders_change_nothing(true, kFloatCacheBound); }

TEST(Forward, StaysNearThePlainLoopsWithEveryQuantizedType) {
  for (const WeightType type :
       {WeightType::kQ8_0, WeightType::kQ4_0, WeightType::kQ4_1, WeightType::kQ5_0, WeightType::kQ5_1,
        WeightType::kQ2_K, WeightType::kQ3_K, WeightType::kQ4_K, WeightType::kQ5_K, WeightType::kQ6_K,
        WeightType::kIQ4_NL, WeightType::kIQ4_XS, WeightType::kMXFP4}) {
    std::vector<std::vector<double>> expected;  // The file is the same for all.
    for (const kernels::KernelTable* kernels : testing::machine_kernels()) {
      SCOPED_TRACE(std::string(kernels->name) + " type " + std::to_string(static_cast<int>(type)));
      const RandomModel shape{.layers = 1, .width = 256, .heads = 4, .head_dim = 64, .ffn_width = 256, .type = type};
      const auto loaded = testing::load_random(shape, *kernels, 2, {.context = 64, .logits_per_step = 64});
      ASSERT_TRUE(loaded->model);
      Rng rng(7);
      const auto tokens = random_tokens(rng, 40, shape.vocabulary);
      kv::SequenceCache cache = loaded->model->make_sequence();
      const Logits logits = loaded->compute(cache, tokens, 40);
      if (expected.empty()) expected = testing::PlainLlama(*loaded->file).logits(tokens);
      // Inputs are rounded to 1/254 of their block's largest value at each of 5 products in a row.
      double error = 0, size = 0;
      for (size_t t = 0; t < logits.size(); ++t) {
        for (size_t i = 0; i < logits[t].size(); ++i) {
          error += std::pow(logits[t][i] - expected[t][i], 2);
          size += std::pow(expected[t][i], 2);
        }
      }
      EXPECT_LT(std::sqrt(error / size), 0.03);
      EXPECT_GT(error, 0);
    }
  }
}

// The logits of all tokens with every split into steps and number of threads.
void expect_split_changes_nothing(const std::vector<std::byte>& bytes, size_t tokens, int vocabulary) {
  for (const kernels::KernelTable* kernels : testing::machine_kernels()) {
    SCOPED_TRACE(kernels->name);
    Rng rng(11);
    const auto prompt = random_tokens(rng, tokens, vocabulary);
    Logits expected;
    const std::pair<int, std::vector<size_t>> ways[] = {{1, {512, 64, 7, 1}}, {2, {512, 1}}, {3, {64, 7}}};
    for (const auto& [threads, chunks] : ways) {
      const auto loaded = testing::load_bytes(bytes, *kernels, threads, {.context = 1024, .logits_per_step = 512});
      for (const size_t chunk : chunks) {
        SCOPED_TRACE(std::to_string(threads) + " threads, chunks of " + std::to_string(chunk));
        kv::SequenceCache cache = loaded->model->make_sequence();
        const Logits logits = loaded->compute(cache, prompt, chunk);
        if (expected.empty()) expected = logits;
        expect_same_bits(logits, expected);
      }
    }
  }
}

TEST(Forward, BitsDoNotDependOnThreadsOrOnHowAPromptIsSplit) {
  for (const WeightType type : {WeightType::kF16, WeightType::kQ8_0, WeightType::kQ4_0}) {
    SCOPED_TRACE(static_cast<int>(type));
    const RandomModel shape{.layers = 1, .heads = 6, .kv_heads = 2, .type = type};
    expect_split_changes_nothing(testing::write_model(shape), 560, shape.vocabulary);
  }
}

TEST(Forward, BitsOfTheEmbeddedModelDoNotDependOnThreadsOrSplit) {
  std::ifstream in(std::string(INFER_SOURCE_DIR) + "/models/tales-q8_0.gguf", std::ios::binary);
  if (!in.good()) GTEST_SKIP() << "models/tales-q8_0.gguf is not there";
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const auto bytes = std::as_bytes(std::span(text));
  expect_split_changes_nothing({bytes.begin(), bytes.end()}, 70, 4096);
}

TEST(Forward, BitsOfExpertsDoNotDependOnThreadsOrOnHowAPromptIsSplit) {
  for (const WeightType type : {WeightType::kF16, WeightType::kMXFP4}) {
    SCOPED_TRACE(static_cast<int>(type));
    const RandomModel shape{.layers = 2, .biases = true, .experts = 7, .experts_used = 3, .type = type};
    expect_split_changes_nothing(testing::write_model(shape), 150, shape.vocabulary);
  }
}

// A gpt-oss whose every layer sees a window of 50 tokens (`period` large) or every other one.
RandomModel windowed(int period) {
  return {.architecture = "gpt-oss",
          .layers = 2,
          .heads = 6,
          .kv_heads = 2,
          .biases = true,
          .experts = 3,
          .window = 50,
          .window_period = period};
}

TEST(Forward, BitsOfWindowsDoNotDependOnThreadsOrOnHowAPromptIsSplit) {
  const RandomModel shape = windowed(2);
  expect_split_changes_nothing(testing::write_model(shape), 570, shape.vocabulary);
}

TEST(Forward, TokensBeforeTheWindowsOfAllLayersChangeNoBitAndTheLastOneInsideDoes) {
  constexpr size_t kCount = 560, kReach = 2 * 49;  // A token sees 49 before it, each of which saw 49 more.
  const RandomModel shape = windowed(100);
  Rng rng(13);
  const auto tokens = random_tokens(rng, kCount, shape.vocabulary);
  for (const kernels::KernelTable* kernels : testing::machine_kernels()) {
    SCOPED_TRACE(kernels->name);
    const auto loaded = testing::load_random(shape, *kernels, 2, {.context = 600, .logits_per_step = 512});
    for (const size_t chunk : {size_t{512}, size_t{1}}) {
      const auto compute = [&](size_t changed) {
        auto other = tokens;
        if (changed < kCount) other[changed] = (other[changed] + 1) % shape.vocabulary;
        kv::SequenceCache cache = loaded->model->make_sequence();
        return loaded->compute(cache, other, chunk);
      };
      const Logits expected = compute(kCount);
      for (const size_t changed : {size_t{0}, size_t{63}, size_t{64}, size_t{400}, size_t{450}}) {
        const Logits logits = compute(changed);
        for (size_t t = changed; t < kCount; ++t) {
          ASSERT_EQ(same_bits(logits[t], expected[t]), t > changed + kReach)
              << "changed " << changed << ", token " << t;
        }
      }
    }
  }
}

TEST(Forward, LayersWithAWindowKeepOnlyTheirWindow) {
  const RandomModel shape = windowed(2);  // The first layer of two has a window of 50.
  const auto loaded = testing::load_random(shape, *testing::machine_kernels().front(), 1,
                                           {.context = 2048, .tokens_per_step = 64, .logits_per_step = 64});
  kv::SequenceCache cache = loaded->model->make_sequence();
  Rng rng(17);
  loaded->compute(cache, random_tokens(rng, 1500, shape.vocabulary), 64);
  const uint64_t page = loaded->model->page_pool().shape().page_bytes(kv::Level::k16);
  EXPECT_EQ(cache.kv_bytes(), page * (24 + 3));  // 24 pages of 64 tokens; and a window, a rewind and a border.
  EXPECT_LE(loaded->model->memory().kv_bytes, page * (32 + 9));
  EXPECT_EQ(loaded->model->config().visible_tokens(1500), 1500 + 50);
}

// Of matrix products: bytes of the panels, and how often one was asked for.
uint64_t g_bytes;
const kernels::KernelTable* g_counted;
kernels::KernelTable counting_bytes(const kernels::KernelTable& table) {
  g_counted = &table;
  kernels::KernelTable wrapper = table;
  wrapper.matmul = [](const kernels::MatmulArgs& args) {
    const auto panels = static_cast<uint64_t>(args.panel_end - args.panel_begin);
    g_bytes += panels * kernels::panel_bytes(args.weights.type, args.weights.cols);
    g_counted->matmul(args);
  };
  return wrapper;
}

TEST(Forward, ATokenReadsTheChosenExpertsAndSharedWeightsOnly) {
  const RandomModel shape{.width = 128, .ffn_width = 256, .tied = false, .experts = 16, .type = WeightType::kMXFP4};
  const kernels::KernelTable wrapper = counting_bytes(*testing::machine_kernels().front());
  const auto loaded = testing::load_random(shape, wrapper, 1, {.context = 64, .logits_per_step = 64});
  const uint64_t expert = 3 * kernels::packed_bytes(WeightType::kMXFP4, 128, 256);
  const uint64_t shared = kernels::packed_bytes(WeightType::kMXFP4, 80, 128) +               // Output,
                          2 * (2 * kernels::packed_bytes(WeightType::kMXFP4, 64, 128) / 2 +  // then in each layer k, v,
                               kernels::packed_bytes(WeightType::kMXFP4, 64, 128) +          // q,
                               kernels::packed_bytes(WeightType::kMXFP4, 128, 64) +          // attention output,
                               kernels::packed_bytes(WeightType::kF32, 16, 128));            // router.
  Rng rng(1);
  kv::SequenceCache cache = loaded->model->make_sequence();
  for (const TokenId token : random_tokens(rng, 20, shape.vocabulary)) {
    g_bytes = 0;
    loaded->compute(cache, {&token, 1}, 1);
    EXPECT_EQ(g_bytes, shared + 2 * 2 * expert);
    EXPECT_LE(g_bytes, loaded->model->bytes_per_token(0));
    EXPECT_GE(g_bytes * 11 / 10, loaded->model->bytes_per_token(0));
  }
  g_bytes = 0;  // A prompt: every expert that is chosen at all, once.
  loaded->compute(cache, random_tokens(rng, 40, shape.vocabulary), 40);
  EXPECT_LE(g_bytes, shared + 2 * 16 * expert);
}

TEST(Forward, BitsDoNotDependOnWhoSharesTheBatch) {
  for (const kernels::KernelTable* kernels : testing::machine_kernels()) {
    SCOPED_TRACE(kernels->name);
    const RandomModel shape{.experts = kernels == testing::machine_kernels().front() ? 5 : 0,
                            .type = WeightType::kQ8_0};
    testing::for_each_case(6, [&](Rng& rng) {
      const auto loaded =
          testing::load_random(shape, *kernels, 2, {.context = 600, .sequences = 4, .logits_per_step = 512});
      std::vector<kv::SequenceCache> together;
      std::vector<std::vector<TokenId>> tokens;
      std::vector<Logits> alone;
      for (int s = 0; s < 3; ++s) {
        tokens.push_back(random_tokens(rng, 1 + rng.below(s == 0 ? 3 : 100), shape.vocabulary));
        kv::SequenceCache cache = loaded->model->make_sequence();
        alone.push_back(loaded->compute(cache, tokens.back(), 512));
        together.push_back(loaded->model->make_sequence());
      }
      std::vector<SequenceSlice> slices;
      for (size_t s = 0; s < 3; ++s) slices.push_back({&together[s], tokens[s], 0, static_cast<int>(tokens[s].size())});
      ASSERT_TRUE(loaded->model->run({slices}, loaded->call()).has_value());
      int row = 0;
      for (size_t s = 0; s < 3; ++s) {
        for (const std::vector<float>& expected : alone[s]) {
          const std::span<const float> logits = loaded->model->logits(row++);
          ASSERT_TRUE(same_bits({logits.begin(), logits.end()}, expected)) << "sequence " << s;
        }
      }
    });
  }
}

TEST(Forward, HiddenStatesAddUpWhateverTheStepsAndLeaveLogitsAlone) {
  const RandomModel shape;
  const auto loaded = testing::load_random(shape, *testing::machine_kernels().front(), 2,
                                           {.context = 300, .sequences = 2, .logits_per_step = 4});
  Rng rng(5);
  const auto tokens = random_tokens(rng, 90, shape.vocabulary), others = random_tokens(rng, 7, shape.vocabulary);
  const auto width = static_cast<size_t>(loaded->model->config().width);
  kv::SequenceCache cache = loaded->model->make_sequence(), other = loaded->model->make_sequence();
  const Logits expected = loaded->compute(other, others, 4);

  std::vector<float> whole(width), parts(width), last(width), before(width);
  const SequenceSlice slice{&cache, tokens, 0, 90, whole.data()};
  ASSERT_TRUE(loaded->model->run({{&slice, 1}}, loaded->call()).has_value());
  cache.truncate(0);
  other.truncate(0);
  const std::span<const TokenId> all(tokens);
  const SequenceSlice both[] = {{&cache, all.first(40), 0, 40, parts.data()}, {&other, others, 3, 7}};
  ASSERT_TRUE(loaded->model->run({both}, loaded->call()).has_value());
  for (int row = 0; row < 4; ++row) {
    const std::span<const float> logits = loaded->model->logits(row);
    EXPECT_TRUE(same_bits({logits.begin(), logits.end()}, expected[static_cast<size_t>(row) + 3]));
  }
  const SequenceSlice rest{&cache, all.subspan(40), 0, 50, parts.data()};
  ASSERT_TRUE(loaded->model->run({{&rest, 1}}, loaded->call()).has_value());
  EXPECT_TRUE(same_bits(whole, parts));

  cache.truncate(0);
  const SequenceSlice but_one{&cache, all.first(89), 0, 89, before.data()}, one{&cache, all.last(1), 0, 1, last.data()};
  ASSERT_TRUE(loaded->model->run({{&but_one, 1}}, loaded->call()).has_value());
  ASSERT_TRUE(loaded->model->run({{&one, 1}}, loaded->call()).has_value());
  for (size_t i = 0; i < width; ++i) EXPECT_EQ(before[i] + last[i], whole[i]);
}

TEST(Forward, GivesLogitsOnlyForTheTokensThatWantThem) {
  const RandomModel shape;
  const auto loaded =
      testing::load_random(shape, *testing::machine_kernels().front(), 2, {.context = 300, .logits_per_step = 300});
  Rng rng(3);
  const auto tokens = random_tokens(rng, 90, shape.vocabulary);
  kv::SequenceCache all = loaded->model->make_sequence();
  const Logits expected = loaded->compute(all, tokens, 90);
  for (const auto& [begin, end] : {std::pair{0, 0}, {89, 90}, {20, 25}, {0, 90}}) {
    all.truncate(0);
    const SequenceSlice slice{&all, tokens, begin, end};
    ASSERT_TRUE(loaded->model->run({{&slice, 1}}, loaded->call()).has_value());
    for (int row = begin; row < end; ++row) {
      const std::span<const float> logits = loaded->model->logits(row - begin);
      ASSERT_TRUE(same_bits({logits.begin(), logits.end()}, expected[static_cast<size_t>(row)]));
    }
    const auto next = loaded->compute(all, {tokens.data(), 1}, 1);  // The cache is whole in any case.
    ASSERT_EQ(all.length(), 91);
    ASSERT_TRUE(std::isfinite(next[0][0]));
  }
}

}  // namespace
}  // namespace infer::model
