#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>

#include "app/commands.h"
#include "app/draft_loading.h"
#include "app/loading.h"
#include "base/format.h"
#include "batch/batch_runner.h"
#include "engine/engine.h"
#include "os/append_file.h"
#include "os/interrupt.h"
#include "os/process_facts.h"
#include "os/text_file.h"

namespace infer::app {
namespace {

constexpr size_t kFileBytesMax = size_t{1} << 30;

std::string results_path(const BatchCommand& options) {
  if (!options.results.empty()) return options.results;
  constexpr std::string_view kEnding = ".jsonl";
  std::string_view stem = options.tasks;
  if (stem.ends_with(kEnding)) stem.remove_suffix(kEnding.size());
  return std::string(stem) + ".results.jsonl";
}

// ---- One result.

api::Json optional_ms(const std::optional<Instant>& when, Instant since) {
  return when ? api::Json((*when - since).ms()) : api::Json();
}

api::Json as_json(const batch::TurnResult& turn) {
  const engine::RequestResult& result = turn.result;
  return api::Json::object()
      .set("text", turn.text)
      .set("finish_reason", engine::finish_reason_name(result.finish_reason))
      .set("stage", result.stage)
      .set("prompt_tokens", result.prompt_tokens)
      .set("cached_tokens", result.cached_tokens)
      .set("generated_tokens", result.generated_tokens)
      .set("queue_ms", optional_ms(result.started, result.submitted))
      .set("time_to_first_token_ms", optional_ms(result.first_token, result.submitted))
      .set("total_ms", (result.ended - result.submitted).ms());
}

api::Json as_json(const batch::TaskResult& result) {
  api::Json turns = api::Json::array();
  for (const batch::TurnResult& turn : result.turns) turns.push(as_json(turn));
  api::Json json = api::Json::object();
  json.set("id", result.task->id)
      .set("finish_reason", engine::finish_reason_name(result.finish_reason))
      .set("text", result.turns.empty() ? "" : result.turns.back().text)
      .set("turns", std::move(turns))
      .set("elapsed_ms", result.elapsed.ms())
      .set("overshoot_ms", result.overshoot ? api::Json(result.overshoot->ms()) : api::Json())
      .set("refused", result.attempts_refused);
  if (result.error) {
    json.set(
        "error",
        api::Json::object().set("code", error_code_name(result.error->code)).set("message", result.error->message));
  }
  return json;
}

// ---- All results.

// The value that `share` of the others do not exceed; null when there are none.
api::Json quantile(std::vector<double> values, double share) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<size_t>(std::lround(share * static_cast<double>(values.size() - 1)));
  return values[rank];
}

api::Json quantiles(const std::vector<double>& values) {
  return api::Json::object()
      .set("count", values.size())
      .set("p50", quantile(values, 0.5))
      .set("p95", quantile(values, 0.95))
      .set("p99", quantile(values, 0.99))
      .set("max", quantile(values, 1));
}

struct Summary {
  size_t tasks = 0;
  size_t skipped = 0;                                      // With a result from before.
  std::array<size_t, engine::kFinishReasonCount> ended{};  // By engine::FinishReason.
  uint64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  std::vector<double> first_token_ms{}, late_ms{};  // late: of tasks that their deadline ended.
  Duration elapsed{};

  size_t done() const {
    size_t count = 0;
    for (const size_t each : ended) count += each;
    return count;
  }
  double tokens_per_second() const {
    return elapsed.ns() > 0 ? static_cast<double>(generated_tokens) / elapsed.seconds() : 0;
  }
  void add(const batch::TaskResult& result) {
    ++ended[static_cast<size_t>(result.finish_reason)];
    for (const batch::TurnResult& turn : result.turns) {
      prompt_tokens += static_cast<uint64_t>(turn.result.prompt_tokens);
      cached_tokens += static_cast<uint64_t>(turn.result.cached_tokens);
      generated_tokens += static_cast<uint64_t>(turn.result.generated_tokens);
      if (turn.result.first_token) {
        first_token_ms.push_back((*turn.result.first_token - turn.result.submitted).ms());
      }
    }
    if (result.overshoot && result.finish_reason == engine::FinishReason::kDeadline && !result.turns.empty()) {
      late_ms.push_back(result.overshoot->ms());
    }
  }
};

api::Json as_json(const Summary& summary, const engine::EngineSnapshot& engine, const std::string& results,
                  const LoadedModel& loaded) {
  api::Json ended = api::Json::object();
  for (size_t i = 0; i < summary.ended.size(); ++i) {
    ended.set(engine::finish_reason_name(static_cast<engine::FinishReason>(i)), summary.ended[i]);
  }
  const engine::CostLine& cost = engine.cost;
  return api::Json::object()
      .set("model", loaded.name)
      .set("results", results)
      .set("tasks", summary.tasks)
      .set("skipped", summary.skipped)
      .set("done", summary.done())
      .set("finish_reasons", std::move(ended))
      .set("seconds", summary.elapsed.seconds())
      .set("prompt_tokens", summary.prompt_tokens)
      .set("cached_tokens", summary.cached_tokens)
      .set("generated_tokens", summary.generated_tokens)
      .set("generated_tokens_per_second", summary.tokens_per_second())
      .set("time_to_first_token_ms", quantiles(summary.first_token_ms))
      .set("deadline_overshoot_ms", quantiles(summary.late_ms))
      .set("steps", engine.counters.steps)
      .set("steps_abandoned", engine.counters.steps_abandoned)
      .set("step_fixed_ms", cost.known() ? api::Json(cost.fixed * 1e3) : api::Json())
      .set("step_token_ms", cost.known() ? api::Json(cost.per_token * 1e3) : api::Json())
      .set("pages_given_up", engine.counters.parks)
      .set("drafted_tokens", engine.counters.drafted_tokens())
      .set("accepted_tokens", engine.counters.accepted_tokens())
      .set("threads", loaded.model->threads())
      .set("isa", loaded.model->kernels().name)
      .set("peak_rss_bytes", os::peak_resident_bytes() ? api::Json(*os::peak_resident_bytes()) : api::Json());
}

std::string as_text(const Summary& summary, const std::string& results) {
  std::string text = format("{} of {} tasks done", summary.done(), summary.tasks - summary.skipped);
  if (summary.skipped > 0) text += format(" ({} were before)", summary.skipped);
  const size_t late = summary.ended[static_cast<size_t>(engine::FinishReason::kDeadline)];
  const size_t failed = summary.ended[static_cast<size_t>(engine::FinishReason::kFailed)];
  if (late > 0) text += format(", {} of them ended by their deadline", late);
  if (failed > 0) text += format(", {} failed", failed);
  return text + format("; {} tokens in {:.1f} s, {:.1f} tokens/s; results in {}\n", summary.generated_tokens,
                       summary.elapsed.seconds(), summary.tokens_per_second(), results);
}

// ---- What there is to do.

Result<std::vector<batch::Task>> read_tasks(const BatchCommand& options) {
  INFER_ASSIGN(const std::string text, read_text({.text = std::nullopt, .file = options.tasks}, false));
  batch::Task defaults;
  defaults.options = {.tokens_max = options.tokens_max, .ignore_end_tokens = options.ignore_end_tokens};
  defaults.sampling = options.sampling;
  auto tasks = batch::parse_tasks(text, defaults);
  if (!tasks) return std::move(tasks).error().with_context(options.tasks);
  return tasks;
}

// Those without a result yet. Opens the file of results.
Result<os::AppendFile> open_results(const BatchCommand& options, const std::string& path,
                                    std::vector<batch::Task>& tasks) {
  if (options.fresh) INFER_TRY(os::write_text_file(path, ""));
  INFER_ASSIGN(os::AppendFile file, os::AppendFile::open(path));
  INFER_ASSIGN(const std::string text, os::read_text_file(path, kFileBytesMax));
  auto ids = batch::parse_result_ids(text);
  if (!ids) {
    return std::move(ids).error().with_context(path + " (name another file with -o, or start it anew with --fresh)");
  }
  const std::unordered_set<std::string> done(ids->begin(), ids->end());
  std::erase_if(tasks, [&done](const batch::Task& task) { return done.contains(task.id); });
  return file;
}

Result<std::unique_ptr<engine::Engine>> start_engine(const BatchCommand& options, LoadedModel& loaded,
                                                     LoadedDraft& draft, const Clock& clock) {
  engine::EngineLimits limits;
  limits.running_max = options.parallel;
  limits.waiting_max = std::max(limits.waiting_max, options.workers);
  limits.speculation.draft_max = options.model.draft_max;
  engine::EngineParts parts;
  if (draft.model) parts.draft = engine::make_model_runner(*draft.model);
  return engine::Engine::start(engine::make_model_runner(*loaded.model), *loaded.tokenizer, limits, clock,
                               std::move(parts));
}

}  // namespace

Status batch_command(const BatchCommand& options, Services& services) {
  const os::InterruptGuard guard(services.interrupt());
  const CallContext call = services.call(options.model.deadline);
  if (options.tasks == "-" && options.results.empty()) {
    return Error{ErrorCode::kInvalidArgument, "batch: tasks from standard input need a file for results: give -o FILE"};
  }
  INFER_TRY(options.sampling.validate());
  INFER_ASSIGN(std::vector<batch::Task> tasks, read_tasks(options));
  const std::string path = results_path(options);
  Summary summary{.tasks = tasks.size()};
  INFER_ASSIGN(os::AppendFile results, open_results(options, path, tasks));
  summary.skipped = summary.tasks - tasks.size();

  model::ModelOptions model_options = model_options_of(options.model);
  model_options.sequences = options.parallel;
  model_options.logits_per_step = options.parallel + (options.model.draft_max > 0 ? kDraftRows : 0);
  model_options.tokens_per_step = std::max(model_options.tokens_per_step, options.parallel);
  INFER_ASSIGN(LoadedModel loaded, load_model(options.model, model_options, true, call, services));
  INFER_ASSIGN(LoadedDraft draft, load_draft(options.model, loaded, options.parallel, call, services));
  finish_storing_weights(*loaded.model, call, services);
  INFER_ASSIGN(const auto engine, start_engine(options, loaded, draft, services.clock()));

  const batch::BatchOptions how{.workers = options.workers,
                                .task_deadline = options.task_deadline,
                                .stages = options.staged ? engine::standard_stages() : std::vector<engine::Stage>{},
                                .parse_special = options.parse_special};
  const Instant start = services.clock().now();
  ProgressBar bar = services.progress("running tasks", ProgressUnit::kTasks);
  const auto sink = [&](const batch::TaskResult& result) -> Status {
    summary.add(result);
    bar.update(summary.done(), tasks.size());
    return results.append_line(as_json(result).dump());
  };
  Status status = batch::run_batch(*engine, *loaded.tokenizer, tasks, how, call, sink);
  bar.finish();
  summary.elapsed = services.clock().now() - start;
  INFER_TRY(options.json ? services.out().write_json(as_json(summary, engine->snapshot(), path, loaded))
                         : services.out().write(as_text(summary, path)));
  return status;
}

}  // namespace infer::app
