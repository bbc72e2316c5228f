#include "kv/sequence_levels.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernels/kernel_table.h"
#include "kv/importance.h"

namespace infer::kv {

namespace {

// Until a layer's pages were tried: relative energy of the errors at 8 bits, at 4 and of a page that is not there, for
// a page that gets all of the attention (docs/internals/kv.md).
constexpr std::array<double, kLevelCount> kAssumedLoss{0, 3e-5, 8e-3, 1};
// Sums of earlier pages count half when so many more pages were tried.
constexpr double kTriedKeep = 0.989;  // 64 pages.
// A page counts as if so many rows of average attention had been observed besides.
constexpr double kPriorRows = 64;
// Pages come back when more of a token's attention may be missing.
constexpr double kRecallShare = 0.01;
// Of what the digests of evicted pages let expect, and what evicting was found to cost: pages are chosen for getting
// little attention, and then some get more (docs/internals/kv.md).
constexpr double kUnforeseen = 8;
// Of the seen loss, what is left after one more observed token: half after 7 tokens.
constexpr double kSeenKeep = 0.9;

std::unique_ptr<std::atomic<int>[]> no_pages(size_t layers) {
  auto pages = std::make_unique<std::atomic<int>[]>(layers);
  for (size_t i = 0; i < layers; ++i) pages[i].store(-1, std::memory_order_relaxed);
  return pages;
}

size_t index_of(Level level) { return static_cast<size_t>(level); }

}  // namespace

SequenceLevels::SequenceLevels(PagePool& pool, std::span<const int> windows, int pages, const LevelModel& model)
    : pool_(&pool),
      windows_(windows.begin(), windows.end()),
      pages_(pages),
      model_(&model),
      attention_(static_cast<int>(windows.size()), pages, model.queries),
      probe_(model.queries),
      chooser_(windows.size() * static_cast<size_t>(pages)),
      trials_(windows.size()),
      tried_(windows.size() * static_cast<size_t>(pages)),
      wanted_(windows.size() * static_cast<size_t>(pages), Level::k16),
      wanted_back_(no_pages(windows_.size())) {
  choices_.reserve(wanted_.size());
}

SequenceLevels::SequenceLevels(const SequenceLevels& other)
    : pool_(other.pool_),
      windows_(other.windows_),
      pages_(other.pages_),
      model_(other.model_),
      policy_(other.policy_),
      attention_(other.attention_),
      probe_(other.probe_),
      chooser_(other.wanted_.size()),
      trials_(other.trials_),
      tried_(other.tried_),
      wanted_(other.wanted_),
      wanted_back_(no_pages(windows_.size())),
      evicted_(other.evicted_),
      held_(other.held_),
      planned_(other.planned_),
      seen_tokens_(other.seen_tokens_) {
  choices_.reserve(wanted_.size());
}

void SequenceLevels::set_policy(const LevelPolicy& policy) {
  policy_ = policy;
  chosen_pages_ = -1;
  seen_tokens_ = 0;
}

void SequenceLevels::forget_from(int page) {
  attention_.forget_from(page);
  for (size_t layer = 0; layer < windows_.size(); ++layer) {
    for (size_t i = at(static_cast<int>(layer), page); i < at(static_cast<int>(layer), pages_ - 1) + 1; ++i) {
      wanted_[i] = Level::k16;
      tried_[i] = 0;
    }
  }
  chosen_pages_ = -1;
}

std::optional<double> SequenceLevels::divergence_of(const Loss& loss) const {
  if (!model_->loss_to_divergence) return std::nullopt;
  if (seen_tokens_ == 0 || !model_->seen_to_divergence) return loss.expected * *model_->loss_to_divergence;
  return loss.seen * *model_->seen_to_divergence + loss.evicted * *model_->loss_to_divergence;
}

// Whether the page has 16 bits whatever its attention.
bool SequenceLevels::is_fixed(const PageTables& tables, int page) const {
  const bool marked = tables.mark % kernels::kPageTokens != 0 && tables.mark / kernels::kPageTokens == page;
  return marked || is_pinned(policy_, page, tables.length);
}

void SequenceLevels::apply(const PageTables& tables, const kernels::KernelTable& kernels, Instant now) {
  const int whole = tables.length / kernels::kPageTokens;
  attention_.fold(whole);
  if (attention_.latest_tokens() > 0) see_loss(tables);
  // Pages that are full, and pages that the window has passed.
  const int passed = std::max(0, tables.length - policy_.recent_window) / kernels::kPageTokens;
  const bool moved_on = chosen_pages_ != whole || chosen_passed_ != passed;
  if (policy_.mode == KvMode::kF16 && !moved_on) return;
  if (moved_on) {
    prepare(tables, kernels);
    choose(tables);
    chosen_pages_ = whole;
    chosen_passed_ = passed;
    settled_ = false;
  }
  if (!settled_ || evicted_ > 0) move_pages(tables, kernels, now);
}

namespace {

// What pages of one layer got of the attention of some tokens, and what that costs.
struct SeenPart {
  double mass = 0, loss = 0;
  void add(double page_mass, double cost) {
    mass += page_mass;
    loss += page_mass * cost;
  }
};

bool is_seen(Level level) { return level == Level::k8 || level == Level::k4; }

}  // namespace

// What the tokens that were just observed gave to lowered pages: these are still at the levels that they were seen at.
void SequenceLevels::see_loss(const PageTables& tables) {
  double held = 0, planned = 0;
  bool any = seen_tokens_ > 0;
  for (int layer = 0; layer < static_cast<int>(windows_.size()); ++layer) {
    if (!is_moved(layer)) continue;
    SeenPart of_held, of_planned;
    for (int page = 0; page < tables.length / kernels::kPageTokens; ++page) {
      const PageId id = tables.id(layer, page);
      const Level level = pool_->level(id), plan = planned_level(id, wanted_[at(layer, page)]);
      const double mass = attention_.latest_mass(layer, page);
      if (is_seen(level)) of_held.add(mass, usual_cost_of(layer, level));
      if (is_seen(plan)) of_planned.add(mass, usual_cost_of(layer, plan));
      any = any || is_seen(level);
    }
    held += of_held.mass * of_held.loss / static_cast<double>(windows_.size());
    planned += of_planned.mass * of_planned.loss / static_cast<double>(windows_.size());
  }
  if (!any) return;
  // The first few count the same.
  const int tokens = attention_.latest_tokens();
  const double before = static_cast<double>(seen_tokens_) / (seen_tokens_ + tokens);
  const double keep = std::min(before, std::pow(kSeenKeep, tokens));
  held_.seen = held_.seen * keep + held * (1 - keep);
  planned_.seen = planned_.seen * keep + planned * (1 - keep);
  seen_tokens_ = std::min(seen_tokens_ + tokens, 1 << 20);
}

// Pages at 16 bits that may be lowered are tried at the levels below.
void SequenceLevels::prepare(const PageTables& tables, const kernels::KernelTable& kernels) {
  if (policy_.mode == KvMode::kF16) return;
  for (int page = 0; page < tables.length / kernels::kPageTokens; ++page) {
    if (is_fixed(tables, page)) continue;
    for (int layer = 0; layer < static_cast<int>(windows_.size()); ++layer) {
      const PageId id = tables.id(layer, page);
      if (!is_moved(layer) || pool_->level(id) != Level::k16 || tried_[at(layer, page)] != 0) continue;
      tried_[at(layer, page)] = 1;
      pool_->make_planes(id, kernels);
      try_levels(tables, layer, page, kernels);
    }
  }
}

void SequenceLevels::try_levels(const PageTables& tables, int layer, int page, const kernels::KernelTable& kernels) {
  const PageId id = tables.id(layer, page);
  LayerTrials& trials = trials_[static_cast<size_t>(layer)];
  for (ProbeSum& sum : trials) sum = {sum.change * kTriedKeep, sum.attention * kTriedKeep, sum.usual * kTriedKeep};
  for (int head = 0; head < pool_->shape().kv_heads; ++head) {
    const kernels::AttentionPage before = pool_->part_at(id, head, Level::k16);
    for (const Level level : {Level::k8, Level::k4, Level::kEvicted}) {
      probe_.add(attention_, layer, head, page * kernels::kPageTokens, {before, pool_->part_at(id, head, level)},
                 model_->scores, kernels, &trials[index_of(level)]);
    }
  }
}

// What a level costs a page of the layer that gets all of the attention.
double SequenceLevels::cost_of(int layer, Level level) const {
  const ProbeSum& sum = trials_[static_cast<size_t>(layer)][index_of(level)];
  const double cost = sum.attention > 0 ? sum.change / sum.attention : kAssumedLoss[index_of(level)];
  return level == Level::kEvicted ? kUnforeseen * cost : cost;
}

double SequenceLevels::usual_cost_of(int layer, Level level) const {
  const ProbeSum& sum = trials_[static_cast<size_t>(layer)][index_of(level)];
  return sum.attention > 0 ? sum.usual / sum.attention : kAssumedLoss[index_of(level)];
}

double SequenceLevels::mass_of(int layer, int page, int pages) const {
  const PageStats stats = attention_.stats(layer, page);
  const double average = 1.0 / std::max(1, pages), rows = static_cast<double>(stats.rows);
  return (rows * static_cast<double>(stats.mass) + kPriorRows * average) / (rows + kPriorRows);
}

float SequenceLevels::loss_at(int layer, int page, int pages, Level level) const {
  return static_cast<float>(cost_of(layer, level) * mass_of(layer, page, pages) / static_cast<double>(windows_.size()));
}

PageChoice SequenceLevels::describe(const PageTables& tables, int layer, int page) const {
  const PageId id = tables.id(layer, page);
  PageChoice choice;
  choice.level = pool_->level(id);
  choice.highest = choice.level == Level::k16 ? Level::k16 : pool_->highest(id);
  const bool evictable =
      may_evict(policy_) && pool_->readers(id) == 1 && (pool_->disk_is_good() || policy_.memory_limit_bytes > 0);
  choice.lowest = is_floored(layer) ? Level::k8 : evictable ? Level::kEvicted : Level::k4;
  if (choice.lowest < choice.highest) choice.lowest = choice.highest;
  choice.importance = static_cast<float>(
      importance(policy_.weights, attention_.stats(layer, page), page, tables.length / kernels::kPageTokens));
  const int whole = tables.length / kernels::kPageTokens;
  for (size_t level = 1; level < kLevelCount; ++level) {
    choice.loss[level] = std::max(choice.loss[level - 1], loss_at(layer, page, whole, static_cast<Level>(level)));
  }
  return choice;
}

LevelLimits SequenceLevels::limits(const PageTables& tables, size_t choices) const {
  LevelLimits limits;
  for (size_t level = 0; level < kLevelCount; ++level) {
    limits.page_bytes[level] = pool_->shape().page_bytes(static_cast<Level>(level));
  }
  const auto f16 = static_cast<double>(pool_->shape().page_bytes_f16());
  limits.bytes = static_cast<uint64_t>(byte_share(policy_) * f16 * static_cast<double>(choices));
  if (may_evict(policy_)) {  // Room for what comes back before levels are chosen again.
    limits.bytes -= std::min(limits.bytes, windows_.size() * limits.page_bytes[index_of(Level::k4)]);
  }
  limits.hard_bytes = std::numeric_limits<uint64_t>::max();
  if (policy_.memory_limit_bytes > 0) {
    // What is not chosen has 16 bits and counts too.
    uint64_t all = 0;
    for (int layer = 0; layer < static_cast<int>(windows_.size()); ++layer) {
      for (int page = 0; page < tables.end; ++page) all += tables.id(layer, page) != kNoPage ? 1 : 0;
    }
    const uint64_t pinned = (all - choices) * limits.page_bytes[index_of(Level::k16)];
    limits.hard_bytes = policy_.memory_limit_bytes - std::min(policy_.memory_limit_bytes, pinned);
    limits.bytes = std::min(limits.bytes, limits.hard_bytes);
  }
  limits.pressure = policy_.pressure;
  limits.loss = std::numeric_limits<double>::infinity();
  if (policy_.loss_limit && model_->loss_to_divergence && *model_->loss_to_divergence > 0) {
    limits.loss = *policy_.loss_limit / *model_->loss_to_divergence;
  }
  limits.thresholds = policy_.thresholds;
  return limits;
}

void SequenceLevels::look_for(int layer, int page, double share) {
  if (share < kRecallShare) return;
  int none = -1;
  wanted_back_[static_cast<size_t>(layer)].compare_exchange_strong(none, page, std::memory_order_relaxed);
}

void SequenceLevels::choose(const PageTables& tables) {
  for (size_t layer = 0; layer < windows_.size(); ++layer) wanted_back_[layer].store(-1, std::memory_order_relaxed);
  const int whole = tables.length / kernels::kPageTokens;
  choices_.clear();
  for (int layer = 0; layer < static_cast<int>(windows_.size()); ++layer) {
    for (int page = 0; page < whole; ++page) {
      wanted_[at(layer, page)] = Level::k16;
      if (is_moved(layer) && !is_fixed(tables, page)) choices_.push_back(describe(tables, layer, page));
    }
  }
  if (is_tiered(policy_.mode)) {
    chooser_.choose(choices_, limits(tables, choices_.size()));
  } else {
    for (PageChoice& choice : choices_) choice.wanted = fixed_level(policy_.mode);
  }
  size_t next = 0;
  for (int layer = 0; layer < static_cast<int>(windows_.size()); ++layer) {
    for (int page = 0; page < whole; ++page) {
      if (!is_moved(layer) || is_fixed(tables, page)) continue;
      wanted_[at(layer, page)] = choices_[next++].wanted;
    }
  }
}

// `wanted`, or the nearest to it that the page can have.
Level SequenceLevels::reachable(PageId id, Level wanted) const {
  if (pool_->readers(id) > 1) wanted = std::min(wanted, Level::k4);
  return pool_->level(id) == Level::k16 ? wanted : std::max(wanted, pool_->highest(id));
}

// A page that cannot be raised may have been lowered by a policy that asked for less.
Level SequenceLevels::planned_level(PageId id, Level wanted) const {
  const bool has_choice = pool_->level(id) == Level::k16 || wanted != pool_->highest(id);
  return has_choice ? wanted : std::min(wanted, usual_level(policy_, pool_->shape()));
}

// Two levels down in one go, as far as nothing has to wait. A page that stays at 16 bits needs no planes: they are made
// again, the same, when it goes.
void SequenceLevels::move_page(PageId id, Level target, const kernels::KernelTable& kernels, Instant now) {
  if (pool_->level(id) == Level::k16) {
    if (target == Level::k16) return pool_->drop_planes(id);
    pool_->make_planes(id, kernels);
  }
  for (bool moved = true; moved && pool_->level(id) != target && !pool_->is_moving(id);) {
    const Level before = pool_->level(id);
    pool_->move(id, target, policy_.memory_limit_bytes > 0, now);
    moved = pool_->level(id) != before;
  }
}

void SequenceLevels::add_loss(int layer, int page, int pages, Level level, Loss& sum) const {
  if (level == Level::k16) return;
  const auto loss = static_cast<double>(loss_at(layer, page, pages, level));
  sum.expected += loss;
  sum.evicted += level == Level::kEvicted ? loss : 0;
}

void SequenceLevels::move_pages(const PageTables& tables, const kernels::KernelTable& kernels, Instant now) {
  settled_ = true;
  evicted_ = 0;
  held_.expected = held_.evicted = planned_.expected = planned_.evicted = 0;
  const int whole = tables.length / kernels::kPageTokens;
  for (int layer = 0; layer < static_cast<int>(windows_.size()); ++layer) {
    if (!is_moved(layer)) continue;
    const int back = wanted_back_[static_cast<size_t>(layer)].load(std::memory_order_relaxed);
    for (int page = 0; page < whole; ++page) {
      const PageId id = tables.id(layer, page);
      Level& wanted = wanted_[at(layer, page)];
      if (page == back) wanted = std::min(wanted, Level::k4);
      const Level target = reachable(id, wanted);
      move_page(id, target, kernels, now);
      const Level level = pool_->level(id);
      settled_ = settled_ && level == target;
      evicted_ += level == Level::kEvicted ? 1 : 0;
      add_loss(layer, page, whole, level, held_);
      add_loss(layer, page, whole, planned_level(id, wanted), planned_);
    }
  }
}

}  // namespace infer::kv
