// The model of a benchmark that wants a whole one: of a file, or a small random one for the smoke size.
// Ownership: owns everything that the model borrows. Thread safety: as the model's.
#pragma once

#include <memory>
#include <string>

#include "base/call_context.h"
#include "gguf/file.h"
#include "model/model.h"
#include "os/thread_pool.h"
#include "testing/loaded_model.h"
#include "tokenizer/tokenizer.h"

namespace infer::bench {

struct BenchModel {
  std::unique_ptr<testing::LoadedModel> small;  // The smoke size's.
  std::unique_ptr<gguf::File> file;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;
  std::unique_ptr<os::ThreadPool> pool;
  std::unique_ptr<model::Model> model;
  model::Model& get() const { return small ? *small->model : *model; }
};

// On two threads with this machine's best kernels. An empty path: the small random model. A file without a vocabulary
// (random weights have none) gets one of bytes. Ends the program where the file cannot be loaded. beside: a model on
// whose threads this one computes too.
BenchModel load_bench_model(const std::string& path, const model::ModelOptions& options, const CallContext& call,
                            const BenchModel* beside = nullptr);

}  // namespace infer::bench
