// Our forward pass and tokenizer against what llama.cpp answered (README.md tells the formats and how exact they are).

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "model/model.h"
#include "os/environment.h"
#include "os/system_clock.h"
#include "os/thread_pool.h"
#include "testing/machine_kernels.h"
#include "tokenizer/tokenizer.h"

namespace infer {
namespace {

const std::string kGolden = std::string(INFER_SOURCE_DIR) + "/tests/golden/";

struct Reference {
  std::string name;
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<std::pair<TokenId, float>> top;
  int sample_step = 0;
  std::vector<float> sample;
  std::vector<TokenId> greedy;
};

std::string from_hex(const std::string& hex) {
  if (hex == "-") return "";
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

std::vector<Reference> read_references(const std::string& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in.good()) << path;
  std::vector<Reference> references;
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string kind, name;
    fields >> kind >> name;
    if (kind == "text") {
      std::string hex;
      fields >> hex;
      references.push_back({.name = name, .text = from_hex(hex), .tokens = {}, .top = {}, .sample = {}, .greedy = {}});
      continue;
    }
    if (references.empty() || references.back().name != name) continue;
    Reference& r = references.back();
    if (kind == "tokens") {
      for (TokenId id; fields >> id;) r.tokens.push_back(id);
    } else if (kind == "top") {
      TokenId id;
      for (float value; fields >> id >> value;) r.top.emplace_back(id, value);
    } else if (kind == "sample") {
      fields >> r.sample_step;
      for (float value; fields >> value;) r.sample.push_back(value);
    } else if (kind == "greedy") {
      for (TokenId id; fields >> id;) r.greedy.push_back(id);
    }
  }
  return references;
}

// A model file, loaded with one set of kernels.
struct Loaded {
  std::unique_ptr<gguf::File> file;
  os::ThreadPool pool{2};
  os::SystemClock clock;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;
  std::unique_ptr<model::Model> model;

  CallContext call() const { return {clock, Deadline::never(), {}}; }
};

std::unique_ptr<Loaded> load(const std::string& path, const kernels::KernelTable& kernels) {
  auto loaded = std::make_unique<Loaded>();
  NullLog log;
  auto file = gguf::File::open(path);
  EXPECT_TRUE(file.has_value()) << file.error().message;
  loaded->file = std::move(file).value();
  auto tokenizer = tokenizer::Tokenizer::from_gguf(*loaded->file, log);
  EXPECT_TRUE(tokenizer.has_value()) << tokenizer.error().message;
  loaded->tokenizer = std::move(tokenizer).value();
  auto model = model::Model::load(*loaded->file, kernels, loaded->pool, {}, loaded->call(), {});
  EXPECT_TRUE(model.has_value()) << model.error().message;
  loaded->model = std::move(model).value();
  return loaded;
}

// Appends the tokens, in steps as long as the model takes; the logits of the last one.
std::vector<float> append(Loaded& loaded, kv::SequenceCache& cache, std::span<const TokenId> tokens) {
  const auto longest = static_cast<size_t>(loaded.model->options().tokens_per_step);
  for (size_t done = 0; done < tokens.size(); done += longest) {
    const std::span<const TokenId> part = tokens.subspan(done, std::min(longest, tokens.size() - done));
    const int count = static_cast<int>(part.size());
    const model::SequenceSlice slice{&cache, part, count - 1, count};
    const Status status = loaded.model->run({{&slice, 1}}, loaded.call());
    EXPECT_TRUE(status.has_value()) << status.error().message;
  }
  const std::span<const float> logits = loaded.model->logits(0);
  return {logits.begin(), logits.end()};
}

void expect_logits_near(const Reference& r, const std::vector<float>& logits, double bound) {
  for (const auto& [id, value] : r.top) {
    EXPECT_NEAR(logits[static_cast<size_t>(id)], value, bound) << r.name << " id " << id;
  }
  for (size_t i = 0; i < r.sample.size(); ++i) {
    ASSERT_NEAR(logits[i * static_cast<size_t>(r.sample_step)], r.sample[i], bound) << r.name << " sample " << i;
  }
}

std::vector<TokenId> greedy(Loaded& loaded, kv::SequenceCache& cache, std::vector<float> logits, size_t count) {
  std::vector<TokenId> ids;
  while (true) {
    const auto best = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    ids.push_back(best);
    if (ids.size() == count || loaded.tokenizer->ends_generation(best)) return ids;
    logits = append(loaded, cache, {&best, 1});
  }
}

TEST(Golden, TinyModelsGiveTheReferenceLogitsOnEveryInstructionSet) {
  for (const kernels::KernelTable* kernels : testing::machine_kernels()) {
    for (const char* name : {"tiny-linear", "tiny-llama3", "tiny-tied", "tiny-widehead"}) {
      SCOPED_TRACE(std::string(kernels->name) + " " + name);
      const auto loaded = load(kGolden + name + ".gguf", *kernels);
      const std::vector<Reference> references = read_references(kGolden + name + ".txt");
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
  const auto loaded = load(folder + "tales-f16.gguf", *testing::machine_kernels().front());
  const std::vector<Reference> references = read_references(kGolden + "tales-f16.txt");
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
  const auto loaded =
      load(std::string(INFER_SOURCE_DIR) + "/models/tales-q8_0.gguf", *testing::machine_kernels().front());
  for (const Reference& r : read_references(kGolden + "tales-q8_0.txt")) {
    kv::SequenceCache cache = loaded->model->make_sequence();
    // Each side rounds activations to 8 bits in its own way: up to 0.13 each.
    expect_logits_near(r, append(*loaded, cache, r.tokens), 0.26);
  }
}

TEST(Golden, TheTokenizerGivesTheReferenceIds) {
  const auto loaded =
      load(std::string(INFER_SOURCE_DIR) + "/models/tales-q8_0.gguf", *testing::machine_kernels().back());
  std::ifstream in(kGolden + "tokens-tales.txt");
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
}  // namespace infer
