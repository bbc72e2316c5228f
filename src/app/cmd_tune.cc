#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "api/experiment_json.h"
#include "app/commands.h"
#include "app/trial_bench.h"
#include "app/tuned_settings.h"
#include "base/format.h"
#include "control/preset.h"
#include "control/tuner.h"
#include "measure/statistics.h"
#include "os/interrupt.h"
#include "os/topology.h"

namespace infer::app {
namespace {

using control::setting_at;
using control::setting_text;
using control::TuneDimension;
using control::TunePoint;
using control::TuneTrial;

constexpr int kTrialsLeast = 12;
// Measurements of each of two settings that are compared in the end.
constexpr int kCheckRounds = 7;
// Drafts that cost more than the noise of their measurement are not worth it.
constexpr double kDraftsCost = 0.98;

control::TuneSpace space_of(const TuneCommand& options) {
  control::TuneSpace space = control::default_tune_space();
  const int all = threads_of(options.model);
  space.threads = options.threads;
  if (space.threads.empty()) {
    space.threads.push_back(all);
    if (all > 1 && options.model.threads == 0) space.threads.push_back(all / 2);
  }
  space.sequences = options.sequences;
  if (space.sequences.empty()) space.sequences = options.use == "batch" ? std::vector{8, 4, 2, 1} : std::vector{1};
  return space;
}

control::TuneGoal goal_of(const TuneCommand& options) {
  control::TuneGoal goal{.least_tokens_per_second = options.least_speed,
                         .most_first_token_ms = options.most_first_token_ms};
  for (const control::PresetRow& row : control::presets()) {
    if (row.name == options.use && row.max_delta_ppl) goal.max_delta_ppl = *row.max_delta_ppl;
  }
  goal.max_delta_ppl = options.max_delta_ppl.value_or(goal.max_delta_ppl);
  return goal;
}

kv::LevelPolicy levels_of(const control::TuneSetting& setting) {
  return {.mode = setting.mode, .recent_window = setting.window, .thresholds = setting.thresholds};
}

std::string figures_text(const quality::TrialFigures& figures) {
  return format("{:9.1f} tokens/s  first token {:7.1f} ms  perplexity {:+.4f} (+/- {:.4f})  KV {:5.1f} %",
                figures.tokens_per_second, figures.first_token_ms, figures.delta_ppl, figures.delta_stderr,
                100 * figures.kv_share);
}

std::vector<TunePoint> all_points(const control::TuneSpace& space) {
  std::vector<TunePoint> points;
  for (size_t i = 0; i < space.settings(); ++i) {
    TunePoint point{};
    size_t rest = i;
    // Threads last to change: each change loads the model anew.
    for (size_t k = control::kTuneDimensions; k-- > 0;) {
      const size_t size = space.size(static_cast<TuneDimension>(k));
      point[k] = rest % size;
      rest /= size;
    }
    points.push_back(point);
  }
  return points;
}

// One run of the command.
class Tuning {
 public:
  Tuning(const TuneCommand& options, Services& services)
      : options_(options),
        services_(services),
        call_(services.call(options.model.deadline)),
        space_(space_of(options)),
        tuner_(space_, goal_of(options), {}, trials_max()),
        bench_(options.model,
               {.text = options.text,
                .prompt = options.prompt_tokens,
                .decoded = options.generated_tokens,
                .sequences_max = *std::max_element(space_.sequences.begin(), space_.sequences.end())},
               services) {}

  // What was found until the deadline or Ctrl-C counts, when it is something.
  Status search() {
    while (const auto point = tuner_.next()) {
      const auto figures = measure(*point);
      if (!figures && is_stop(figures.error()) && !tuner_.trials().empty()) {
        stopped_ = true;
        break;
      }
      if (!figures) return figures.error();
      tuner_.observe(*figures);
      if (!options_.json) INFER_TRY(tell(tuner_.trials().back()));
    }
    return {};
  }

  // Every combination once, then the best of all and the choice in turns.
  Status check() {
    std::optional<TuneTrial> best;
    for (const TunePoint& point : all_points(space_)) {
      INFER_ASSIGN(const quality::TrialFigures figures, measure(point));
      const TuneTrial trial{point, figures};
      const bool better = !best || figures.tokens_per_second > best->figures.tokens_per_second;
      if (tuner_.allowed(trial) && better) best = trial;
      ++grid_trials_;
    }
    if (!best) return {};
    std::vector<double> ratios;
    for (int round = 0; round < kCheckRounds; ++round) {
      INFER_ASSIGN(const quality::TrialFigures of_grid, measure(best->point));
      INFER_ASSIGN(const quality::TrialFigures of_choice, measure(tuner_.best()->point));
      ratios.push_back(of_choice.tokens_per_second / of_grid.tokens_per_second);
    }
    grid_best_ = best;
    ratio_ = measure::summarize(ratios).median;
    return {};
  }

  // With the chosen settings: drafts change no answer, so that only their speed counts.
  Status try_drafts() {
    if (stopped_ || options_.model.draft_max == 0) return {};
    const control::TuneSetting setting = setting_at(space_, tuner_.best()->point);
    const auto gain = bench_.run_drafts(levels_of(setting), setting.sequences, setting.threads, call_);
    stopped_ = !gain && is_stop(gain.error());
    if (stopped_) return {};
    if (!gain) return gain.error();
    drafts_ = *gain;
    return {};
  }

  // What was found is told even where it cannot be written.
  Status report() {
    const TuneTrial best = *tuner_.best();
    Status written = options_.output.empty() ? Status() : write_tuned(options_.output, tuned_yaml(as_tuned(best)));
    INFER_TRY(options_.json ? services_.out().write_json(as_json())
                            : services_.out().write(as_text(best, written.has_value())));
    return written;
  }

 private:
  static bool is_stop(const Error& error) {
    return error.code == ErrorCode::kDeadline || error.code == ErrorCode::kCancelled;
  }

  int trials_max() const {
    const int fifth = static_cast<int>(space_.settings() / 5);
    return options_.trials_max > 0 ? options_.trials_max : std::max(kTrialsLeast, fifth);
  }

  Result<quality::TrialFigures> measure(const TunePoint& point) {
    const control::TuneSetting setting = setting_at(space_, point);
    return bench_.run(levels_of(setting), setting.sequences, setting.threads, 0, call_);
  }

  Status tell(const TuneTrial& trial) {
    return services_.out().write(format("{:>4}  {}{}  {}\n", tuner_.trials().size(), figures_text(trial.figures),
                                        tuner_.allowed(trial) ? " " : "!",
                                        setting_text(setting_at(space_, trial.point))));
  }

  // 0: better without.
  std::optional<int> draft_max() const {
    if (!drafts_) return std::nullopt;
    return drafts_->ratio < kDraftsCost ? 0 : options_.model.draft_max;
  }

  Tuned as_tuned(const TuneTrial& best) const {
    return {.setting = setting_at(space_, best.point),
            .goal = tuner_.goal(),
            .searched_sequences = space_.sequences.size() > 1,
            .draft_max = draft_max(),
            .why = tuner_.reason()};
  }

  std::string drafts_text() const {
    if (!drafts_) return "";
    return format("  {}: answers have {:.1f} % of their speed without, {} of {} drafted tokens were right\n",
                  *draft_max() > 0 ? "with drafts" : "without drafts", 100 * drafts_->ratio, drafts_->accepted,
                  drafts_->drafted);
  }

  std::string as_text(const TuneTrial& best, bool written) const {
    std::string text = format("\n{}\n  {}\n  {}\n", setting_text(setting_at(space_, best.point)),
                              figures_text(best.figures), tuner_.reason());
    text += format("  {} trials of {} combinations{}\n", tuner_.trials().size(), space_.settings(),
                   stopped_ ? ", then it was stopped" : "");
    text += drafts_text();
    for (const TuneTrial& each : tuner_.alternatives()) {
      text += format("or {}\n  {}\n", setting_text(setting_at(space_, each.point)), figures_text(each.figures));
    }
    if (grid_best_) {
      text += format("the best of all {}: {}\n  the choice has {:.1f} % of its speed\n", grid_trials_,
                     setting_text(setting_at(space_, grid_best_->point)), 100 * *ratio_);
    }
    if (!options_.output.empty() && written) {
      text += format("written to {}; inferos tune --undo {} brings back what was there\n", options_.output,
                     options_.output);
    }
    return text;
  }

  api::Json as_json() const {
    api::Json json = api::tuner_json(tuner_);
    json.set("model", bench_.model_name()).set("stopped", stopped_);
    if (drafts_) {
      json.set("drafts", api::Json::object()
                             .set("draft_max", *draft_max())
                             .set("speed_share", drafts_->ratio)
                             .set("drafted_tokens", drafts_->drafted)
                             .set("accepted_tokens", drafts_->accepted));
    }
    if (grid_best_) {
      json.set("exhaustive", api::Json::object()
                                 .set("trials", grid_trials_)
                                 .set("best", api::trial_json(tuner_, *grid_best_))
                                 .set("choice_speed_share", *ratio_));
    }
    return json;
  }

  const TuneCommand& options_;
  Services& services_;
  const CallContext call_;
  const control::TuneSpace space_;
  control::Tuner tuner_;
  TrialBench bench_;
  bool stopped_ = false;
  std::optional<DraftGain> drafts_;
  int grid_trials_ = 0;
  std::optional<TuneTrial> grid_best_;
  std::optional<double> ratio_;
};

}  // namespace

Status tune_command(const TuneCommand& options, Services& services) {
  if (!options.undo.empty()) return undo_tuned(options.undo);
  if (!options.output.empty()) INFER_TRY(check_writable(options.output));
  const os::InterruptGuard guard(services.interrupt());
  Tuning tuning(options, services);
  INFER_TRY(tuning.search());
  INFER_TRY(tuning.try_drafts());
  if (options.check) INFER_TRY(tuning.check());
  return tuning.report();
}

}  // namespace infer::app
