#include "testing/golden_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/log.h"

namespace infer::testing {

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

std::unique_ptr<Loaded> load(const std::string& path, const kernels::KernelTable& kernels,
                             const model::ModelOptions& options) {
  auto loaded = std::make_unique<Loaded>();
  NullLog log;
  auto file = gguf::File::open(path);
  EXPECT_TRUE(file.has_value()) << file.error().message;
  loaded->file = std::move(file).value();
  auto tokenizer = tokenizer::Tokenizer::from_gguf(*loaded->file, log);
  EXPECT_TRUE(tokenizer.has_value()) << tokenizer.error().message;
  loaded->tokenizer = std::move(tokenizer).value();
  auto model = model::Model::load(*loaded->file, kernels, loaded->pool, options, loaded->call(), {});
  EXPECT_TRUE(model.has_value()) << model.error().message;
  loaded->model = std::move(model).value();
  return loaded;
}

std::vector<float> append(Loaded& loaded, kv::SequenceCache& cache, std::span<const TokenId> tokens, size_t longest) {
  if (longest == 0) longest = static_cast<size_t>(loaded.model->options().tokens_per_step);
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

std::vector<TokenId> greedy(Loaded& loaded, kv::SequenceCache& cache, std::vector<float> logits, size_t count) {
  std::vector<TokenId> ids;
  while (true) {
    const auto best = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    ids.push_back(best);
    if (ids.size() == count || loaded.tokenizer->ends_generation(best)) return ids;
    logits = append(loaded, cache, {&best, 1});
  }
}

}  // namespace infer::testing
