#include "gguf/writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/format.h"
#include "gguf/byte_reader.h"
#include "gguf/printable.h"
#include "gguf/type_names.h"

namespace infer::gguf {

namespace {

constexpr std::string_view kAlignmentKey = "general.alignment";
constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint32_t kVersion = 3;

Error invalid(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }

// Bytes from `size` to the next multiple of `alignment`, a power of two.
uint64_t padding(uint64_t size, uint32_t alignment) { return (0 - size) & (uint64_t{alignment} - 1); }

void put_bytes(std::span<const std::byte> bytes, std::vector<std::byte>* out) {
  if (bytes.empty()) return;
  const size_t at = out->size();
  out->resize(at + bytes.size());
  std::memcpy(out->data() + at, bytes.data(), bytes.size());
}

template <class T>
void put(T value, std::vector<std::byte>* out) {
  put_bytes(std::as_bytes(std::span(&value, 1)), out);
}

void put_text(std::string_view text, std::vector<std::byte>* out) {
  put(uint64_t{text.size()}, out);
  put_bytes(std::as_bytes(std::span(text)), out);
}

Status check_length(std::string_view what, uint64_t size, uint64_t limit) {
  if (size > limit) return invalid(format("{} has {} bytes, more than the limit of {}", what, size, limit));
  return {};
}

// The bytes of a tensor, or why it cannot be.
Result<uint64_t> tensor_bytes(kernels::WeightType type, std::span<const uint64_t> dims) {
  const kernels::WeightTypeInfo* info = kernels::weight_type_info(static_cast<uint32_t>(type));
  if (info == nullptr) return invalid(format("type {} is unknown", type));
  if (dims.empty() || dims.size() > Limits::kDims)
    return invalid(format("{} dimensions; GGUF has 1 to {}", dims.size(), Limits::kDims));
  uint64_t elements = 1;
  for (const uint64_t dim : dims) {
    if (dim == 0) return invalid("a dimension is 0");
    if (dim > Limits::kElements / elements)
      return invalid(format("its dimensions multiply to more than {}", Limits::kElements));
    elements *= dim;
  }
  if (dims[0] % info->block_elems != 0) {
    return invalid(format("rows of {} elements are not a whole number of {} blocks of {}", dims[0], info->name,
                          info->block_elems));
  }
  const uint64_t blocks = elements / info->block_elems;
  if (blocks > Limits::kElements / info->block_bytes)
    return invalid(format("its data has more than {} bytes", Limits::kElements));
  return blocks * info->block_bytes;
}

// Values that come from elsewhere (add_value) are checked like those of a file.
Status check_elements(ValueType type, ValueType element, uint64_t count, std::span<const std::byte> bytes) {
  const ValueType unit = type == ValueType::kArray ? element : type;
  const Value value(type, element, count, bytes);
  bool valid = false;
  if (unit == ValueType::kString && type == ValueType::kArray) {
    const auto texts = value.as_strings();
    size_t total = 0;
    if (texts) {
      for (const std::string_view text : *texts) {
        INFER_TRY(check_length("a string of the array", text.size(), Limits::kStringBytes));
        total += sizeof(uint64_t) + text.size();
      }
    }
    valid = texts && total == bytes.size();
  } else if (unit == ValueType::kString) {
    INFER_TRY(check_length("the string", bytes.size(), Limits::kStringBytes));
    valid = true;
  } else if (unit != ValueType::kArray) {
    const size_t size = value_type_bytes(unit);
    valid = size != 0 && bytes.size() % size == 0 && bytes.size() / size == count;
  }
  if (valid && unit == ValueType::kBool) {
    valid = std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte <= std::byte{1}; });
  }
  if (!valid)
    return invalid(format("{} bytes are not {} values of type {}", bytes.size(), count, value_type_name(unit)));
  return {};
}

}  // namespace

Status Writer::check_key(std::string_view key) const {
  if (key.empty()) return invalid("a metadata key is empty");
  INFER_TRY(check_length("the metadata key", key.size(), Limits::kKeyBytes));
  if (key == kAlignmentKey) return invalid(format("{} is written from the writer's own alignment", quoted(key)));
  if (keys_.contains(key)) return invalid(format("metadata key {} is there already", quoted(key)));
  if (metadata_count_ + 1 >= Limits::kMetadataEntries) {  // One is kept for the alignment.
    return invalid(format("more than {} metadata entries", Limits::kMetadataEntries - 1));
  }
  return {};
}

Status Writer::add_bytes(std::string_view key, ValueType type, ValueType element, uint64_t count,
                         std::span<const std::byte> bytes) {
  INFER_TRY(check_key(key));
  if (type == ValueType::kArray && count > Limits::kArrayElements) {
    return invalid(format("metadata key {}: {} elements are more than the limit of {}", quoted(key), count,
                          Limits::kArrayElements));
  }
  Status checked = check_elements(type, element, count, bytes);
  if (!checked) return std::move(checked).error().with_context(format("metadata key {}", quoted(key)));
  put_text(key, &metadata_);
  put(static_cast<uint32_t>(type), &metadata_);
  if (type == ValueType::kArray) {
    put(static_cast<uint32_t>(element), &metadata_);
    put(count, &metadata_);
  } else if (type == ValueType::kString) {
    put(uint64_t{bytes.size()}, &metadata_);
  }
  put_bytes(bytes, &metadata_);
  keys_.emplace(key);
  ++metadata_count_;
  return {};
}

Status Writer::add_string(std::string_view key, std::string_view text) {
  return add_bytes(key, ValueType::kString, ValueType::kString, 1, std::as_bytes(std::span(text)));
}

Status Writer::add_strings(std::string_view key, std::span<const std::string_view> texts) {
  std::vector<std::byte> bytes;
  for (const std::string_view text : texts) put_text(text, &bytes);
  return add_bytes(key, ValueType::kArray, ValueType::kString, texts.size(), bytes);
}

Status Writer::add_value(std::string_view key, const Value& value) {
  return add_bytes(key, value.type(), value.element_type(), value.count(), value.bytes());
}

Status Writer::add_tensor(std::string_view name, kernels::WeightType type, std::span<const uint64_t> dims) {
  if (name.empty()) return invalid("a tensor's name is empty");
  INFER_TRY(check_alignment());
  INFER_TRY(check_length(format("the tensor name {}", quoted(name)), name.size(), Limits::kTensorNameBytes));
  if (names_.contains(name)) return invalid(format("tensor {} is there already", quoted(name)));
  if (tensors_.size() >= Limits::kTensors) return invalid(format("more than {} tensors", Limits::kTensors));
  Result<uint64_t> bytes = tensor_bytes(type, dims);
  if (!bytes) return std::move(bytes).error().with_context(format("tensor {}", quoted(name)));
  const uint64_t padded = *bytes + padding(*bytes, alignment_);
  if (padded > Limits::kElements - data_bytes_)
    return invalid(format("all tensors together have more than {} bytes", Limits::kElements));
  tensors_.push_back(DeclaredTensor{std::string(name), type, {dims.begin(), dims.end()}, *bytes, data_bytes_});
  names_.emplace(name);
  data_bytes_ += padded;
  return {};
}

Status Writer::check_alignment() const {
  if (std::has_single_bit(alignment_) && alignment_ >= Limits::kAlignmentMin && alignment_ <= Limits::kAlignmentMax)
    return {};
  return invalid(format("the alignment {} must be a power of two from {} to {}", alignment_, Limits::kAlignmentMin,
                        Limits::kAlignmentMax));
}

std::vector<std::byte> Writer::header_bytes() const {
  const bool own_alignment = alignment_ != Limits::kAlignmentDefault;
  std::vector<std::byte> out;
  out.reserve(metadata_.size() + tensors_.size() * 128 + 128);
  put(kMagic, &out);
  put(kVersion, &out);
  put(uint64_t{tensors_.size()}, &out);
  put(metadata_count_ + (own_alignment ? 1 : 0), &out);
  if (own_alignment) {
    put_text(kAlignmentKey, &out);
    put(static_cast<uint32_t>(ValueType::kUint32), &out);
    put(alignment_, &out);
  }
  put_bytes(metadata_, &out);
  for (const DeclaredTensor& tensor : tensors_) {
    put_text(tensor.name, &out);
    put(static_cast<uint32_t>(tensor.dims.size()), &out);
    for (const uint64_t dim : tensor.dims) put(dim, &out);
    put(static_cast<uint32_t>(tensor.type), &out);
    put(tensor.offset, &out);
  }
  out.resize(out.size() + static_cast<size_t>(padding(out.size(), alignment_)));
  return out;
}

Result<uint64_t> Writer::file_bytes() const {
  INFER_TRY(check_alignment());
  return header_bytes().size() + data_bytes_;
}

Result<TensorDataWriter> Writer::write_header(ByteSink* sink) && {
  INFER_TRY(check_alignment());
  INFER_TRY(sink->write(header_bytes()));
  std::vector<TensorDataWriter::Pending> pending;
  pending.reserve(tensors_.size());
  for (DeclaredTensor& tensor : tensors_) pending.push_back({std::move(tensor.name), tensor.bytes});
  return TensorDataWriter(sink, alignment_, std::move(pending));
}

Status TensorDataWriter::append(std::string_view tensor, std::span<const std::byte> piece) {
  if (failed_) return invalid("an earlier write failed: start again");
  if (current_ == tensors_.size()) return invalid(format("data for {} after the last tensor", quoted(tensor)));
  const Pending& pending = tensors_[current_];
  if (tensor != pending.name) {
    return invalid(format("data for {}, but it is the turn of {} ({} of {} bytes are there)", quoted(tensor),
                          quoted(pending.name), written_, pending.bytes));
  }
  if (piece.size() > pending.bytes - written_) {
    return invalid(format("{} bytes for {}, of which only {} of {} are missing", piece.size(), quoted(tensor),
                          pending.bytes - written_, pending.bytes));
  }
  INFER_TRY(send(piece));
  written_ += piece.size();
  if (written_ < pending.bytes) return {};
  constexpr std::array<std::byte, 4096> kZeros{};
  for (uint64_t left = padding(pending.bytes, alignment_); left > 0;) {
    const size_t count = static_cast<size_t>(std::min<uint64_t>(left, kZeros.size()));
    INFER_TRY(send(std::span(kZeros).first(count)));
    left -= count;
  }
  ++current_;
  written_ = 0;
  return {};
}

Status TensorDataWriter::send(std::span<const std::byte> bytes) {
  Status status = sink_->write(bytes);
  failed_ = !status;
  return status;
}

Status TensorDataWriter::finish() {
  if (failed_) return invalid("an earlier write failed: start again");
  if (current_ == tensors_.size()) return {};
  const Pending& pending = tensors_[current_];
  return invalid(format("tensor {} has {} of its {} bytes, and {} tensors after it have none", quoted(pending.name),
                        written_, pending.bytes, tensors_.size() - current_ - 1));
}

}  // namespace infer::gguf
