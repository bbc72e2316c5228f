// What llama.cpp answered (README.md tells the formats), and models loaded to be held against it.
// Thread safety: one thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/call_context.h"
#include "base/ids.h"
#include "gguf/file.h"
#include "kernels/kernel_table.h"
#include "model/model.h"
#include "os/system_clock.h"
#include "os/thread_pool.h"
#include "tokenizer/tokenizer.h"

namespace infer::testing {

inline const std::string kGoldenFolder = std::string(INFER_SOURCE_DIR) + "/tests/golden/";

struct Reference {
  std::string name;
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<std::pair<TokenId, float>> top;
  int sample_step = 0;
  std::vector<float> sample;
  std::vector<TokenId> greedy;
};

std::string from_hex(const std::string& hex);
std::vector<Reference> read_references(const std::string& path);

// A model file, loaded with one set of kernels.
struct Loaded {
  std::unique_ptr<gguf::File> file;
  os::ThreadPool pool{2};
  os::SystemClock clock;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;
  std::unique_ptr<model::Model> model;

  CallContext call() const { return {clock, Deadline::never(), {}}; }
};

std::unique_ptr<Loaded> load(const std::string& path, const kernels::KernelTable& kernels,
                             const model::ModelOptions& options = {});

// Appends the tokens, in steps of at most `longest` (0: as long as the model takes); the logits of the last one.
std::vector<float> append(Loaded& loaded, kv::SequenceCache& cache, std::span<const TokenId> tokens,
                          size_t longest = 0);
std::vector<TokenId> greedy(Loaded& loaded, kv::SequenceCache& cache, std::vector<float> logits, size_t count);

}  // namespace infer::testing
