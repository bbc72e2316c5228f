// What levels the pages of one sequence have, and why: takes in what attention says of them, tries out what lowering
// would change, chooses (kv/level_chooser.h), and moves pages between steps.
//
// A page that leaves the window is tried at 8 bits, at 4 and without (kv/shadow_probe.h), which
// says what each level costs in this layer. The loss expected of a page is that cost times the part of the attention
// that it gets, on average so far. The sum over all pages at the levels that they have, divided by the number of
// layers, is the sequence's expected loss: by it levels are chosen. What was lowered shows more closely in what the
// latest tokens really gave to those pages, whatever these got before: the seen loss (docs/internals/kv.md). Both are
// told of the levels that pages have, and of those that they were chosen to have: a policy is judged by the latter,
// because what an earlier one lowered beyond recall is not its fault. A page
// shared with other sequences is moved for all of them, but never out of memory while two read it. Ownership: borrows
// the pool; its buffers are allocated at construction. Thread safety: attention() within a step as PageAttention says;
// look_for() within a step, from many threads; everything else from one thread, between steps.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/time.h"
#include "kernels/kernel_table.h"
#include "kv/level_chooser.h"
#include "kv/level_policy.h"
#include "kv/page_attention.h"
#include "kv/page_pool.h"
#include "kv/shadow_probe.h"

namespace infer::kv {

// What a model's layers and their attention need to be known for.
struct LevelModel {
  PageAttention::Queries queries;
  ShadowProbe::Scores scores{};
  std::vector<Level> floors;                   // Of each layer: its pages go no lower while memory allows; empty: none.
  std::optional<double> loss_to_divergence;    // Nats a token for an expected loss of 1; unknown until it was measured.
  std::optional<double> seen_to_divergence{};  // Likewise for a seen loss.
};

// The pages of a sequence, [layers][stride]; those before `end` exist.
struct PageTables {
  std::span<const PageId> ids;
  size_t stride;
  int end;
  int length;  // Committed tokens.
  int mark;    // The page that it is in stays at 16 bits.

  PageId id(int layer, int page) const { return ids[static_cast<size_t>(layer) * stride + static_cast<size_t>(page)]; }
};

class SequenceLevels {
 public:
  // windows: of each layer, 0: none. Layers with a window are left alone. pages: for the longest context.
  SequenceLevels(PagePool& pool, std::span<const int> windows, int pages, const LevelModel& model);
  SequenceLevels(const SequenceLevels& other);  // For a fork.

  const LevelPolicy& policy() const { return policy_; }
  void set_policy(const LevelPolicy& policy);
  // Null in the mode without lower levels: nothing need be observed.
  PageAttention* attention() { return policy_.mode == KvMode::kF16 ? nullptr : &attention_; }
  // A token looks at the pages of a layer that are out of memory, if there are any: which of them may matter most to it
  // comes back, when more than a trifle (kRecallShare) of its attention may be missing. One page a layer and 64 tokens.
  bool any_evicted() const { return evicted_ > 0; }
  void look_for(int layer, int page, double share);

  // After a step that was committed; moves pages.
  void apply(const PageTables& tables, const kernels::KernelTable& kernels, Instant now);
  void discard_step() { attention_.discard(); }
  // Pages from this one on are not there any more.
  void forget_from(int page);

  // Expected relative energy of the change of attention outputs.
  double expected_loss() const { return held_.expected; }
  // The same by what the latest tokens gave to lowered pages: in each layer its part of the attention times its
  // expected loss, because errors of a layer's pages go together. Without pages that are out of memory. 0 before there
  // was any.
  double seen_loss() const { return held_.seen; }
  int layers() const { return static_cast<int>(windows_.size()); }
  // What a level costs a page of the layer that gets all of the attention, as far as it was tried.
  double cost_of(int layer, Level level) const;
  // What that means in nats a token, where the model's factor is known: by the seen loss as soon as there is one.
  std::optional<double> expected_divergence() const { return divergence_of(held_); }
  // The same if all pages had the levels that were chosen for them; where there was no choice, the mode's usual one.
  std::optional<double> planned_divergence() const { return divergence_of(planned_); }

 private:
  struct Loss {
    double expected = 0;
    double evicted = 0;  // Of it, what is out of memory.
    double seen = 0;
  };
  // What was tried in a layer, at each level; the latest pages count most.
  using LayerTrials = std::array<ProbeSum, kLevelCount>;

  size_t at(int layer, int page) const {
    return static_cast<size_t>(layer) * static_cast<size_t>(pages_) + static_cast<size_t>(page);
  }
  bool is_moved(int layer) const { return windows_[static_cast<size_t>(layer)] == 0; }
  bool is_floored(int layer) const {
    return !model_->floors.empty() && model_->floors[static_cast<size_t>(layer)] == Level::k8;
  }
  bool is_fixed(const PageTables& tables, int page) const;
  void try_levels(const PageTables& tables, int layer, int page, const kernels::KernelTable& kernels);
  double usual_cost_of(int layer, Level level) const;  // The same without what is rare.
  double mass_of(int layer, int page, int pages) const;
  float loss_at(int layer, int page, int pages, Level level) const;
  void add_loss(int layer, int page, int pages, Level level, Loss& sum) const;
  PageChoice describe(const PageTables& tables, int layer, int page) const;
  LevelLimits limits(const PageTables& tables, size_t choices) const;
  void see_loss(const PageTables& tables);
  std::optional<double> divergence_of(const Loss& loss) const;
  void prepare(const PageTables& tables, const kernels::KernelTable& kernels);
  void choose(const PageTables& tables);
  Level reachable(PageId id, Level wanted) const;
  Level planned_level(PageId id, Level wanted) const;
  void move_page(PageId id, Level target, const kernels::KernelTable& kernels, Instant now);
  void move_pages(const PageTables& tables, const kernels::KernelTable& kernels, Instant now);

  PagePool* pool_;
  std::vector<int> windows_;
  int pages_;
  const LevelModel* model_;
  LevelPolicy policy_;
  PageAttention attention_;
  ShadowProbe probe_;
  LevelChooser chooser_;
  std::vector<LayerTrials> trials_;                  // [layers]
  std::vector<uint8_t> tried_;                       // [layers][pages]: whether it is in trials_.
  std::vector<Level> wanted_;                        // [layers][pages]: chosen last.
  std::unique_ptr<std::atomic<int>[]> wanted_back_;  // [layers]: a page, or -1.
  std::vector<PageChoice> choices_;                  // Of the pages that may be moved, in order of layer and page.
  int chosen_pages_ = -1;                            // Whole pages when levels were chosen; -1: choose anew.
  int chosen_passed_ = -1;
  bool settled_ = true;  // All pages have the level that was chosen.
  int evicted_ = 0;
  Loss held_, planned_;
  int seen_tokens_ = 0;  // Observed since pages were lowered by this policy.
};

}  // namespace infer::kv
