#include "gguf/header.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <string_view>
#include <utility>

#include "base/format.h"
#include "gguf/byte_reader.h"
#include "gguf/limits.h"
#include "gguf/name_index.h"
#include "gguf/printable.h"
#include "gguf/type_names.h"

namespace infer::gguf {

namespace {

constexpr std::string_view kDamaged = "the file is truncated or damaged: get a good copy";
constexpr std::string_view kAlignmentKey = "general.alignment";

// The least number of bytes that an entry takes: this many must be left for each entry that a count promises.
constexpr uint64_t kEntryBytesMin = 8 + 1 + 4 + 1;           // Key length, key, type, value.
constexpr uint64_t kTensorBytesMin = 8 + 1 + 4 + 8 + 4 + 8;  // Name length, name, dims, one dim, type, offset.
constexpr uint64_t kStringBytesMin = 8;                      // Its length.

Error corrupt(std::string message) { return Error{ErrorCode::kCorrupt, std::move(message)}; }
Error unsupported(std::string message) { return Error{ErrorCode::kUnsupported, std::move(message)}; }

Error ends_early(std::string_view what, const ByteReader& reader) {
  return corrupt(format("the file ends in {} at byte {}; {}", what, reader.offset() + reader.remaining(), kDamaged));
}

// A count is believed only when that many entries of the least size fit into what is left, and obeys the limit.
Status check_count(std::string_view what, uint64_t count, uint64_t bytes_min, uint64_t limit, const ByteReader& left) {
  if (count > left.remaining() / bytes_min) {
    return corrupt(
        format("{} {} are announced, but at least {} bytes each do not fit into the {} bytes that are left; {}", count,
               what, bytes_min, left.remaining(), kDamaged));
  }
  if (count > limit) return unsupported(format("{} {} are more than the limit of {}", count, what, limit));
  return {};
}

Result<std::string_view> read_text(std::string_view what, uint64_t limit, ByteReader* reader) {
  std::span<const std::byte> text;
  uint64_t length = 0;
  if (!reader->read_string(&text, &length)) {
    if (length <= reader->remaining()) return ends_early(format("the length of {}", what), *reader);
    return corrupt(format("{} has {} bytes, but only {} are left; {}", what, length, reader->remaining(), kDamaged));
  }
  if (length > limit) return unsupported(format("{} has {} bytes, more than the limit of {}", what, length, limit));
  return as_text(text);
}

// Files that people hand to a GGUF reader by mistake, told by their first bytes.
Error not_gguf(std::span<const std::byte> bytes) {
  const std::string_view start = as_text(bytes.first(std::min<size_t>(bytes.size(), 16)));
  for (const std::string_view old : {"lmgg", "fmgg", "tjgg", "algg"}) {
    if (!start.starts_with(old)) continue;
    return unsupported(
        "a model in a format from before GGUF (GGML, GGMF, GGJT or GGLA); convert it to GGUF, or get a GGUF copy");
  }
  if (start.starts_with("version https://")) {
    return corrupt("a Git LFS pointer, not the model itself; fetch the model with 'git lfs pull'");
  }
  if (start.starts_with("<!") || start.starts_with("<html")) {
    return corrupt("a web page, not a model; the download went wrong, fetch the file again");
  }
  return corrupt(
      format("not a GGUF file: it starts with \"{}\" instead of \"GGUF\"", printable(start.substr(0, 4), 16)));
}

Status check_version(uint32_t version) {
  if (version == 2 || version == 3) return {};
  if (version == 1) {
    return unsupported(
        "GGUF version 1, of which only test files exist; this build reads versions 2 and 3: convert it again");
  }
  if ((version & 0xFFFF) == 0 && version != 0) {
    return unsupported(
        format("big-endian GGUF (the version reads as {:#x}); this build reads little-endian files: convert it again",
               version));
  }
  if (version == 0) return corrupt(format("GGUF version 0 does not exist; {}", kDamaged));
  return unsupported(format("GGUF version {}; this build reads versions 2 and 3", version));
}

class HeaderReader {
 public:
  HeaderReader(std::span<const std::byte> bytes, uint32_t part) : bytes_(bytes), reader_(bytes), part_(part) {}

  Result<Header> read() {
    INFER_TRY(read_preamble());
    INFER_TRY(read_metadata());
    INFER_TRY(read_tensors());
    return std::move(header_);
  }

 private:
  Status read_preamble();
  Status read_metadata();
  Result<Value> read_value();
  Result<Value> read_array();
  Status skip_strings(uint64_t count);
  Status check_bools(std::span<const std::byte> values) const;
  Status read_alignment(const NameIndex& keys);
  Status read_tensors();
  Status read_tensor(Tensor* tensor, uint64_t* offset);
  Status read_dims(Tensor* tensor);
  Status place(uint64_t offset, Tensor* tensor) const;
  Status check_no_overlap() const;

  std::span<const std::byte> bytes_;
  ByteReader reader_;
  uint32_t part_;
  uint64_t metadata_count_ = 0;
  uint64_t tensor_count_ = 0;
  Header header_;
};

Status HeaderReader::read_preamble() {
  std::span<const std::byte> magic;
  if (!reader_.take(4, &magic)) return corrupt(format("{} bytes are too few for a GGUF file", bytes_.size()));
  if (as_text(magic) != "GGUF") return not_gguf(bytes_);
  if (!reader_.read(&header_.version)) return ends_early("the version", reader_);
  INFER_TRY(check_version(header_.version));
  if (!reader_.read(&tensor_count_) || !reader_.read(&metadata_count_)) return ends_early("the counts", reader_);
  INFER_TRY(check_count("metadata entries", metadata_count_, kEntryBytesMin, Limits::kMetadataEntries, reader_));
  return check_count("tensors", tensor_count_, kTensorBytesMin, Limits::kTensors, reader_);
}

Status HeaderReader::read_metadata() {
  header_.metadata.reserve(static_cast<size_t>(metadata_count_));
  for (uint64_t i = 0; i < metadata_count_; ++i) {
    Result<std::string_view> key = read_text("the key", Limits::kKeyBytes, &reader_);
    if (key && key->empty()) key = corrupt(format("the key is empty; {}", kDamaged));
    if (!key) return std::move(key).error().with_context(format("metadata entry {} of {}", i + 1, metadata_count_));
    Result<Value> value = read_value();
    if (!value) return std::move(value).error().with_context(format("metadata key {}", quoted(*key)));
    header_.metadata.push_back(MetadataEntry{*key, *value});
  }
  const NameIndex keys(header_.metadata.size(), [this](size_t i) { return header_.metadata[i].key; });
  if (const auto twice = keys.duplicate()) {
    return corrupt(format("metadata key {} occurs twice (entries {} and {}); {}",
                          quoted(header_.metadata[twice->first].key), twice->first + 1, twice->second + 1, kDamaged));
  }
  return read_alignment(keys);
}

Result<Value> HeaderReader::read_value() {
  uint32_t id = 0;
  if (!reader_.read(&id)) return ends_early("the value's type", reader_);
  if (!is_value_type(id)) return corrupt(format("value type {} does not exist in GGUF; {}", id, kDamaged));
  const auto type = static_cast<ValueType>(id);
  if (type == ValueType::kArray) return read_array();
  std::span<const std::byte> bytes;
  if (type == ValueType::kString) {
    INFER_ASSIGN(const std::string_view text, read_text("the string", Limits::kStringBytes, &reader_));
    bytes = std::as_bytes(std::span(text));
  } else if (!reader_.take(value_type_bytes(type), &bytes)) {
    return ends_early(format("a value of type {}", value_type_name(type)), reader_);
  }
  if (type == ValueType::kBool) INFER_TRY(check_bools(bytes));
  return Value(type, type, 1, bytes);
}

Result<Value> HeaderReader::read_array() {
  uint32_t id = 0;
  uint64_t count = 0;
  if (!reader_.read(&id) || !reader_.read(&count)) return ends_early("an array's type and count", reader_);
  if (!is_value_type(id)) return corrupt(format("array element type {} does not exist in GGUF; {}", id, kDamaged));
  const auto element = static_cast<ValueType>(id);
  if (element == ValueType::kArray) return unsupported("an array of arrays, which no known model needs");
  const size_t size = element == ValueType::kString ? kStringBytesMin : value_type_bytes(element);
  INFER_TRY(check_count(format("array elements of type {}", value_type_name(element)), count, size,
                        Limits::kArrayElements, reader_));
  const uint64_t begin = reader_.offset();
  if (element == ValueType::kString) {
    INFER_TRY(skip_strings(count));
  } else {
    std::span<const std::byte> elements;
    if (!reader_.take(count * size, &elements)) return ends_early("an array", reader_);
    if (element == ValueType::kBool) INFER_TRY(check_bools(elements));
  }
  return Value(ValueType::kArray, element, count, reader_.since(begin));
}

// Walks the lengths only; the text of a vocabulary stays untouched until somebody asks for it.
Status HeaderReader::skip_strings(uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    Result<std::string_view> text = read_text("the string", Limits::kStringBytes, &reader_);
    if (!text) return std::move(text).error().with_context(format("array element {} of {}", i + 1, count));
  }
  return {};
}

Status HeaderReader::check_bools(std::span<const std::byte> values) const {
  for (const std::byte value : values) {
    if (std::to_integer<unsigned>(value) <= 1) continue;
    return corrupt(
        format("a bool is stored as {} where only 0 and 1 exist; {}", std::to_integer<unsigned>(value), kDamaged));
  }
  return {};
}

Status HeaderReader::read_alignment(const NameIndex& keys) {
  header_.alignment = Limits::kAlignmentDefault;
  const std::optional<size_t> at = keys.find(kAlignmentKey);
  if (!at) return {};
  const Value& value = header_.metadata[*at].value;
  if (value.type() != ValueType::kUint32) {
    return corrupt(format("metadata key '{}' must be of type uint32, but is {} of type {}", kAlignmentKey,
                          value.to_text(40), value_type_name(value.type())));
  }
  const auto alignment = load<uint32_t>(value.bytes().data());
  if (!std::has_single_bit(alignment) || alignment < Limits::kAlignmentMin || alignment > Limits::kAlignmentMax) {
    return corrupt(format("metadata key '{}' is {}, but must be a power of two from {} to {}", kAlignmentKey, alignment,
                          Limits::kAlignmentMin, Limits::kAlignmentMax));
  }
  header_.alignment = alignment;
  return {};
}

Status HeaderReader::read_tensors() {
  INFER_TRY(check_count("tensors", tensor_count_, kTensorBytesMin, Limits::kTensors, reader_));
  std::vector<uint64_t> offsets(static_cast<size_t>(tensor_count_));
  header_.tensors.resize(static_cast<size_t>(tensor_count_));
  for (size_t i = 0; i < header_.tensors.size(); ++i) {
    Tensor& tensor = header_.tensors[i];
    Status read = read_tensor(&tensor, &offsets[i]);
    if (!read && tensor.name.empty()) {
      return std::move(read).error().with_context(format("tensor {} of {}", i + 1, tensor_count_));
    }
    if (!read) return std::move(read).error().with_context(format("tensor {}", quoted(tensor.name)));
  }
  // A span is never longer than PTRDIFF_MAX, so adding an alignment cannot wrap.
  const uint64_t past = reader_.offset() % header_.alignment;
  header_.data_begin = reader_.offset() + (past == 0 ? 0 : header_.alignment - past);
  for (size_t i = 0; i < header_.tensors.size(); ++i) {
    Status placed = place(offsets[i], &header_.tensors[i]);
    if (!placed) return std::move(placed).error().with_context(format("tensor {}", quoted(header_.tensors[i].name)));
  }
  return check_no_overlap();
}

Status HeaderReader::read_tensor(Tensor* tensor, uint64_t* offset) {
  INFER_ASSIGN(const std::string_view name, read_text("the name", Limits::kTensorNameBytes, &reader_));
  if (name.empty()) return corrupt(format("the name is empty; {}", kDamaged));
  tensor->name = name;
  tensor->part = part_;
  INFER_TRY(read_dims(tensor));
  uint32_t id = 0;
  if (!reader_.read(&id) || !reader_.read(offset)) return ends_early("a tensor's type and offset", reader_);
  const kernels::WeightTypeInfo* info = kernels::weight_type_info(id);
  if (info == nullptr) {
    const char* type_name = tensor_type_name(id);
    return unsupported(
        format("type {} ({}) cannot be read by this build; supported are {}: get the model in one of these", id,
               type_name != nullptr ? type_name : "unknown", supported_tensor_types()));
  }
  tensor->type = info->type;
  if (tensor->dims[0] % info->block_elems != 0) {
    return corrupt(format("rows of {} elements are not a whole number of {} blocks of {}", tensor->dims[0], info->name,
                          info->block_elems));
  }
  return {};
}

Status HeaderReader::read_dims(Tensor* tensor) {
  if (!reader_.read(&tensor->dim_count)) return ends_early("a tensor's dimensions", reader_);
  if (tensor->dim_count < 1 || tensor->dim_count > Limits::kDims) {
    return corrupt(format("{} dimensions; GGUF has 1 to {}", tensor->dim_count, Limits::kDims));
  }
  tensor->dims = {1, 1, 1, 1};
  uint64_t elements = 1;
  for (uint32_t i = 0; i < tensor->dim_count; ++i) {
    uint64_t& dim = tensor->dims[i];
    if (!reader_.read(&dim)) return ends_early("a tensor's dimensions", reader_);
    if (dim == 0) return corrupt(format("dimension {} is 0; {}", i + 1, kDamaged));
    if (dim > Limits::kElements / elements) {
      return corrupt(format("its dimensions multiply to more than {} elements (dimension {} is {}); {}",
                            Limits::kElements, i + 1, dim, kDamaged));
    }
    elements *= dim;
  }
  return {};
}

// Gives the tensor its bytes, once offset, alignment and size are known to lie inside the file.
Status HeaderReader::place(uint64_t offset, Tensor* tensor) const {
  if (offset % header_.alignment != 0) {
    return corrupt(
        format("its data offset {} is not a multiple of the alignment {}; {}", offset, header_.alignment, kDamaged));
  }
  const uint64_t file = bytes_.size();
  const uint64_t data = file > header_.data_begin ? file - header_.data_begin : 0;
  if (offset > data) {
    return corrupt(
        format("its data begins {} bytes behind the header, but only {} are there; {}", offset, data, kDamaged));
  }
  const kernels::WeightTypeInfo& info = *kernels::weight_type_info(static_cast<uint32_t>(tensor->type));
  const uint64_t blocks = tensor->elements() / info.block_elems;
  if (blocks > (data - offset) / info.block_bytes) {
    return corrupt(
        format("{} of {} take {} blocks of {} bytes from byte {} on, but the file has only {} bytes in all; {}",
               tensor->shape_text(), info.name, blocks, info.block_bytes, header_.data_begin + offset, file, kDamaged));
  }
  tensor->data =
      bytes_.subspan(static_cast<size_t>(header_.data_begin + offset), static_cast<size_t>(blocks * info.block_bytes));
  return {};
}

// Shared data would let a small file claim any amount of weights.
Status HeaderReader::check_no_overlap() const {
  std::vector<const Tensor*> order;
  order.reserve(header_.tensors.size());
  for (const Tensor& tensor : header_.tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const Tensor* a, const Tensor* b) { return a->data.data() < b->data.data(); });
  for (size_t i = 1; i < order.size(); ++i) {
    const std::span<const std::byte> before = order[i - 1]->data;
    if (before.data() + before.size() <= order[i]->data.data()) continue;
    return corrupt(format("the data of tensors {} and {} overlap; {}", quoted(order[i - 1]->name),
                          quoted(order[i]->name), kDamaged));
  }
  return {};
}

}  // namespace

Result<Header> read_header(std::span<const std::byte> bytes, uint32_t part) { return HeaderReader(bytes, part).read(); }

}  // namespace infer::gguf
