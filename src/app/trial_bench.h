// Trials (quality/trial.h) on a model that this process has for itself, as tune and ab want them: loads it anew where
// another number of threads is asked for.
// Thread safety: one thread. Ownership: borrows the services; owns model and text.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "app/command_line.h"
#include "app/draft_gain.h"
#include "app/loading.h"
#include "app/services.h"
#include "base/call_context.h"
#include "base/result.h"
#include "engine/step_runner.h"
#include "quality/quality_work.h"
#include "quality/trial.h"

namespace infer::app {

class TrialBench {
 public:
  struct Work {
    std::string text;  // A file; "": the built-in text.
    int prompt = 256, decoded = 32;
    int sequences_max = 1;
  };
  TrialBench(const ModelChoice& model, const Work& work, Services& services)
      : choice_(model), work_(work), services_(services) {}

  // threads: 0: as the model was chosen. piece: of the text, where the trial begins.
  Result<quality::TrialFigures> run(const kv::LevelPolicy& levels, int sequences, int threads, int piece,
                                    const CallContext& call);
  // What drafts gain with these settings (app/draft_gain.h).
  Result<DraftGain> run_drafts(const kv::LevelPolicy& levels, int sequences, int threads, const CallContext& call);
  // Of the last trial.
  const std::string& model_name() const { return loaded_->name; }
  int threads() const { return loaded_->model->threads(); }

 private:
  Status load(int threads, const CallContext& call);

  ModelChoice choice_;
  const Work work_;
  Services& services_;
  std::optional<LoadedModel> loaded_;
  std::unique_ptr<engine::StepRunner> runner_;
  int loaded_threads_ = -1;
  quality::EvaluationText text_;
  quality::TrialReference reference_;
  int reference_piece_ = -1;
};

}  // namespace infer::app
