#include <algorithm>
#include <array>

#include "base/hash.h"
#include "engine/step_runner.h"

namespace infer::engine {

namespace {

// Weights are sampled: models of one shape differ everywhere.
constexpr size_t kSampleBytes = 4096;
constexpr size_t kSamples = 64;

uint64_t fingerprint_of(const model::Model& model) {
  const model::ModelConfig& config = model.config();
  const std::array<int64_t, 6> shape{config.layers,   config.width,      config.kv_heads,
                                     config.head_dim, config.vocabulary, model.options().context};
  uint64_t hash = hash_bytes(shape.data(), sizeof shape);
  const std::span<const std::byte> panels = model.weight_panels();
  for (size_t i = 0; i < kSamples && !panels.empty(); ++i) {
    const std::span<const std::byte> sample = panels.subspan(panels.size() / kSamples * i);
    hash = hash_block(sample.data(), std::min(kSampleBytes, sample.size()), hash);
  }
  return hash;
}

class ModelRunner final : public StepRunner {
 public:
  explicit ModelRunner(model::Model& model) : model_(model), fingerprint_(fingerprint_of(model)) {}

  int context() const override { return model_.options().context; }
  int width() const override { return model_.config().width; }
  int vocabulary() const override { return model_.config().vocabulary; }
  int tokens_per_step() const override { return model_.options().tokens_per_step; }
  int logits_per_step() const override { return model_.options().logits_per_step; }
  uint64_t fingerprint() const override { return fingerprint_; }
  int64_t pages_for(int tokens) const override {
    int64_t pages = 0;
    for (const model::LayerDescription& layer : model_.config().layer) {
      pages += kv::layer_pages_max(layer.window, std::max(1, tokens), tokens_per_step());
    }
    return pages;
  }

  kv::PagePool& pages() override { return model_.page_pool(); }
  kv::SequenceCache make_sequence() override { return model_.make_sequence(); }
  kv::LevelPolicy levels() const override { return model_.options().levels; }
  void set_levels(const kv::LevelPolicy& levels) override { model_.set_levels(levels); }
  Status run(const model::StepBatch& batch, model::StepWatch& watch, Instant now) override {
    return model_.run(batch, watch, now);
  }
  std::span<const float> logits(int row) const override { return model_.logits(row); }
  double log_sum_exp(std::span<const float> logits) const override {
    return model_.kernels().log_sum_exp(logits.data(), static_cast<int>(logits.size()));
  }

 private:
  model::Model& model_;
  uint64_t fingerprint_;
};

}  // namespace

std::unique_ptr<StepRunner> make_model_runner(model::Model& model) { return std::make_unique<ModelRunner>(model); }

}  // namespace infer::engine
