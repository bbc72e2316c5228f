#include "model/weights.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "kernels/packed_row.h"
#include "kernels/panels.h"
#include "kernels/reference.h"
#include "os/process_facts.h"

namespace infer::model {

namespace {

// Repacked between two looks at the deadline, and what of the file may be resident beside the copy.
constexpr size_t kBatchBytes = size_t{32} << 20;
// Panels handed to a thread at a time: their rows lie together in the file.
constexpr int kPanelsPerPiece = 4;

struct Packing {
  const MatrixTensor* source;
  Matrix* target;
};

class WeightLoader {
 public:
  WeightLoader(const gguf::File& file, const kernels::KernelTable& kernels, os::ThreadPool& pool,
               const CallContext& call, const std::function<void(double)>& progress)
      : file_(file), kernels_(kernels), pool_(pool), call_(call), progress_(progress) {}

  Status load_all(const std::vector<Packing>& matrices, const RepackCache* cache, Weights& weights) {
    if (cache == nullptr) return pack_all(matrices, weights);
    std::vector<PackedMatrix> layout;
    for (const Packing& matrix : matrices) {
      layout.push_back({matrix.source->weight, matrix.source->rows, matrix.source->cols});
    }
    RepackCache::Key key = RepackCache::make_key(file_, layout, kernels_);
    INFER_ASSIGN(std::optional<RepackCache::Found> found, cache->open(key, pool_, call_, progress_));
    if (found) {
      weights.panel_file = std::move(found->file);
      set_panels(matrices, found->panels, weights);
      return {};
    }
    const Duration before = os::cpu_time_used();
    INFER_TRY(pack_all(matrices, weights));
    const double seconds = (os::cpu_time_used() - before).seconds() / pool_.threads();
    const std::optional<std::string> reason = cache->reason_not_to_store(key, seconds);
    if (!reason) {
      weights.to_store = std::move(key);
    } else {
      // Who asked for the cache by name wants to know.
      const LogLevel level = cache->options().always ? LogLevel::kWarning : LogLevel::kDebug;
      cache->log().write(level, "the repacked weights are not kept: " + *reason);
    }
    return {};
  }

 private:
  Status pack_all(const std::vector<Packing>& matrices, Weights& weights) {
    size_t total = 0;
    for (const Packing& matrix : matrices) total += packed_bytes(*matrix.source);
    INFER_ASSIGN(weights.panel_memory, os::PageMemory::allocate(total));
    size_t offset = 0;
    for (const Packing& matrix : matrices) {
      INFER_TRY(pack(*matrix.source, weights.panel_memory.data() + offset, offset, total));
      offset += packed_bytes(*matrix.source);
    }
    set_panels(matrices, {weights.panel_memory.data(), total}, weights);
    return {};
  }

  static void set_panels(const std::vector<Packing>& matrices, std::span<const std::byte> panels, Weights& weights) {
    weights.panels = panels;
    const std::byte* data = panels.data();
    for (const Packing& matrix : matrices) {
      matrix.target->panels = {
          .type = matrix.source->weight->type, .rows = matrix.source->rows, .cols = matrix.source->cols, .data = data};
      data += packed_bytes(*matrix.source);
    }
  }

  static size_t packed_bytes(const MatrixTensor& matrix) {
    return kernels::packed_bytes(matrix.weight->type, matrix.rows, matrix.cols);
  }

  // One matrix, a batch of panels at a time. `done` of `total` bytes were packed before it.
  Status pack(const MatrixTensor& matrix, std::byte* target, size_t done, size_t total) {
    const gguf::Tensor& tensor = *matrix.weight;
    const size_t panel_bytes = kernels::panel_bytes(tensor.type, matrix.cols);
    const size_t row_bytes = kernels::row_bytes(tensor.type, matrix.cols);
    const size_t skipped = static_cast<size_t>(matrix.first_row) * row_bytes;
    const int panels = kernels::panel_count(matrix.rows);
    const auto part_of_file = [&](int first_panel, int last_panel) {
      return rows_of(tensor, row_bytes, matrix.first_row + first_panel * kernels::kPanelRows,
                     matrix.first_row + std::min(matrix.rows, last_panel * kernels::kPanelRows));
    };
    const int batch = static_cast<int>(std::clamp<size_t>(kBatchBytes / panel_bytes, 1, static_cast<size_t>(panels)));
    for (int begin = 0; begin < panels; begin += batch) {
      INFER_TRY(call_.check("loading the weights"));
      const int end = std::min(panels, begin + batch);
      const auto pieces = static_cast<size_t>((end - begin + kPanelsPerPiece - 1) / kPanelsPerPiece);
      pool_.run(pieces, [&](size_t piece, int) {
        const int first = begin + static_cast<int>(piece) * kPanelsPerPiece;
        const int last = std::min(end, first + kPanelsPerPiece);
        file_.make_resident(part_of_file(first, last));
        kernels_.pack_panels(tensor.type, tensor.data.data() + skipped, matrix.rows, matrix.cols, first, last, target);
      });
      file_.drop_resident(part_of_file(begin, end));
      if (progress_) {
        progress_(static_cast<double>(done + static_cast<size_t>(end) * panel_bytes) / static_cast<double>(total));
      }
    }
    return {};
  }

  static gguf::Tensor rows_of(const gguf::Tensor& tensor, size_t row_bytes, int begin, int end) {
    gguf::Tensor part = tensor;
    part.data =
        tensor.data.subspan(static_cast<size_t>(begin) * row_bytes, static_cast<size_t>(end - begin) * row_bytes);
    return part;
  }

  const gguf::File& file_;
  const kernels::KernelTable& kernels_;
  os::ThreadPool& pool_;
  const CallContext& call_;
  const std::function<void(double)>& progress_;
};

// Norms, biases and factors, one behind the other.
void load_vectors(const ModelTensors& tensors, Weights& weights) {
  std::vector<VectorTensor> sources;
  for_each_vector(tensors, [&](const VectorTensor& source) { sources.push_back(source); });
  size_t count = 0;
  for (const VectorTensor& source : sources) count += static_cast<size_t>(source.count);
  weights.floats.resize(count);

  size_t index = 0, offset = 0;
  for_each_vector(weights, [&](std::span<const float>& target) {
    const auto& [source, begin, elements] = sources[index++];
    if (source == nullptr) return;
    const std::span<float> copy = std::span(weights.floats).subspan(offset, static_cast<size_t>(elements));
    const std::byte* from = source->data.data() + kernels::row_bytes(source->type, begin);
    kernels::dequantize_row(source->type, from, elements, copy.data());
    target = copy;
    offset += copy.size();
  });
}

void read_row(const gguf::Tensor& tensor, int row, float* out) {
  const int cols = static_cast<int>(tensor.dims[0]);
  const size_t row_bytes = kernels::row_bytes(tensor.type, cols);
  kernels::dequantize_row(tensor.type, tensor.data.data() + static_cast<size_t>(row) * row_bytes, cols, out);
}

}  // namespace

void Weights::embed(TokenId token, float* out) const {
  if (tied) return kernels::dequantize_packed_row(output.panels, token, out);
  read_row(*embeddings, token, out);
}

void Weights::embed_position(int position, float* out) const { read_row(*positions, position, out); }

Result<Weights> load_weights(const gguf::File& file, const ModelTensors& tensors, const kernels::KernelTable& kernels,
                             os::ThreadPool& pool, const CallContext& call, const RepackCache* cache,
                             const std::function<void(double fraction)>& progress) {
  Weights weights;
  weights.embeddings = tensors.embeddings;
  weights.tied = tensors.embeddings == tensors.output.weight;
  weights.positions = tensors.positions;
  weights.layers.resize(tensors.layers.size());
  for (size_t i = 0; i < tensors.layers.size(); ++i) {
    weights.layers[i].experts.resize(tensors.layers[i].experts.size());
  }
  load_vectors(tensors, weights);

  std::vector<Packing> matrices;
  for_each_matrix_slot(tensors, [&](const MatrixTensor& source) { matrices.push_back({&source, nullptr}); });
  size_t index = 0;
  for_each_matrix_slot(weights, [&](Matrix& target) { matrices[index++].target = &target; });
  std::erase_if(matrices, [](const Packing& matrix) { return is_absent(*matrix.source); });
  INFER_TRY(WeightLoader(file, kernels, pool, call, progress).load_all(matrices, cache, weights));
  return weights;
}

}  // namespace infer::model
