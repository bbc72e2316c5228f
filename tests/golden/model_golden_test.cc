// Our forward pass and tokenizer against what llama.cpp answered (README.md tells the formats and how exact they are).

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "os/environment.h"
#include "os/system_clock.h"
#include "os/thread_pool.h"
#include "testing/golden_model.h"
#include "testing/machine_kernels.h"
#include "tokenizer/tokenizer.h"

namespace infer::testing {
namespace {

void expect_logits_near(const Reference& r, const std::vector<float>& logits, double bound) {
  for (const auto& [id, value] : r.top) {
    EXPECT_NEAR(logits[static_cast<size_t>(id)], value, bound) << r.name << " id " << id;
  }
  for (size_t i = 0; i < r.sample.size(); ++i) {
    ASSERT_NEAR(logits[i * static_cast<size_t>(r.sample_step)], r.sample[i], bound) << r.name << " sample " << i;
  }
}

TEST(Golden, TinyModelsGiveTheReferenceLogitsOnEveryInstructionSet) {
  for (const kernels::KernelTable* kernels : machine_kernels()) {
    for (const char* name : {"tiny-linear", "tiny-llama3", "tiny-tied", "tiny-widehead"}) {
      SCOPED_TRACE(std::string(kernels->name) + " " + name);
      const auto loaded = load(kGoldenFolder + name + ".gguf", *kernels);
      const std::vector<Reference> references = read_references(kGoldenFolder + name + ".txt");
      ASSERT_EQ(references.size(), 3u);
      for (const Reference& r : references) {
        kv::SequenceCache cache = loaded->model->make_sequence();
        // Rounding K and V to F16 moves these logits (of size 25) by at most 0.011; a wrong factor by 0.35 or more.
        expect_logits_near(r, append(*loaded, cache, r.tokens), 0.02);
      }
    }
  }
}

// Where the larger models are, or "" where they are not at hand.
std::string models_folder() {
  const std::optional<std::string> data = os::environment_variable("INFEROS_TEST_DATA");
  return data ? *data + "/../models/" : "";
}

TEST(Golden, TalesF16GivesTheReferenceLogitsAndGreedyText) {
  const std::string folder = models_folder();
  if (folder.empty() || !std::ifstream(folder + "tales-f16.gguf").good()) {
    GTEST_SKIP() << "tales-f16.gguf is not at hand: set INFEROS_TEST_DATA to the data folder beside models/";
  }
  const auto loaded = load(folder + "tales-f16.gguf", *machine_kernels().front());
  const std::vector<Reference> references = read_references(kGoldenFolder + "tales-f16.txt");
  ASSERT_EQ(references.size(), 20u);
  for (const Reference& r : references) {
    kv::SequenceCache cache = loaded->model->make_sequence();
    const std::vector<float> logits = append(*loaded, cache, r.tokens);
    // llama.cpp rounds activations to F16 here, which moves logits by up to 0.0061; both round K and V.
    expect_logits_near(r, logits, 0.015);
    EXPECT_EQ(greedy(*loaded, cache, logits, r.greedy.size()), r.greedy) << r.name;
  }
}

TEST(Golden, TalesQ8GivesLogitsWithinTheRoundingOfActivations) {
  const auto loaded = load(std::string(INFER_SOURCE_DIR) + "/models/tales-q8_0.gguf", *machine_kernels().front());
  for (const Reference& r : read_references(kGoldenFolder + "tales-q8_0.txt")) {
    kv::SequenceCache cache = loaded->model->make_sequence();
    // Each side rounds activations to 8 bits in its own way: up to 0.13 each.
    expect_logits_near(r, append(*loaded, cache, r.tokens), 0.26);
  }
}

TEST(Golden, TheTokenizerGivesTheReferenceIds) {
  const auto loaded = load(std::string(INFER_SOURCE_DIR) + "/models/tales-q8_0.gguf", *machine_kernels().back());
  std::ifstream in(kGoldenFolder + "tokens-tales.txt");
  int plain = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string kind, hex;
    fields >> kind >> hex;
    if (kind != "plain" && kind != "special") continue;
    std::vector<TokenId> ids;
    for (TokenId id; fields >> id;) ids.push_back(id);
    const bool special = kind == "special";
    plain += special ? 0 : 1;
    EXPECT_EQ(loaded->tokenizer->encode(from_hex(hex), {.add_special = false, .parse_special = special}), ids) << hex;
  }
  EXPECT_EQ(plain, 249);
}

}  // namespace
}  // namespace infer::testing
