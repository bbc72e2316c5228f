// Reads the keys of one architecture ("llama.block_count") with bounds, so that every refusal names key, bound and
// value. Ownership: borrows the file. Thread safety: const.
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "base/format.h"
#include "base/result.h"
#include "gguf/file.h"

namespace infer::model {

class MetadataReader {
 public:
  MetadataReader(const gguf::File& file, std::string_view architecture) : file_(file), prefix_(architecture) {
    prefix_ += '.';
  }

  const gguf::File& file() const { return file_; }
  std::string key(std::string_view name) const { return prefix_ + std::string(name); }
  bool has(std::string_view name) const { return file_.find(key(name)) != nullptr; }

  // An integer in [1, most].
  Result<int> dimension(std::string_view name, int most) const {
    INFER_ASSIGN(const uint32_t value, file_.get_u32(key(name)));
    return bounded(name, value, most);
  }
  Result<int> dimension_or(std::string_view name, int fallback, int most) const {
    return has(name) ? dimension(name, most) : bounded(name, static_cast<uint32_t>(fallback), most);
  }

  // A finite number above 0.
  Result<float> positive(std::string_view name) const {
    INFER_ASSIGN(const float value, file_.get_f32(key(name)));
    if (std::isfinite(value) && value > 0) return value;
    return Error{ErrorCode::kCorrupt, format("metadata key {} must be a number above 0, but is {}", key(name), value)};
  }
  Result<float> positive_or(std::string_view name, float fallback) const {
    return has(name) ? positive(name) : Result<float>(fallback);
  }

  // A finite number, 0 or above; for switches that 0 turns off.
  Result<float> not_negative_or(std::string_view name, float fallback) const {
    INFER_ASSIGN(const float value, file_.get_f32_or(key(name), fallback));
    return value == 0 ? Result<float>(0.0f) : positive_or(name, fallback);
  }

 private:
  Result<int> bounded(std::string_view name, uint32_t value, int most) const {
    if (value >= 1 && value <= static_cast<uint32_t>(most)) return static_cast<int>(value);
    return Error{ErrorCode::kCorrupt,
                 format("metadata key {} must be from 1 to {}, but is {}", key(name), most, value)};
  }

  const gguf::File& file_;
  std::string prefix_;
};

}  // namespace infer::model
