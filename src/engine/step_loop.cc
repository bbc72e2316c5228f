#include "engine/step_loop.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/format.h"

namespace infer::engine {

namespace {

EngineLimits limits_of(EngineLimits limits, const StepRunner& runner) {
  limits.tokens_per_step = std::min(limits.tokens_per_step, runner.tokens_per_step());
  // Each running answer wants logits in each step.
  limits.running_max = std::min({limits.running_max, limits.tokens_per_step, runner.logits_per_step()});
  return limits;
}

// After the last request: the next one of somebody who asks one after the other would only end a portion.
constexpr Duration kIdleAfter = Duration::from_ms(20);
// A wait for pages on the disk; computing them may turn out to be slower than was measured, or not be measured yet.
constexpr Duration kDiskWaitMin = Duration::from_ms(500), kDiskWaitMax = Duration::from_seconds(10);

bool is_stop(const Error& error) { return error.code == ErrorCode::kDeadline || error.code == ErrorCode::kCancelled; }

}  // namespace

StepLoop::StepLoop(StepRunner& runner, const tokenizer::Tokenizer& tokenizer, const EngineLimits& limits,
                   const Clock& clock, BoundedQueue<Submission>& inbox, CancelToken stop, IdleWork* idle,
                   kv::PrefixStore* store, std::unique_ptr<StepRunner> draft)
    : runner_(runner),
      tokenizer_(tokenizer),
      limits_(limits_of(limits, runner)),
      clock_(clock),
      inbox_(inbox),
      stop_(stop),
      idle_(idle),
      store_(store),
      index_(runner.pages(), runner.make_sequence().layers(), runner.fingerprint()),
      empty_(runner.make_sequence()),
      speculates_(limits.speculation.enabled),
      min_accept_rate_(limits.speculation.min_accept_rate),
      running_max_(limits_.running_max),
      likelihood_share_(limits_.likelihood_share) {
  if (draft) draft_model_.emplace(std::move(draft), tokenizer.vocabulary_size(), clock);
  index_.set_store(store);
  state_.layers = empty_.layers();
  state_.logits_max = runner.logits_per_step();
  publish(clock.now());
}

StepLoop::~StepLoop() { end_all(CancelReason::kShutdown); }

int StepLoop::requests() const {
  return static_cast<int>(std::count_if(requests_.begin(), requests_.end(), [](const auto& r) { return !r->ended(); }));
}

// ---- Coming in and going.

void StepLoop::take_in() {
  arrivals_.clear();
  inbox_.take_all(arrivals_);
  for (Submission& arrival : arrivals_) {
    snapshot_.counters.requests_tokens += arrival.request.prompt.size();
    const auto group = arrival.streams.size() > 1 ? std::make_shared<AnswerGroup>() : nullptr;
    for (std::shared_ptr<AnswerStream>& stream : arrival.streams) {
      requests_.push_back(std::make_unique<ActiveRequest>(arrival.request, std::move(stream), group, arrival.submitted,
                                                          tokenizer_, runner_.context()));
      ++snapshot_.counters.requests;
      ++arrival.request.sampling.seed;
    }
  }
}

void StepLoop::change_levels(const kv::LevelPolicy& levels, const std::optional<kv::LevelPolicy>& other) {
  const std::lock_guard lock(levels_mutex_);
  new_levels_ = Levels{levels, other};
}

// Pages move at the end of the next step, as at the end of any other.
void StepLoop::apply_levels() {
  std::optional<Levels> levels;
  {
    const std::lock_guard lock(levels_mutex_);
    levels.swap(new_levels_);
  }
  if (!levels) return;
  runner_.set_levels(levels->levels);
  other_levels_ = levels->other;
  for (const auto& active : requests_) {
    active->set_arm(-1);  // It began with something else.
    if (active->running()) active->cache().set_policy(runner_.levels());
    active->drop_sample();
  }
  if (idle_) idle_->levels_changed();
}

void StepLoop::begin_sample(ActiveRequest& active) {
  if (!idle_ || active.wants_embedding()) return;
  if (const auto rows = idle_->sample_rows(tokenizer_.vocabulary_size())) active.begin_sample(*rows);
}

void StepLoop::hand_over_sample(ActiveRequest& active, FinishReason reason) {
  std::optional<AnswerSample> sample = active.take_sample();
  if (sample && reason != FinishReason::kFailed) idle_->take_sample(*std::move(sample));
}

void StepLoop::end(ActiveRequest& active, const Ending& ending, std::optional<Error> error, Instant now) {
  hand_over_sample(active, ending.reason);
  index_.save(active.cursor(), now);
  if (!active.finish(ending, std::move(error), now)) return;  // let_go() counts it.
  ++snapshot_.counters.ended[static_cast<size_t>(ending.reason)];
  const RequestResult& result = active.result();
  if (!result.started || ending.reason == FinishReason::kCancelled) return;
  // Faded by a tenth with each: a forecast of when a place becomes free.
  const Duration taken = now - *result.started;
  const int64_t mean = snapshot_.running_time.ns();
  snapshot_.running_time = mean == 0 ? taken : Duration::from_ns(mean + (taken.ns() - mean) / 10);
}

// Those that have ended.
void StepLoop::let_go() {
  std::erase_if(requests_, [this](const auto& active) {
    if (const auto reason = active->ended_outside()) ++snapshot_.counters.ended[static_cast<size_t>(*reason)];
    return active->may_go();
  });
}

void StepLoop::end_all(CancelReason reason) {
  take_in();
  const Instant now = clock_.now();
  for (const auto& active : requests_) {
    if (!active->ended()) end(*active, {.reason = FinishReason::kCancelled, .cancel = reason}, std::nullopt, now);
  }
  let_go();
  requests_.clear();
  if (idle_) idle_->release_pages();
  publish(now);
}

void StepLoop::finish_saving(const CallContext& call) {
  index_.tend(clock_.now());
  while (store_ != nullptr && !store_->idle() && store_->wait(call)) index_.tend(clock_.now());
}

// Between layers: requests in the step make it stop, all others end here.
Status StepLoop::look() {
  if (stop_.cancelled()) return Error{ErrorCode::kCancelled, "the engine stops"};
  take_in();
  const Instant now = clock_.now();
  heartbeat_.beat(now);
  if (!requests_.empty()) tell_step(now);
  for (const auto& active : requests_) {
    if (active->ended() && !active->in_step) continue;
    if (active->ended()) return Error{ErrorCode::kCancelled, "a request of the step was ended"};
    const std::optional<Ending> ending = active->ending(now);
    if (!ending) continue;
    if (active->in_step) {
      return Error{ending->reason == FinishReason::kCancelled ? ErrorCode::kCancelled : ErrorCode::kDeadline,
                   "a request of the step has to end"};
    }
    end(*active, *ending, std::nullopt, now);
  }
  return {};
}

void StepLoop::set_on_step(std::function<void(Instant now)> on_step) {
  const std::lock_guard lock(on_step_mutex_);
  on_step_ = std::move(on_step);
}

void StepLoop::tell_step(Instant now) {
  const std::lock_guard lock(on_step_mutex_);
  if (on_step_) on_step_(now);
}

// ---- Plan.

// For the pages that it could have from there: as long as computing them would take.
bool StepLoop::awaits_disk(ActiveRequest& active, Instant now) {
  if (store_ == nullptr || active.disk_until == Instant()) return false;
  if (now < active.disk_until &&
      index_.restore(active.tokens().first(active.tokens().size() - 1), runner_.context(), now)) {
    if (active.disk_until == Instant::never()) {
      const double seconds = cost_.line().per_token * static_cast<double>(active.tokens().size());
      active.disk_until = now + std::clamp(Duration::from_seconds(seconds), kDiskWaitMin, kDiskWaitMax);
    }
    disk_until_ = std::min(disk_until_, active.disk_until);
    return true;
  }
  active.disk_until = Instant();
  return false;
}

SequenceView StepLoop::view_of(ActiveRequest& active, bool look_for_prefix, Instant now) {
  SequenceView view;
  view.running = active.running();
  view.over = active.ended() || active.ending(now).has_value();
  view.held = !active.look_for_room(now) || active.choosing() || active.awaits_prompt();
  view.suspect = active.failures > 0;
  view.priority = active.request().priority;
  view.submitted = active.submitted();
  view.stop_at = active.stop_at();
  view.cached_tokens = active.cached_tokens();
  view.due_tokens = active.due_tokens();
  const int length = static_cast<int>(active.tokens().size());
  view.pages_wanted = runner_.pages_for(length);
  if (view.running) {
    view.pages_held = active.cache().pages_held();
    view.copies_page = active.cache().last_page_is_shared();
  } else if (look_for_prefix && !active.wants_embedding()) {
    const kv::PrefixMatch match = index_.find(active.tokens().first(active.tokens().size() - 1), empty_);
    view.cached_tokens = match.pages * kv::kPageTokens;
    view.due_tokens = length - view.cached_tokens;
    view.held = view.held || awaits_disk(active, now);
    view.pages_wanted = std::max<int64_t>(0, view.pages_wanted - match.in_use);
    view.pages_reused = match.unused;
  }
  return view;
}

// Of the answers to a prompt that is not computed yet, the first.
void StepLoop::settle_leaders() {
  for (const auto& active : requests_) {
    if (AnswerGroup* const group = active->group()) group->leader = nullptr;
  }
  for (const auto& active : requests_) {
    AnswerGroup* const group = active->group();
    if (group && !group->leader) group->leader = active.get();
  }
}

void StepLoop::build_state(Instant now) {
  let_go();
  settle_leaders();
  int running = 0, held = 0;
  for (const auto& active : requests_) {
    active->settle_stage(now);
    running += active->running() ? 1 : 0;
    held += active->running() && (active->full() || active->choosing()) ? 1 : 0;
  }
  // Only who may start needs to know with how much.
  int places = limits_.running_max - running + held;
  state_.sequences.clear();
  disk_until_ = Instant::never();
  for (const auto& active : requests_) {
    const bool may_start = !active->running() && places > 0 && !active->awaits_prompt();
    state_.sequences.push_back(view_of(*active, may_start, now));
    places -= may_start ? 1 : 0;
  }
  state_.cost = cost_.line();
  propose_drafts();
  state_.pages_available = runner_.pages().free_pages() + index_.evictable_pages();
  if (make_room_for_requests()) state_.pages_available = runner_.pages().free_pages() + index_.evictable_pages();
}

// Idle work holds pages only while requests do not want them.
bool StepLoop::make_room_for_requests() {
  if (!idle_ || idle_->pages_held() == 0) return false;
  int64_t wanted = 0;
  for (const SequenceView& view : state_.sequences) {
    if (!view.over) wanted += std::max<int64_t>(0, view.pages_wanted - view.pages_held) + state_.layers;
  }
  if (wanted <= state_.pages_available && state_.shortfall == 0) return false;
  idle_->release_pages();
  return true;
}

void StepLoop::set_running_max(int running_max) {
  running_max_.store(std::clamp(running_max, 1, limits_.running_max), std::memory_order_relaxed);
}

void StepLoop::apply(const StepPlan& plan, Instant now) {
  for (const size_t index : plan.ends) {
    ActiveRequest& active = *requests_[index];
    if (active.ended()) continue;
    // A limit that has passed stays so.
    if (const auto ending = active.ending(now)) end(active, *ending, std::nullopt, now);
  }
  for (const size_t index : plan.parks) {
    requests_[index]->park();
    ++snapshot_.counters.parks;
  }
  // With more requests than places no idle time comes in which samples could be checked.
  const bool is_saturated = waiting() > plan.admits.size();
  for (const size_t index : plan.admits) {
    ActiveRequest& active = *requests_[index];
    const bool is_first = !active.result().started;
    if (is_first && other_levels_) active.set_arm(static_cast<int>(lots_.below(2)));
    if (is_first && !is_saturated) begin_sample(active);
    const int cached = active.start(runner_.make_sequence(), index_, runner_.width(), now);
    if (active.arm() == 1 && other_levels_) active.cache().set_policy(*other_levels_);
    if (!is_first) continue;
    snapshot_.counters.prompt_tokens += static_cast<uint64_t>(active.result().prompt_tokens);
    snapshot_.counters.cached_tokens += static_cast<uint64_t>(cached);
  }
}

// ---- Run.

StepLoop::Turn StepLoop::turn() {
  heartbeat_.beat(clock_.now());
  take_in();
  apply_levels();
  choose_open_tokens();
  read_for_drafts();
  const Instant now = clock_.now();
  if (!requests_.empty()) busy_at_ = now;
  index_.tend(now);
  build_state(now);
  EngineLimits limits = limits_;
  limits.running_max = running_max_.load(std::memory_order_relaxed);
  StepPlan plan = plan_step(state_, limits, now);
  apply(plan, now);
  if (!plan.slices.empty()) {
    free_pages_for(plan);
    run(plan, now);
  }
  const Instant end = clock_.now();
  publish(end);
  if (!plan.slices.empty()) tell_step(end);
  const bool choosing = std::any_of(requests_.begin(), requests_.end(),
                                    [](const auto& active) { return !active->ended() && active->choosing(); });
  const bool computed = choosing || !plan.slices.empty();
  // Others may have waited for one that has ended, as answers do for the one that computes their prompt.
  Instant look_at = plan.ends.empty() ? std::min(plan.look_at, disk_until_) : now;
  if (!computed && requests() == 0) look_at = std::min(look_at, run_idle_work());
  if (!computed) heartbeat_.rest();
  return {.computed = computed, .look_at = look_at};
}

namespace {

// Ends a portion of idle work when a request has come, or the loop's own look says so.
class IdleWatch final : public model::StepWatch {
 public:
  explicit IdleWatch(std::function<Status()> look) : look_(std::move(look)) {}
  Status look() override { return look_(); }

 private:
  std::function<Status()> look_;
};

}  // namespace

Instant StepLoop::run_idle_work() {
  if (!idle_) return Instant::never();
  const Instant from = busy_at_ + kIdleAfter;
  if (!idle_->is_wanted() && clock_.now() < from) return from;
  const int64_t missing = idle_->pages_wanted(runner_) - runner_.pages().free_pages();
  if (missing > 0) index_.evict(missing);
  IdleWatch watch([this]() -> Status {
    INFER_TRY(look());
    if (requests() == 0) return {};
    return Error{ErrorCode::kCancelled, "a request has come"};
  });
  const Instant next = idle_->run(runner_, watch, clock_);
  return requests() > 0 ? clock_.now() : next;
}

void StepLoop::free_pages_for(const StepPlan& plan) {
  int64_t needed = 0;
  for (const PlannedSlice& slice : plan.slices) {
    const kv::SequenceCache& cache = requests_[slice.sequence]->cache();
    const int tokens = slice.tokens + slice.drafts;
    int pages = kv::pages_for_tokens(cache.length() + tokens) - kv::pages_for_tokens(cache.length());
    pages += cache.last_page_is_shared() ? 1 : 0;
    needed += int64_t{pages} * state_.layers;
  }
  const int64_t missing = needed - runner_.pages().free_pages();
  if (missing > 0) index_.evict(missing);
}

void StepLoop::run(StepPlan& plan, Instant start) {
  if (const Status drafted = make_drafts(plan); !drafted) {
    fail(plan, drafted.error());
    return;
  }
  if (!draft_jobs_.empty()) start = clock_.now();
  slices_.clear();
  int tokens = 0, drafts = 0, answers = 0;
  const int rows = static_cast<int>(plan.slices.size());
  for (const PlannedSlice& slice : plan.slices) {
    ActiveRequest& active = *requests_[slice.sequence];
    if (slice.drafts > 0) {
      const std::span<const TokenId> all = active.tokens_with_draft(slice.drafts);
      slices_.push_back({&active.cache(), all, 0, static_cast<int>(all.size())});
      active.in_step = true;
      tokens += static_cast<int>(all.size());
      drafts += slice.drafts;
      ++answers;
      continue;
    }
    answers += active.due_tokens() == 1 ? 1 : 0;
    // A prefix that was taken over may have left less to do than was planned.
    const int count = std::min(slice.tokens, active.due_tokens());
    slices_.push_back(active.slice(count));
    active.in_step = true;
    tokens += count;
  }
  const Status status = runner_.run({slices_}, *this, start);
  const Instant end = clock_.now();
  for (const PlannedSlice& slice : plan.slices) requests_[slice.sequence]->in_step = false;
  if (!status) {
    fail(plan, status.error());
    return;
  }
  cost_.observe(tokens, end - start);
  if (answers == rows) row_cost_.observe(tokens, end - start);
  step_ = {.answers = answers, .drafts = drafts, .has_prompt = answers < rows, .seconds = (end - start).seconds()};
  step_.own_seconds = step_.has_prompt ? step_.seconds : row_cost_.own_seconds(tokens, end - start);
  step_.bare_seconds = step_.has_prompt ? std::max(step_.seconds / 2, step_.seconds - drafts * cost_.line().per_token)
                                        : row_cost_.seconds(answers);
  if (draft_model_) draft_model_->budget().add_step(step_.seconds);
  state_.abandoned = state_.shortfall = 0;
  snapshot_.last_step = end;
  snapshot_.counters.computed_tokens += static_cast<uint64_t>(tokens);
  ++snapshot_.counters.steps;
  commit(plan);
}

void StepLoop::fail(const StepPlan& plan, const Error& error) {
  if (is_stop(error)) {
    ++state_.abandoned;
    ++snapshot_.counters.steps_abandoned;
    return;
  }
  ++snapshot_.counters.steps_failed;
  // Pages that were shared more than the plan knew: others have to give theirs up, while there are others.
  if (error.code == ErrorCode::kExhausted && state_.shortfall + 1 < static_cast<int>(state_.sequences.size())) {
    ++state_.shortfall;
    return;
  }
  const Instant now = clock_.now();
  for (const PlannedSlice& slice : plan.slices) {
    ActiveRequest& active = *requests_[slice.sequence];
    if (active.ended()) continue;
    if (++active.failures < limits_.failures_max || active.next_stage(now)) continue;
    end(active, {.reason = FinishReason::kFailed}, Error(error), now);
  }
}

// ---- Commit.

Instant StepLoop::earliest_limit() const {
  Instant earliest = Instant::never();
  for (const auto& active : requests_) {
    if (!active->ended()) earliest = std::min(earliest, active->stop_at());
  }
  return earliest;
}

void StepLoop::publish(Instant now) {
  snapshot_.at = now;
  snapshot_.waiting = {};
  snapshot_.prompt_tokens = {};
  snapshot_.running = snapshot_.answering = snapshot_.full = 0;
  for (const auto& active : requests_) {
    if (active->ended()) continue;
    const auto priority = static_cast<size_t>(active->request().priority);
    if (!active->awaits_prompt()) snapshot_.prompt_tokens[priority] += active->due_prompt_tokens();
    ++(active->running() ? snapshot_.running : snapshot_.waiting[priority]);
    snapshot_.answering += active->running() && active->due_tokens() == 1 ? 1 : 0;
    snapshot_.full += active->full() ? 1 : 0;
  }
  snapshot_.pages_max = runner_.pages().pages_max();
  snapshot_.pages_free = runner_.pages().free_pages();
  snapshot_.prefix_nodes = index_.nodes();
  if (store_ != nullptr) {
    snapshot_.prefix_store = PrefixStoreSnapshot{.counters = store_->counters(),
                                                 .files = store_->known().size(),
                                                 .restored_tokens = index_.restored_pages() * kv::kPageTokens};
  }
  snapshot_.cost = cost_.line();
  snapshot_.accept_rate = accept_window_.rate();
  snapshot_.accept_window = accept_window_.drafted();
  if (draft_model_) snapshot_.draft_model = draft_model_->snapshot();
  publish_kv();
  published_.store(snapshot_);
}

void StepLoop::publish_kv() {
  const kv::PagePool& pool = runner_.pages();
  KvSnapshot& kv = snapshot_.kv;
  kv.policy = runner_.levels();
  kv.pages = pool.pages_at_levels();
  kv.bytes = pool.bytes();
  kv.bytes_f16 = uint64_t{pool.shape().page_bytes_f16()} * static_cast<uint64_t>(pool.taken_pages());
  kv.counters = pool.counters();
  double divergence = 0, planned = 0, tokens = 0;
  for (const auto& active : requests_) {
    if (!active->running() || active->cache().levels() == nullptr) continue;
    const kv::SequenceLevels& levels = *active->cache().levels();
    const std::optional<double> of_request = levels.expected_divergence();
    if (!of_request) continue;
    const auto length = static_cast<double>(active->cache().length());
    divergence += *of_request * length;
    planned += levels.planned_divergence().value_or(0) * length;
    tokens += length;
  }
  if (tokens == 0) return;
  kv.expected_divergence = divergence / tokens;
  kv.planned_divergence = planned / tokens;
}

bool StepLoop::check_integrity() const {
  if (!runner_.pages().check_integrity() || !index_.check_integrity()) return false;
  // Each page that is taken has exactly the users that hold it: sequences and the index.
  std::vector<kv::PageId> held;
  index_.list_pages(held);
  for (const auto& active : requests_) {
    for (int layer = 0; active->running() && layer < active->cache().layers(); ++layer) {
      for (const kv::PageId page : active->cache().pages(layer)) {
        if (page != kv::kNoPage) held.push_back(page);
      }
    }
  }
  std::sort(held.begin(), held.end());
  int taken = 0;
  for (auto first = held.begin(); first != held.end(); ++taken) {
    const auto last = std::upper_bound(first, held.end(), *first);
    if (runner_.pages().users(*first) != last - first) return false;
    first = last;
  }
  return taken == runner_.pages().taken_pages();
}

}  // namespace infer::engine
