// A checked, read-only view of a GGUF file (versions 2 and 3): metadata and tensors, zero-copy.
//
// Invariants, established by open()/parse() before anything is returned, whatever the bytes are:
//  1. Every key, string, array and tensor lies inside the file; no length, product or offset wraps.
//  2. Tensor names and metadata keys are unique; every tensor's type is known, its row a whole number of blocks, its
//  data
//     aligned to general.alignment and as long as its shape says.
//  3. Metadata nesting, counts and string lengths are within the limits of gguf/limits.h.
//  4. Tensors do not overlap, so all of them together are not larger than the file.
// Opening touches only the header: a file of many gigabytes opens in milliseconds.
// Ownership: a File owns its mappings (one per part of a split model) unless made by parse(), which borrows the bytes.
// All views point into them and live as long as the File. Thread safety: const after construction.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/block_formats.h"

namespace infer::gguf {

// The value types of the format, with its ids.
enum class ValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

const char* value_type_name(ValueType type);

// A metadata value: a scalar, a string or an array, as bytes of the file. `bytes` of a scalar are its little-endian
// bytes, of a string its characters, of an array its elements one after the other (strings with their 64-bit length
// before). `element_type` counts only for arrays; `count` is 1 for everything else.
class Value {
 public:
  Value(ValueType type, ValueType element_type, uint64_t count, std::span<const std::byte> bytes)
      : type_(type), element_type_(element_type), count_(count), bytes_(bytes) {}

  ValueType type() const { return type_; }
  // For arrays; nested arrays are refused when the file is opened.
  ValueType element_type() const { return element_type_; }
  uint64_t count() const { return count_; }
  std::span<const std::byte> bytes() const { return bytes_; }

  // Any integer type that fits (and bool as 0/1); any numeric type; else nullopt.
  std::optional<int64_t> as_int() const;
  std::optional<double> as_float() const;
  std::optional<bool> as_bool() const;
  std::optional<std::string_view> as_string() const;

  // Arrays: converted copies, nullopt when the element type does not fit.
  std::optional<std::vector<std::string_view>> as_strings() const;
  std::optional<std::vector<int64_t>> as_ints() const;
  std::optional<std::vector<float>> as_floats() const;

  // "4096", "\"llama\"", "[string x 4096]": one line, at most `max_chars` characters, safe for a terminal.
  std::string to_text(size_t max_chars) const;

 private:
  ValueType type_;
  ValueType element_type_;
  uint64_t count_;
  std::span<const std::byte> bytes_;
};

struct MetadataEntry {
  std::string_view key;
  Value value;
};

struct Tensor {
  std::string_view name;
  kernels::WeightType type;
  uint32_t dim_count;            // 1..4
  std::array<uint64_t, 4> dims;  // dims[0] is the row length (fastest); unused ones are 1.
  std::span<const std::byte> data;
  uint32_t part;  // Which file of a split model.

  uint64_t rows() const { return dims[1] * dims[2] * dims[3]; }
  uint64_t elements() const { return dims[0] * rows(); }
  std::string shape_text() const;  // "[2048, 8192]"
};

class File {
 public:
  // Maps the file; for "...-00001-of-0000N.gguf" also its other parts. Errors name the path.
  static Result<std::unique_ptr<File>> open(const std::string& path);
  // Reads from memory that outlives the File (the embedded model, tests, fuzzing); `name` is for messages.
  // Alignment is that of the file's layout: tensor data is aligned in memory as far as bytes.data() is.
  static Result<std::unique_ptr<File>> parse(std::span<const std::byte> bytes, std::string_view name);

  virtual ~File() = default;

  virtual const std::string& name() const = 0;
  virtual uint32_t version() const = 0;
  virtual uint64_t file_bytes() const = 0;  // All parts together.
  virtual std::span<const MetadataEntry> metadata() const = 0;
  virtual std::span<const Tensor> tensors() const = 0;
  virtual const Value* find(std::string_view key) const = 0;
  virtual const Tensor* find_tensor(std::string_view name) const = 0;
  // The newest of the parts' times of change, as os::FileMap::modified_ns; 0 for parsed memory.
  virtual int64_t modified_ns() const = 0;
  // Maps the bytes of this tensor now, as os::FileMap::make_resident. No effect on parsed memory.
  virtual void make_resident(const Tensor& tensor) const = 0;
  // Tells the system that the mapped bytes of this tensor will not be needed soon: they leave resident memory.
  // No effect on parsed memory.
  virtual void drop_resident(const Tensor& tensor) const = 0;

  // Typed metadata with errors that name key, expectation and finding (kNotFound: absent, kCorrupt: another type or out
  // of range; floats are finite); `or` variants give a default when the key is absent but still refuse a wrong type or
  // range.
  Result<uint32_t> get_u32(std::string_view key) const;
  Result<uint32_t> get_u32_or(std::string_view key, uint32_t fallback) const;
  Result<float> get_f32(std::string_view key) const;
  Result<float> get_f32_or(std::string_view key, float fallback) const;
  Result<bool> get_bool_or(std::string_view key, bool fallback) const;
  Result<std::string_view> get_string(std::string_view key) const;
  Result<std::string_view> get_string_or(std::string_view key, std::string_view fallback) const;
};

}  // namespace infer::gguf
