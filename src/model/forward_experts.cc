// The feed-forward half of a layer with a mixture of experts: a router chooses for each row a few experts, each expert
// computes all its rows together, and the results are added to their rows in the order of the choice. What an expert
// computes for a row depends on nothing else, so the bits stay independent of the batch.
#include <cstring>

#include "kernels/panels.h"
#include "model/forward.h"

namespace infer::model {

void Forward::run_experts(const LayerWeights& layer, int rows, const Due& due) {
  choose_experts_of_rows(layer, rows, due);
  multiply_gate_up(layer);
  multiply_down(layer);
  join_experts(layer, rows);
}

void Forward::choose_experts_of_rows(const LayerWeights& layer, int rows, const Due& due) {
  const auto width_stride = static_cast<size_t>(buffers_.width_stride);
  const auto router_stride = static_cast<size_t>(buffers_.router_stride);
  const Inputs inputs = pack(rows, config_.width, {&layer.router}, [&](int row, float*) {
    settle(row, due);
    const size_t at = static_cast<size_t>(row) * width_stride;
    float* const kept = buffers_.normalized + at;
    const float* normalized = normalize(layer.ffn_norm, buffers_.residual + at, config_.width, kept);
    if (normalized != kept) std::memcpy(kept, normalized, static_cast<size_t>(config_.width) * sizeof(float));
    return kept;
  });
  multiply({{&inputs, &layer.router, buffers_.router_logits, buffers_.router_stride, false}});

  const auto used = static_cast<size_t>(config_.experts.used);
  expert_shares_.resize(static_cast<size_t>(rows) * used);
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
    float* const logits = buffers_.router_logits + row * router_stride;
    add_bias(layer.router, logits);
    choose_experts({logits, static_cast<size_t>(config_.experts.count)}, config_.experts.weighting,
                   config_.experts.scale, std::span(expert_shares_).subspan(row * used, used));
  }
  expert_plan_.build(expert_shares_);
}

// Inputs of each active expert's products; fill(entry, scratch) gives the vector of an entry of the plan.
template <class Fill>
void Forward::pack_for_experts(int cols, std::initializer_list<const Matrix*> matrices, Fill&& fill) {
  const Inputs kinds = inputs_for(matrices);
  std::byte* int8 = buffers_.inputs_int8;
  std::byte* f32 = buffers_.inputs_f32;
  for (const int expert : expert_plan_.active()) {
    Inputs& inputs = expert_inputs_[static_cast<size_t>(expert)];
    const int count = expert_plan_.count(expert);
    inputs = kinds;
    if (kinds.has_int8) {
      inputs.int8 = kernels::activation_view(int8, true, count, cols);
      int8 += kernels::activation_bytes(true, count, cols);
    }
    if (kinds.has_f32) {
      inputs.f32 = kernels::activation_view(f32, false, count, cols);
      f32 += kernels::activation_bytes(false, count, cols);
    }
  }
  const auto entries = expert_plan_.entries();
  for_each_row(static_cast<int>(entries.size()), kernels_.token_tile, [&](int index, int thread) {
    const ExpertPlan::Entry& entry = entries[static_cast<size_t>(index)];
    const float* vector = fill(index, buffers_.per_thread[static_cast<size_t>(thread)].row);
    pack_row(vector, index - expert_plan_.begin(entry.expert), expert_inputs_[static_cast<size_t>(entry.expert)]);
  });
}

void Forward::multiply_gate_up(const LayerWeights& layer) {
  const ExpertWeights& any = layer.experts.front();
  pack_for_experts(config_.width, {&any.gate, &any.up}, [&](int index, float*) {
    const ExpertPlan::Entry& entry = expert_plan_.entries()[static_cast<size_t>(index)];
    return buffers_.normalized + static_cast<size_t>(entry.row) * static_cast<size_t>(buffers_.width_stride);
  });
  const int stride = 2 * buffers_.ffn_stride;
  expert_products_.clear();
  for (const int expert : expert_plan_.active()) {
    const auto at = static_cast<size_t>(expert);
    float* const out = buffers_.gate_up + static_cast<size_t>(expert_plan_.begin(expert)) * static_cast<size_t>(stride);
    const ExpertWeights& weights = layer.experts[at];
    expert_products_.push_back({&expert_inputs_[at], &weights.gate, out, stride, false});
    expert_products_.push_back({&expert_inputs_[at], &weights.up, out + buffers_.ffn_stride, stride, false});
  }
  multiply(expert_products_);
}

void Forward::multiply_down(const LayerWeights& layer) {
  pack_for_experts(config_.ffn_width, {&layer.experts.front().down}, [&](int index, float* scratch) {
    const ExpertPlan::Entry& entry = expert_plan_.entries()[static_cast<size_t>(index)];
    return activate(layer.experts[static_cast<size_t>(entry.expert)], index, scratch);
  });
  expert_products_.clear();
  for (const int expert : expert_plan_.active()) {
    const auto at = static_cast<size_t>(expert);
    float* const out = buffers_.expert_out +
                       static_cast<size_t>(expert_plan_.begin(expert)) * static_cast<size_t>(buffers_.width_stride);
    expert_products_.push_back({&expert_inputs_[at], &layer.experts[at].down, out, buffers_.width_stride, false});
  }
  multiply(expert_products_);
}

void Forward::join_experts(const LayerWeights& layer, int rows) {
  const auto stride = static_cast<size_t>(buffers_.width_stride);
  const bool apart = config_.post_norms;
  for_each_row(rows, kStoreGrain, [&](int row, int) {
    float* const target = (apart ? buffers_.branch : buffers_.residual) + static_cast<size_t>(row) * stride;
    if (apart) std::memset(target, 0, stride * sizeof(float));
    for (int slot = 0; slot < config_.experts.used; ++slot) {
      const auto index = static_cast<size_t>(expert_plan_.entry_of(row, slot));
      const ExpertPlan::Entry& entry = expert_plan_.entries()[index];
      float* const out = buffers_.expert_out + index * stride;
      add_bias(layer.experts[static_cast<size_t>(entry.expert)].down, out);
      kernels_.scale(entry.weight, config_.width, out);
      kernels_.add(out, config_.width, target);
    }
  });
  if (!apart) return;
  due_.branch = &layer.dense.down;  // Absent: nothing of a bias is left to add.
  due_.branch_norm = &layer.ffn_post_norm;
}

}  // namespace infer::model
