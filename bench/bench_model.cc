#include "bench_model.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/log.h"
#include "testing/byte_tokenizer.h"
#include "testing/machine_kernels.h"

namespace infer::bench {

namespace {

template <typename T>
T loaded_or_exit(Result<T> result) {
  if (result) return std::move(result).value();
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(3);
}

}  // namespace

BenchModel load_bench_model(const std::string& path, const model::ModelOptions& options, const CallContext& call,
                            const BenchModel* beside) {
  constexpr int kThreads = 2;
  const kernels::KernelTable& kernels = *testing::machine_kernels().front();
  BenchModel loaded;
  if (path.empty()) {
    loaded.small = testing::load_random({.vocabulary = testing::kByteTokens, .seed = 4}, kernels, kThreads, options);
    loaded.tokenizer = testing::make_byte_tokenizer(false);
    return loaded;
  }
  NullLog log;
  loaded.file = loaded_or_exit(gguf::File::open(path));
  auto vocabulary = tokenizer::Tokenizer::from_gguf(*loaded.file, log);
  loaded.tokenizer = vocabulary ? *std::move(vocabulary) : testing::make_byte_tokenizer(false);
  if (beside == nullptr || !beside->pool) loaded.pool = std::make_unique<os::ThreadPool>(kThreads);
  os::ThreadPool& pool = loaded.pool ? *loaded.pool : *beside->pool;
  loaded.model = loaded_or_exit(model::Model::load(*loaded.file, kernels, pool, options, call, nullptr));
  return loaded;
}

}  // namespace infer::bench
