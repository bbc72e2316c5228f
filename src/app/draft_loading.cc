#include "app/draft_loading.h"

#include <algorithm>
#include <utility>

#include "app/exit_code.h"
#include "base/bytes.h"
#include "base/format.h"
#include "engine/draft_model.h"
#include "model/model_config.h"

namespace infer::app {
namespace {

// What is left of a budget, but never "no limit".
uint64_t left_of(uint64_t budget, uint64_t taken) { return budget == 0 ? 0 : std::max(budget, taken + 1) - taken; }

// A draft needs no more of a text than its model was trained for.
Result<model::ModelOptions> draft_options(const ModelChoice& choice, const LoadedModel& target, int sequences,
                                          const gguf::File& file) {
  INFER_ASSIGN(const model::ModelConfig config, model::read_model_config(file));
  model::ModelOptions options;
  options.context = std::min(target.model->options().context, config.context_trained);
  options.sequences = sequences;
  options.logits_per_step = sequences;  // The last token of each.
  options.tokens_per_step = std::max(options.tokens_per_step, sequences * engine::DraftModel::kLagMax);
  const uint64_t taken = target.model->memory().total();
  options.memory_limit_bytes = left_of(choice.memory_limit_bytes, taken);
  options.memory_available_bytes = left_of(target.model->options().memory_available_bytes, taken);
  return options;
}

}  // namespace

Result<LoadedDraft> load_draft(const ModelChoice& choice, const LoadedModel& target, int sequences,
                               const CallContext& call, Services& services) {
  LoadedDraft draft;
  if (choice.draft_path.empty()) return draft;
  draft.name = model_display_name(choice.draft_path);
  INFER_ASSIGN(draft.file, open_model_file(choice.draft_path));
  INFER_ASSIGN(const auto tokenizer, load_vocabulary(*draft.file, services));
  if (Status same = engine::check_draft_vocabulary(*target.tokenizer, *tokenizer); !same) {
    return as_input_error(std::move(same).error().with_context(format("{} for {}", draft.name, target.name)), "");
  }
  auto options = draft_options(choice, target, sequences, *draft.file);
  if (!options) return std::move(options).error().with_context(draft.name);
  ModelChoice place = choice;
  place.path = choice.draft_path;
  draft.repack_cache = open_repack_cache(place, services);
  options->repack_cache = draft.repack_cache.get();
  ProgressBar bar = services.progress("loading " + draft.name, ProgressUnit::kBytes);
  const uint64_t bytes = draft.file->file_bytes();
  const auto progress = [&](double fraction) {
    bar.update(static_cast<uint64_t>(fraction * static_cast<double>(bytes)), bytes);
  };
  auto model = model::Model::load(*draft.file, target.model->kernels(), *target.pool, *options, call, progress);
  bar.finish();
  if (!model) {
    Error error = std::move(model).error();
    if (error.code != ErrorCode::kExhausted) return std::move(error).with_context(draft.name);
    return std::move(error).with_context(
        format("{}, beside {} of {}", draft.name, format_bytes(target.model->memory().total()), target.name));
  }
  draft.model = *std::move(model);
  return draft;
}

}  // namespace infer::app
