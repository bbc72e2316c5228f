// Writes GGUF version 3 in two phases: declare all metadata and tensors, then append the tensor data in the same order.
// Only names and metadata are held in memory, so models of any size can be written.
//
//   Writer writer;
//   writer.add_string("general.architecture", "llama");  writer.add("llama.block_count", uint32_t{16});
//   writer.add_tensor("output.weight", kernels::WeightType::kQ8_0, {2048, 32000});
//   auto data = std::move(writer).write_header(&sink);
//   data->append("output.weight", row);  ...  data->finish();
//
// Invariant: what passes these calls without an error is a file that File::open accepts, with the same content: names
// are unique, sizes obey gguf/limits.h, rows are whole blocks, every tensor gets exactly its bytes. Publishing the file
// at once or not at all is the sink's part (os/file_sink.h). Thread safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gguf/byte_sink.h"
#include "gguf/file.h"
#include "gguf/limits.h"
#include "kernels/block_formats.h"

namespace infer::gguf {

// The format's type for a C++ type; defined for its eleven scalar types only.
template <class T>
struct ValueTypeOf;
template <>
struct ValueTypeOf<uint8_t> {
  static constexpr ValueType value = ValueType::kUint8;
};
template <>
struct ValueTypeOf<int8_t> {
  static constexpr ValueType value = ValueType::kInt8;
};
template <>
struct ValueTypeOf<uint16_t> {
  static constexpr ValueType value = ValueType::kUint16;
};
template <>
struct ValueTypeOf<int16_t> {
  static constexpr ValueType value = ValueType::kInt16;
};
template <>
struct ValueTypeOf<uint32_t> {
  static constexpr ValueType value = ValueType::kUint32;
};
template <>
struct ValueTypeOf<int32_t> {
  static constexpr ValueType value = ValueType::kInt32;
};
template <>
struct ValueTypeOf<uint64_t> {
  static constexpr ValueType value = ValueType::kUint64;
};
template <>
struct ValueTypeOf<int64_t> {
  static constexpr ValueType value = ValueType::kInt64;
};
template <>
struct ValueTypeOf<float> {
  static constexpr ValueType value = ValueType::kFloat32;
};
template <>
struct ValueTypeOf<double> {
  static constexpr ValueType value = ValueType::kFloat64;
};
template <>
struct ValueTypeOf<bool> {
  static constexpr ValueType value = ValueType::kBool;
};

// The second phase: the header is written, tensor data follows.
class TensorDataWriter {
 public:
  // A piece of the data of `tensor`, which must be the one whose turn it is; pieces may have any size. The bytes
  // between tensors are added here.
  Status append(std::string_view tensor, std::span<const std::byte> piece);
  // Refuses, naming the tensor, when data is missing. The sink has everything afterwards.
  Status finish();

 private:
  friend class Writer;
  struct Pending {
    std::string name;
    uint64_t bytes;
  };
  TensorDataWriter(ByteSink* sink, uint32_t alignment, std::vector<Pending> tensors)
      : sink_(sink), alignment_(alignment), tensors_(std::move(tensors)) {}
  Status send(std::span<const std::byte> bytes);

  ByteSink* sink_;
  uint32_t alignment_;
  std::vector<Pending> tensors_;
  size_t current_ = 0;    // Index of the tensor whose turn it is.
  uint64_t written_ = 0;  // Bytes of it.
  bool failed_ = false;
};

class Writer {
 public:
  // `alignment` of the tensor data; anything but the default is recorded as general.alignment.
  explicit Writer(uint32_t alignment = Limits::kAlignmentDefault) : alignment_(alignment) {}

  template <class T>
  Status add(std::string_view key, T value) {
    return add_bytes(key, ValueTypeOf<T>::value, ValueType::kUint8, 1, std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  Status add_array(std::string_view key, std::span<const T> values) {
    return add_bytes(key, ValueType::kArray, ValueTypeOf<T>::value, values.size(), std::as_bytes(values));
  }
  Status add_string(std::string_view key, std::string_view text);
  Status add_strings(std::string_view key, std::span<const std::string_view> texts);
  // A value of another file, as it is there.
  Status add_value(std::string_view key, const Value& value);

  // dims[0] is the row length.
  Status add_tensor(std::string_view name, kernels::WeightType type, std::span<const uint64_t> dims);
  Status add_tensor(std::string_view name, kernels::WeightType type, std::initializer_list<uint64_t> dims) {
    return add_tensor(name, type, std::span(dims.begin(), dims.size()));
  }

  // The size of the finished file, to check the room before writing.
  Result<uint64_t> file_bytes() const;
  // Writes everything before the tensor data. The sink must outlive the result.
  Result<TensorDataWriter> write_header(ByteSink* sink) &&;

 private:
  struct DeclaredTensor {
    std::string name;
    kernels::WeightType type;
    std::vector<uint64_t> dims;
    uint64_t bytes;
    uint64_t offset;  // From the start of the tensor data.
  };
  Status add_bytes(std::string_view key, ValueType type, ValueType element, uint64_t count,
                   std::span<const std::byte> bytes);
  Status check_key(std::string_view key) const;
  Status check_alignment() const;
  std::vector<std::byte> header_bytes() const;

  uint32_t alignment_;
  uint64_t metadata_count_ = 0;
  uint64_t data_bytes_ = 0;          // Of all declared tensors, padded.
  std::vector<std::byte> metadata_;  // The entries as they go into the file.
  std::set<std::string, std::less<>> keys_;
  std::set<std::string, std::less<>> names_;
  std::vector<DeclaredTensor> tensors_;
};

}  // namespace infer::gguf
