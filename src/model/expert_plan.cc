#include "model/expert_plan.h"

#include <algorithm>
#include <cmath>

namespace infer::model {

void choose_experts(std::span<const float> logits, ExpertWeighting weighting, float scale,
                    std::span<ExpertShare> chosen) {
  // As many passes as are chosen: a handful, and whatever the logits are (NaN, too), each pass finds one.
  for (size_t slot = 0; slot < chosen.size(); ++slot) {
    int best = -1;
    for (int expert = 0; expert < static_cast<int>(logits.size()); ++expert) {
      const auto taken = chosen.first(slot);
      if (std::any_of(taken.begin(), taken.end(), [&](const ExpertShare& s) { return s.expert == expert; })) continue;
      if (best < 0 || logits[static_cast<size_t>(expert)] > logits[static_cast<size_t>(best)]) best = expert;
    }
    chosen[slot] = {best, logits[static_cast<size_t>(best)]};
  }
  const double most = static_cast<double>(chosen.front().weight);
  const auto relative = [most](float logit) { return std::exp(static_cast<double>(logit) - most); };
  double sum = 0;
  if (weighting == ExpertWeighting::kOfAll) {
    for (const float logit : logits) sum += relative(logit);
  } else {
    for (const ExpertShare& share : chosen) sum += relative(share.weight);
  }
  for (ExpertShare& share : chosen) {
    share.weight = static_cast<float>(relative(share.weight) / sum * static_cast<double>(scale));
  }
}

ExpertPlan::ExpertPlan(int rows, int experts, int used) : used_(used) {
  const auto entries = static_cast<size_t>(rows) * static_cast<size_t>(used);
  entries_.reserve(entries);
  places_.reserve(entries);
  begins_.resize(static_cast<size_t>(experts) + 1);
  next_.resize(static_cast<size_t>(experts));
  active_.reserve(static_cast<size_t>(experts));
}

void ExpertPlan::build(std::span<const ExpertShare> shares) {
  std::fill(begins_.begin(), begins_.end(), 0);
  for (const ExpertShare& share : shares) ++begins_[static_cast<size_t>(share.expert) + 1];
  active_.clear();
  for (size_t expert = 0; expert < next_.size(); ++expert) {
    if (begins_[expert + 1] > 0) active_.push_back(static_cast<int>(expert));
    begins_[expert + 1] += begins_[expert];
    next_[expert] = begins_[expert];
  }
  entries_.resize(shares.size());
  places_.resize(shares.size());
  for (size_t i = 0; i < shares.size(); ++i) {
    const int place = next_[static_cast<size_t>(shares[i].expert)]++;
    entries_[static_cast<size_t>(place)] = {static_cast<int>(i) / used_, shares[i].expert, shares[i].weight};
    places_[i] = place;
  }
}

}  // namespace infer::model
