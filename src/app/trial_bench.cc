#include "app/trial_bench.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "app/evaluation_text.h"
#include "base/format.h"

namespace infer::app {

namespace {

// Of an answer that is drafted: time to find out what drafts are good for.
constexpr int kDraftedAnswer = 96;

class CallWatch final : public model::StepWatch {
 public:
  explicit CallWatch(const CallContext& call) : call_(call) {}
  Status look() override { return call_.check("measuring settings"); }

 private:
  const CallContext& call_;
};

}  // namespace

Status TrialBench::load(int threads, const CallContext& call) {
  if (loaded_ && loaded_threads_ == threads) return {};
  runner_.reset();
  loaded_.reset();
  ModelChoice choice = choice_;
  if (threads > 0) choice.threads = threads;
  // As a server's: where pages may leave memory, and what the model bears, is known.
  choice.levels.mode = kv::KvMode::kDynamic;
  // The text's own window, with room for a page that is begun.
  choice.context = work_.prompt + std::max(work_.decoded, kDraftedAnswer) + kv::kPageTokens;
  model::ModelOptions options = model_options_of(choice);
  options.sequences = std::max(2, work_.sequences_max);
  options.logits_per_step = std::max(work_.sequences_max, kv::kPageTokens);
  options.tokens_per_step = std::max(options.tokens_per_step, work_.sequences_max);
  INFER_ASSIGN(loaded_, load_model(choice, options, true, call, services_));
  finish_storing_weights(*loaded_->model, call, services_);
  runner_ = services_.make_runner(*loaded_->model);
  loaded_threads_ = threads;
  if (!text_.tokens.empty()) return {};
  auto text = read_evaluation_text(work_.text, *loaded_->tokenizer, 1);
  if (!text) return std::move(text).error().with_context("-f");
  text_ = *std::move(text);
  const auto least = static_cast<size_t>(work_.prompt + work_.decoded + 1);
  if (text_.tokens.size() >= least) return {};
  return Error{ErrorCode::kInvalidArgument,
               format("{} has {} tokens, {} are wanted: give a longer text with -f, or less with --pp and --tokens",
                      text_.name, text_.tokens.size(), least)};
}

Result<quality::TrialFigures> TrialBench::run(const kv::LevelPolicy& levels, int sequences, int threads, int piece,
                                              const CallContext& call) {
  INFER_TRY(load(threads, call));
  const size_t length = static_cast<size_t>(work_.prompt + work_.decoded);
  const size_t pieces = std::max<size_t>(1, text_.tokens.size() / length);
  const size_t begin = static_cast<size_t>(piece) % pieces * length;
  // Each piece's own text first, then what comes before it.
  std::vector<TokenId> tokens(text_.tokens.begin() + static_cast<std::ptrdiff_t>(begin), text_.tokens.end());
  tokens.insert(tokens.end(), text_.tokens.begin(), text_.tokens.begin() + static_cast<std::ptrdiff_t>(begin));
  if (std::exchange(reference_piece_, piece) != piece) reference_.rows.clear();
  quality::Trial trial({.tokens = tokens,
                        .bos = text_.bos,
                        .prompt = work_.prompt,
                        .decoded = work_.decoded,
                        .sequences = sequences,
                        .levels = levels},
                       loaded_->model->kernels().log_sum_exp, loaded_->tokenizer->vocabulary_size(), reference_);
  CallWatch watch(call);
  while (!trial.done()) INFER_TRY(trial.step(*runner_, watch, services_.clock()));
  return trial.figures();
}

Result<DraftGain> TrialBench::run_drafts(const kv::LevelPolicy& levels, int sequences, int threads,
                                         const CallContext& call) {
  INFER_TRY(load(threads, call));
  return measure_draft_gain(*loaded_, levels,
                            {.text = text_.tokens,
                             .prompt = work_.prompt,
                             .generated = kDraftedAnswer,
                             .sequences = sequences,
                             .draft_max = choice_.draft_max},
                            call, services_);
}

}  // namespace infer::app
