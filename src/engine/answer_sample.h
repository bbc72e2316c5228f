// What a request leaves behind so that the quality of its answer can be checked later: its tokens, how likely the model
// found them, and some whole rows of logits, as the KV cache in use gave them.
//
// It stays in memory and is never stored. Rows are taken at places that lie evenly over the answer, however long that
// becomes. Thread safety: plain values.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace infer::engine {

struct AnswerSample {
  struct Score {
    int position = 0;  // Of the token in `tokens`.
    float nll = 0;     // Its negative log-likelihood, in nats.
  };
  struct Row {
    int position = 0;           // Of the token that was chosen from it.
    std::vector<float> logits;  // [vocabulary]
    // The divergence that the cache expected of its lowered pages then, in nats; 0: none, or unknown.
    double expected = 0;
  };

  std::vector<TokenId> tokens;  // Prompt and answer.
  std::vector<Score> scores;    // In order of position.
  std::vector<Row> rows;        // Likewise.

  int arm = -1;  // RequestResult::arm.
  size_t rows_max = 0;
  int row_distance = 8;  // Tokens of the answer from one row to the next, at least.

  void add(int position, float nll, std::span<const float> logits, double expected) {
    scores.push_back({position, nll});
    if (rows_max == 0 || !is_far(position)) return;
    if (rows.size() == rows_max) thin_out();
    if (!is_far(position)) return;
    rows.push_back({position, {logits.begin(), logits.end()}, expected});
    scores_at_row_ = scores.size();
  }

 private:
  // A row is a copy of all logits: not of each score, where few tokens have one.
  bool is_far(int position) const {
    return rows.empty() || (position >= rows.back().position + row_distance && scores.size() >= scores_at_row_ + 2);
  }
  void thin_out() {
    for (size_t i = 0; 2 * i < rows.size(); ++i) {
      if (i > 0) rows[i] = std::move(rows[2 * i]);
    }
    rows.resize((rows.size() + 1) / 2);
    row_distance *= 2;
  }

  size_t scores_at_row_ = 0;  // How many there were with the last one.
};

}  // namespace infer::engine
