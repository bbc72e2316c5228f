// Rotary angles: cosines and sines of a position, for each pair of coordinates that rotate.
// Thread safety: const after construction.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "model/model_config.h"

namespace infer::model {

class RopeTable {
 public:
  // `factors` divide the frequencies (Llama 3's and Phi 3's long contexts), one per pair; empty: none. kCorrupt when
  // one is not a finite number above 0.
  static Result<RopeTable> make(const RopeConfig& config, std::span<const float> factors);

  int pairs() const { return static_cast<int>(frequencies_.size()); }
  // cosine[pairs()], sine[pairs()] of `position`, times the config's magnitude. Computed in double: at far positions
  // floats no longer know the angle.
  void fill(int position, float* cosine, float* sine) const;

 private:
  std::vector<double> frequencies_;  // Radians per position.
  double magnitude_ = 1.0;
};

}  // namespace infer::model
