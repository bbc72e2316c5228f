// Which experts of a mixture compute which rows of a step: chosen by the router's logits, then sorted by expert, so
// that each expert's weights are read once and those of experts that nobody chose never. Thread safety: one thread
// builds a plan; reading is const.
#pragma once

#include <span>
#include <vector>

#include "model/model_config.h"

namespace infer::model {

struct ExpertShare {
  int expert;
  float weight;  // Of its output.
};

// The `chosen.size()` experts with the greatest logits, best first (of equals the first), and their weights.
void choose_experts(std::span<const float> logits, ExpertWeighting weighting, float scale,
                    std::span<ExpertShare> chosen);

class ExpertPlan {
 public:
  // A row that an expert computes.
  struct Entry {
    int row;
    int expert;
    float weight;
  };

  // Room for `rows` rows of `used` out of `experts` experts each; the others allocate nothing.
  ExpertPlan(int rows, int experts, int used);

  // shares: [rows][used].
  void build(std::span<const ExpertShare> shares);

  // Sorted by expert, those of an expert by row.
  std::span<const Entry> entries() const { return entries_; }
  // Experts that somebody chose, ascending.
  std::span<const int> active() const { return active_; }
  int begin(int expert) const { return begins_[static_cast<size_t>(expert)]; }
  int count(int expert) const { return begin(expert + 1) - begin(expert); }
  // Where in entries() a row's choice number `slot` is.
  int entry_of(int row, int slot) const { return places_[static_cast<size_t>(row * used_ + slot)]; }

 private:
  int used_;
  std::vector<Entry> entries_;
  std::vector<int> places_;
  std::vector<int> begins_;  // [experts + 1]
  std::vector<int> next_;    // [experts]
  std::vector<int> active_;
};

}  // namespace infer::model
