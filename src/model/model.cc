#include "model/model.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/format.h"
#include "kernels/panels.h"
#include "model/architecture.h"
#include "model/forward.h"
#include "model/model_tensors.h"
#include "model/repack_cache.h"
#include "model/weights.h"
#include "os/background_thread.h"

namespace infer::model {

namespace {

constexpr int kContextDefaultMax = 4096;
constexpr int kTokensPerStepMax = 1 << 16;
constexpr int kSequencesMax = 1 << 12;

// Everything that is known before weights are read.
struct Blueprint {
  ModelConfig config;
  ModelOptions options;  // Defaults filled in.
  ModelTensors tensors;
  InputKinds kinds;
  StepLimits limits;
  MemoryEstimate memory;
};

Status check_range(std::string_view name, int value, int least, int most) {
  if (value >= least && value <= most) return {};
  return Error{ErrorCode::kInvalidArgument, format("{} must be from {} to {}, but is {}", name, least, most, value)};
}

Result<ModelOptions> complete_options(const ModelOptions& given, const ModelConfig& config) {
  ModelOptions options = given;
  if (options.context == 0) options.context = std::min(config.context_trained, kContextDefaultMax);
  const int context_max = config.learned_positions ? config.context_trained : kContextMax;
  INFER_TRY(check_range("the context", options.context, 1, context_max));
  INFER_TRY(check_range("the number of sequences", options.sequences, 1, kSequencesMax));
  INFER_TRY(check_range("tokens per step", options.tokens_per_step, 1, kTokensPerStepMax));
  INFER_TRY(check_range("logits per step", options.logits_per_step, 1, kTokensPerStepMax));
  // A step holds each sequence at most once, so more would never be used.
  const int64_t useful = int64_t{options.context} * options.sequences;
  options.tokens_per_step = static_cast<int>(std::min<int64_t>(options.tokens_per_step, useful));
  options.logits_per_step = std::min(options.logits_per_step, options.tokens_per_step);
  return options;
}

kv::PageShape page_shape(const ModelConfig& config, const ModelOptions& options) {
  return {.kv_heads = config.kv_heads, .head_dim = config.head_dim, .floats = options.kv_floats};
}

std::vector<int> windows_of(const ModelConfig& config) {
  std::vector<int> windows;
  for (const LayerDescription& layer : config.layer) windows.push_back(layer.window);
  return windows;
}

kv::LevelModel make_level_model(const ModelConfig& config, const ModelOptions& options) {
  return {.queries = {.kv_heads = config.kv_heads,
                      .group = config.heads / config.kv_heads,
                      .head_dim = config.head_dim,
                      .floats = options.kv_floats},
          .scores = {.factor = config.attention_scale, .cap = config.attention_cap},
          .floors = {},
          .loss_to_divergence = std::nullopt};
}

int64_t page_count(const ModelConfig& config, const ModelOptions& options) {
  int64_t pages = 0;
  for (const LayerDescription& layer : config.layer) {
    pages += kv::layer_pages_max(layer.window, options.context, options.tokens_per_step);
  }
  return pages * options.sequences;
}

uint64_t kv_bytes(const ModelConfig& config, const ModelOptions& options) {
  const kv::PageShape shape = page_shape(config, options);
  uint64_t bytes = 0;
  for (const LayerDescription& layer : config.layer) {
    const int pages = kv::layer_pages_max(layer.window, options.context, options.tokens_per_step);
    bytes += layer.window == 0 ? kv::layer_bytes_max(options.levels, shape, pages, options.tokens_per_step)
                               : uint64_t{shape.page_bytes(kv::Level::k16)} * static_cast<uint64_t>(pages);
  }
  return bytes * static_cast<uint64_t>(options.sequences);
}

Result<Blueprint> draw_blueprint(const gguf::File& file, int threads, const ModelOptions& options) {
  Blueprint plan;
  INFER_ASSIGN(plan.config, read_model_config(file));
  INFER_ASSIGN(plan.tensors, find_tensors(file, plan.config));
  INFER_ASSIGN(plan.options, complete_options(options, plan.config));
  plan.kinds = input_kinds(plan.tensors);
  plan.limits = {.tokens = plan.options.tokens_per_step,
                 .logits_rows = plan.options.logits_per_step,
                 .context = plan.options.context,
                 .threads = threads};
  plan.memory.weights_bytes = plan.tensors.weights_bytes();
  plan.memory.kv_bytes = kv_bytes(plan.config, plan.options);
  plan.memory.buffers_bytes = StepBuffers::bytes(plan.config, plan.kinds, plan.limits);
  return plan;
}

// What the user can do when `budget` bytes are too few.
std::string remedy(const Blueprint& plan, uint64_t budget) {
  const MemoryEstimate& memory = plan.memory;
  const uint64_t fixed = memory.weights_bytes + memory.buffers_bytes;
  int fits = 0;
  for (int above = plan.options.context; budget > fixed && above - fits > 1;) {
    ModelOptions options = plan.options;
    options.context = fits + (above - fits) / 2;
    (kv_bytes(plan.config, options) <= budget - fixed ? fits : above) = options.context;
  }
  const int whole_pages = fits / kernels::kPageTokens * kernels::kPageTokens;
  if (whole_pages == 0) return "use a smaller model or a smaller weight type";
  const std::string_view lower = plan.options.levels.mode == kv::KvMode::kF16 ? ", or lower levels (--kv tiered)" : "";
  return format("a context of at most {} tokens fits{}", whole_pages, lower);
}

Status check_budget(const Blueprint& plan, uint64_t budget, std::string_view budget_name) {
  const MemoryEstimate& memory = plan.memory;
  if (budget == 0 || memory.total() <= budget) return {};
  return Error{ErrorCode::kExhausted,
               format("the model needs {} (weights {}, KV cache {} for {} x {} tokens, buffers {}), but {} {}: {}",
                      format_bytes(memory.total()), format_bytes(memory.weights_bytes), format_bytes(memory.kv_bytes),
                      plan.options.sequences, plan.options.context, format_bytes(memory.buffers_bytes), budget_name,
                      format_bytes(budget), remedy(plan, budget))};
}

Status check_memory(const Blueprint& plan) {
  INFER_TRY(check_budget(plan, plan.options.memory_limit_bytes, "the memory limit is"));
  return check_budget(plan, plan.options.memory_available_bytes, "the machine has available only");
}

}  // namespace

struct Model::State {
  ModelConfig config;
  ModelOptions options;
  MemoryEstimate memory;
  const kernels::KernelTable& kernels;
  os::ThreadPool& pool;
  Weights weights;
  kv::LevelModel levels;
  Status spill_status;
  std::unique_ptr<kv::SpillStore> spill;  // Before the pool, which gives its slots back. Null: nowhere to spill to.
  std::unique_ptr<kv::PagePool> pages;
  std::unique_ptr<Forward> forward;
  // After what they read, so that they end first. Null: nothing to do.
  std::unique_ptr<os::BackgroundThread> storing;
  std::unique_ptr<os::BackgroundThread> settling;

  // Where planes go that leave memory.
  [[nodiscard]] Status open_spill() {
    if (options.spill_folder.empty()) return {};
    const kv::PageShape shape = pages->shape();
    const auto heads = static_cast<size_t>(shape.kv_heads);
    kv::SpillOptions spilling;
    spilling.slot_bytes = {heads * kernels::kv_high_bytes(shape.head_dim),
                           heads * kernels::kv_low_bytes(shape.head_dim)};
    spilling.bytes_max = options.spill_limit_bytes;
    INFER_ASSIGN(spill, kv::SpillStore::open(options.spill_folder, spilling));
    pages->set_spill(spill.get());
    return {};
  }

  void start_storing() {
    if (!weights.to_store) return;
    const auto store = [cache = options.repack_cache, key = *std::exchange(weights.to_store, std::nullopt),
                        panels = std::span<const std::byte>(weights.panel_memory.data(), weights.panel_memory.size())](
                           CancelToken cancel) { return cache->store(key, panels, cancel); };
    storing = start_beside(os::BackgroundThread::Share::kLeftOver, store);
  }

  // A mapped cache file is there at once, but in small pages.
  void start_settling() {
    if (!weights.panel_file) return;
    settling = start_beside(
        os::BackgroundThread::Share::kSmall,
        [file = &*weights.panel_file, panels = weights.panels, log = &options.repack_cache->log()](CancelToken cancel) {
          Status status = file->settle_in_memory(panels, cancel);
          if (!status && !cancel.cancelled()) {
            log->write(LogLevel::kWarning, status.error().message + "; they stay in the file");
          }
          return status;
        });
  }

  std::unique_ptr<os::BackgroundThread> start_beside(os::BackgroundThread::Share share,
                                                     os::BackgroundThread::Work work) const {
    auto thread = os::BackgroundThread::start(share, std::move(work));
    if (thread) return *std::move(thread);
    options.repack_cache->log().write(LogLevel::kWarning, thread.error().message);
    return nullptr;
  }
};

Model::Model(std::unique_ptr<State> state) : state_(std::move(state)) {}
Model::~Model() = default;

Result<MemoryEstimate> Model::estimate(const gguf::File& file, int threads, const ModelOptions& options) {
  INFER_ASSIGN(const Blueprint plan, draw_blueprint(file, threads, options));
  return plan.memory;
}

Result<std::unique_ptr<Model>> Model::load(const gguf::File& file, const kernels::KernelTable& kernels,
                                           os::ThreadPool& pool, const ModelOptions& options, const CallContext& call,
                                           const LoadProgress& progress) {
  INFER_ASSIGN(Blueprint plan, draw_blueprint(file, pool.threads(), options));
  INFER_TRY(check_memory(plan));
  const int64_t pages = page_count(plan.config, plan.options);
  if (pages > std::numeric_limits<int>::max()) {
    return Error{ErrorCode::kInvalidArgument, format("{} KV pages for {} x {} tokens: choose a shorter context", pages,
                                                     plan.options.sequences, plan.options.context)};
  }
  kv::LevelModel levels = make_level_model(plan.config, plan.options);
  auto state = std::unique_ptr<State>(new State{.config = std::move(plan.config),
                                                .options = plan.options,
                                                .memory = plan.memory,
                                                .kernels = kernels,
                                                .pool = pool,
                                                .weights = {},
                                                .levels = std::move(levels),
                                                .spill_status = {},
                                                .spill = nullptr,
                                                .pages = nullptr,
                                                .forward = nullptr,
                                                .storing = nullptr,
                                                .settling = nullptr});
  INFER_ASSIGN(state->pages, kv::PagePool::make(page_shape(state->config, state->options), static_cast<int>(pages)));
  state->spill_status = state->open_spill();
  INFER_ASSIGN(state->weights, load_weights(file, plan.tensors, kernels, pool, call, options.repack_cache, progress));
  INFER_ASSIGN(state->forward, Forward::make(state->config, state->weights, plan.kinds, kernels, pool, plan.limits));
  state->start_storing();
  state->start_settling();
  return std::unique_ptr<Model>(new Model(std::move(state)));
}

const ModelConfig& Model::config() const { return state_->config; }
const ModelOptions& Model::options() const { return state_->options; }
const MemoryEstimate& Model::memory() const { return state_->memory; }
const kernels::KernelTable& Model::kernels() const { return state_->kernels; }
std::span<const std::byte> Model::weight_panels() const { return state_->weights.panels; }
int Model::threads() const { return state_->pool.threads(); }
kv::PagePool& Model::page_pool() { return *state_->pages; }
const Status& Model::spill_status() const { return state_->spill_status; }
const kv::LevelModel& Model::level_model() const { return state_->levels; }
void Model::set_level_sensitivity(std::vector<kv::Level> floors, std::optional<double> loss_to_divergence,
                                  std::optional<double> seen_to_divergence) {
  INFER_CHECK(floors.empty() || floors.size() == static_cast<size_t>(state_->config.layers));
  state_->levels.floors = std::move(floors);
  state_->levels.loss_to_divergence = loss_to_divergence;
  state_->levels.seen_to_divergence = seen_to_divergence;
}

void Model::set_levels(const kv::LevelPolicy& levels) { state_->options.levels = levels; }

kv::SequenceCache Model::make_sequence() {
  kv::SequenceCache sequence(*state_->pages, windows_of(state_->config), state_->options.context, &state_->levels);
  sequence.set_policy(state_->options.levels);
  return sequence;
}

namespace {

Status check_slice(const SequenceSlice& slice, const ModelConfig& config) {
  const int tokens = static_cast<int>(slice.tokens.size());
  if (tokens == 0 || slice.logits_begin < 0 || slice.logits_begin > slice.logits_end || slice.logits_end > tokens) {
    return Error{ErrorCode::kInvalidArgument, format("a step of {} tokens cannot give the logits of {} to {}", tokens,
                                                     slice.logits_begin, slice.logits_end)};
  }
  for (const TokenId token : slice.tokens) {
    if (token >= 0 && token < config.vocabulary) continue;
    return Error{ErrorCode::kInvalidArgument,
                 format("token {} is not in the vocabulary of {} tokens: use this model's own tokenizer", token,
                        config.vocabulary)};
  }
  return {};
}

Status check_batch(const StepBatch& batch, const ModelConfig& config, const ModelOptions& options) {
  size_t tokens = 0, logits = 0;
  for (const SequenceSlice& slice : batch.slices) {
    if (slice.tokens.size() > static_cast<size_t>(options.tokens_per_step)) {
      tokens = slice.tokens.size();
      break;
    }
    INFER_TRY(check_slice(slice, config));
    tokens += slice.tokens.size();
    if (slice.hidden_sum == nullptr) logits += static_cast<size_t>(slice.logits_end - slice.logits_begin);
  }
  if (tokens == 0 || tokens > static_cast<size_t>(options.tokens_per_step) ||
      logits > static_cast<size_t>(options.logits_per_step)) {
    return Error{ErrorCode::kInvalidArgument,
                 format("a step of {} tokens, {} of them with logits; the limits are 1 to {} tokens and {} with logits",
                        tokens, logits, options.tokens_per_step, options.logits_per_step)};
  }
  return {};
}

class CallWatch final : public StepWatch {
 public:
  explicit CallWatch(const CallContext& call) : call_(call) {}
  Status look() override { return call_.check("computing a step"); }

 private:
  const CallContext& call_;
};

Status reserve_all(const StepBatch& batch) {
  for (const SequenceSlice& slice : batch.slices) {
    INFER_TRY(slice.cache->reserve(static_cast<int>(slice.tokens.size())));
  }
  return {};
}

}  // namespace

Status Model::run(const StepBatch& batch, const CallContext& call) {
  CallWatch watch(call);
  return run(batch, watch, call.clock.now());
}

Status Model::run(const StepBatch& batch, StepWatch& watch, Instant now) {
  INFER_TRY(check_batch(batch, state_->config, state_->options));
  state_->pages->poll(now);
  Status status = reserve_all(batch);
  if (status) status = state_->forward->run(batch, watch);
  for (const SequenceSlice& slice : batch.slices) {
    if (status) {
      slice.cache->commit(static_cast<int>(slice.tokens.size()));
      slice.cache->apply_policy(state_->kernels, now);
    } else {
      slice.cache->release_reserved();
    }
  }
  return status;
}

std::span<const float> Model::logits(int row) const { return state_->forward->logits(row); }

namespace {

// Calls body for the matrices that one token goes through: of experts, which are all of one size, for as many as it
// chooses.
template <class Body>
void for_each_matrix_of_token(const Weights& weights, const ModelConfig& config, Body&& body) {
  const auto used = static_cast<size_t>(config.experts.used);
  for (const LayerWeights& layer : weights.layers) for_each_matrix_of_layer(layer, used, body);
  body(weights.output);
}

}  // namespace

uint64_t Model::bytes_per_token(int depth) const {
  // All floats, less the biases of all matrices, and then those of the matrices that a token goes through.
  size_t floats = state_->weights.floats.size();
  for_each_matrix(state_->weights, [&](const Matrix& matrix) { floats -= matrix.bias.size(); });
  uint64_t bytes = 0;
  for_each_matrix_of_token(state_->weights, state_->config, [&](const Matrix& matrix) {
    floats += matrix.bias.size();
    if (!is_absent(matrix)) {
      bytes += kernels::packed_bytes(matrix.panels.type, matrix.panels.rows, matrix.panels.cols);
    }
  });
  bytes += floats * sizeof(float);
  const uint64_t kv_token_bytes = 2 * (state_->options.kv_floats ? sizeof(float) : sizeof(uint16_t)) *
                                  static_cast<uint64_t>(state_->config.kv_width());
  return bytes + kv_token_bytes * static_cast<uint64_t>(state_->config.visible_tokens(depth));
}

WeightsSource Model::weights_source() const {
  return state_->weights.panel_file ? WeightsSource::kCache : WeightsSource::kRepacked;
}
bool Model::storing_weights() const { return state_->storing && !state_->storing->result(); }
Status Model::finish_settling_weights(const CallContext& call) {
  if (!state_->settling) return {};
  const std::unique_ptr<os::BackgroundThread> settling = std::move(state_->settling);
  return settling->finish(call);
}
Status Model::finish_storing_weights(const CallContext& call) {
  if (!state_->storing) return {};
  const std::unique_ptr<os::BackgroundThread> storing = std::move(state_->storing);
  return storing->finish(call);
}

namespace {

uint64_t count_operations(const Weights& weights, const ModelConfig& config, bool logits, bool floats_only) {
  const auto of_token = [floats_only](const Matrix& matrix) -> uint64_t {
    if (floats_only && kernels::uses_int8_inputs(matrix.panels.type)) return 0;
    return 2 * static_cast<uint64_t>(matrix.panels.rows) * static_cast<uint64_t>(matrix.panels.cols);
  };
  uint64_t operations = 0;
  for_each_matrix_of_token(weights, config, [&](const Matrix& matrix) { operations += of_token(matrix); });
  return logits ? operations : operations - of_token(weights.output);
}

}  // namespace

uint64_t Model::operations_per_token(bool logits) const {
  return count_operations(state_->weights, state_->config, logits, false);
}
uint64_t Model::float_operations_per_token(bool logits) const {
  return count_operations(state_->weights, state_->config, logits, true);
}

}  // namespace infer::model
