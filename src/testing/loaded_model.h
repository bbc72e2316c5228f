// A model in memory, loaded and ready to run, for tests.
// Ownership: owns everything. Thread safety: one thread.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <vector>

#include "base/call_context.h"
#include "gguf/file.h"
#include "model/model.h"
#include "os/thread_pool.h"
#include "testing/random_model.h"
#include "testing/test_clock.h"

namespace infer::testing {

struct LoadedModel {
  std::vector<std::byte> bytes;
  std::unique_ptr<gguf::File> file;
  TestClock clock;
  std::unique_ptr<os::ThreadPool> pool;
  std::unique_ptr<model::Model> model;

  CallContext call() const { return {clock, Deadline::never(), {}}; }

  // Appends tokens in steps of at most `chunk`; the logits of every token, one after the other.
  std::vector<std::vector<float>> compute(kv::SequenceCache& cache, std::span<const TokenId> tokens, size_t chunk) {
    std::vector<std::vector<float>> result;
    for (size_t done = 0; done < tokens.size();) {
      const std::span<const TokenId> part = tokens.subspan(done, std::min(chunk, tokens.size() - done));
      const model::SequenceSlice slice{&cache, part, 0, static_cast<int>(part.size())};
      const Status status = model->run({{&slice, 1}}, call());
      EXPECT_TRUE(status.has_value()) << status.error().message;
      if (!status) return result;
      for (size_t i = 0; i < part.size(); ++i) {
        const std::span<const float> row = model->logits(static_cast<int>(i));
        result.emplace_back(row.begin(), row.end());
      }
      done += part.size();
    }
    return result;
  }
};

inline std::unique_ptr<LoadedModel> load_bytes(std::vector<std::byte> bytes, const kernels::KernelTable& kernels,
                                               int threads, const model::ModelOptions& options) {
  auto loaded = std::make_unique<LoadedModel>();
  loaded->bytes = std::move(bytes);
  loaded->file = gguf::File::parse(loaded->bytes, "random").value();
  loaded->pool = std::make_unique<os::ThreadPool>(threads);
  auto model = model::Model::load(*loaded->file, kernels, *loaded->pool, options, loaded->call(), nullptr);
  EXPECT_TRUE(model.has_value()) << model.error().message;
  if (model) loaded->model = *std::move(model);
  return loaded;
}

inline std::unique_ptr<LoadedModel> load_random(const RandomModel& random, const kernels::KernelTable& kernels,
                                                int threads, const model::ModelOptions& options) {
  return load_bytes(write_model(random), kernels, threads, options);
}

}  // namespace infer::testing
