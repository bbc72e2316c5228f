// Bytes describe a model; the writer writes it, and the reader must find exactly the same in it. What the writer
// refuses must be what the format or the limits forbid: here only repeated names.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "kernels/block_formats.h"
#include "testing/gguf_invariants.h"

namespace {

using infer::gguf::File;
using infer::gguf::Value;
using infer::gguf::ValueType;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// Takes choices from the front of the input; zeros when it is used up.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : left_(data, size) {}

  uint8_t byte() {
    if (left_.empty()) return 0;
    const uint8_t value = left_[0];
    left_ = left_.subspan(1);
    return value;
  }
  size_t below(size_t bound) { return byte() % bound; }
  std::vector<std::byte> bytes(size_t count) {
    std::vector<std::byte> out(count);
    for (std::byte& value : out) value = std::byte{byte()};
    return out;
  }
  std::string text(size_t max_length) {
    std::string out(below(max_length + 1), '\0');
    for (char& c : out) c = static_cast<char>(byte());
    return out;
  }
  bool done() const { return left_.empty(); }

 private:
  std::span<const uint8_t> left_;
};

struct EntryModel {
  std::string key;
  ValueType type;
  ValueType element_type;
  uint64_t count;
  std::vector<std::byte> bytes;
};

struct TensorModel {
  std::string name;
  infer::kernels::WeightType type;
  std::vector<uint64_t> dims;
  std::vector<std::byte> data;
};

struct Model {
  uint32_t alignment;
  std::vector<EntryModel> entries;
  std::vector<TensorModel> tensors;
};

std::vector<std::byte> scalar_bytes(ValueType type, Choices* choices) {
  switch (type) {
    case ValueType::kBool: return {std::byte{static_cast<uint8_t>(choices->byte() & 1)}};
    case ValueType::kUint8:
    case ValueType::kInt8: return choices->bytes(1);
    case ValueType::kUint16:
    case ValueType::kInt16: return choices->bytes(2);
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32: return choices->bytes(4);
    default: return choices->bytes(8);
  }
}

std::vector<std::byte> element_bytes(ValueType type, Choices* choices) {
  if (type != ValueType::kString) return scalar_bytes(type, choices);
  const std::string text = choices->text(20);
  const uint64_t length = text.size();
  std::vector<std::byte> out(sizeof(length) + text.size());
  std::memcpy(out.data(), &length, sizeof(length));
  std::memcpy(out.data() + sizeof(length), text.data(), text.size());
  return out;
}

EntryModel describe_entry(Choices* choices) {
  EntryModel entry;
  entry.key = choices->text(12);
  entry.key += 'k';  // Never empty.
  entry.type = static_cast<ValueType>(choices->below(13));
  entry.element_type = entry.type;
  entry.count = 1;
  if (entry.type == ValueType::kString) {
    const std::string text = choices->text(60);
    const auto bytes = std::as_bytes(std::span(text));
    entry.bytes.assign(bytes.begin(), bytes.end());
  } else if (entry.type == ValueType::kArray) {
    entry.element_type = static_cast<ValueType>(choices->below(13));
    if (entry.element_type == ValueType::kArray) entry.element_type = ValueType::kString;
    entry.count = choices->below(9);
    for (uint64_t i = 0; i < entry.count; ++i) {
      const std::vector<std::byte> element = element_bytes(entry.element_type, choices);
      entry.bytes.insert(entry.bytes.end(), element.begin(), element.end());
    }
  } else {
    entry.bytes = scalar_bytes(entry.type, choices);
  }
  return entry;
}

TensorModel describe_tensor(Choices* choices) {
  constexpr std::array<uint32_t, 11> kTypes{0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 30};
  const infer::kernels::WeightTypeInfo& info = *infer::kernels::weight_type_info(kTypes[choices->below(kTypes.size())]);
  TensorModel tensor;
  tensor.name = choices->text(8);
  tensor.name += 't';
  tensor.type = info.type;
  const size_t dim_count = 1 + choices->below(4);
  uint64_t blocks = 1 + choices->below(3);
  tensor.dims.push_back(blocks * info.block_elems);
  for (size_t i = 1; i < dim_count; ++i) {
    tensor.dims.push_back(1 + choices->below(3));
    blocks *= tensor.dims.back();
  }
  tensor.data = choices->bytes(static_cast<size_t>(blocks * info.block_bytes));
  return tensor;
}

Model describe(Choices* choices) {
  Model model;
  model.alignment = 8u << choices->below(10);
  for (size_t i = choices->below(12); i > 0; --i) model.entries.push_back(describe_entry(choices));
  for (size_t i = choices->below(8); i > 0; --i) model.tensors.push_back(describe_tensor(choices));
  return model;
}

// Removes entries and tensors whose name is taken: the writer must refuse exactly those.
void declare(infer::gguf::Writer* writer, Model* model) {
  std::set<std::string> keys;
  std::erase_if(model->entries, [&](const EntryModel& entry) {
    const bool fresh = keys.insert(entry.key).second;
    const Value value(entry.type, entry.element_type, entry.count, entry.bytes);
    require(writer->add_value(entry.key, value).has_value() == fresh, "a key is taken once");
    return !fresh;
  });
  std::set<std::string> names;
  std::erase_if(model->tensors, [&](const TensorModel& tensor) {
    const bool fresh = names.insert(tensor.name).second;
    require(writer->add_tensor(tensor.name, tensor.type, tensor.dims).has_value() == fresh, "a tensor is taken once");
    return !fresh;
  });
}

void compare(const File& file, const Model& model) {
  const size_t own_keys = file.find("general.alignment") != nullptr ? 1 : 0;
  require(file.metadata().size() == model.entries.size() + own_keys, "the number of entries");
  for (const EntryModel& entry : model.entries) {
    const Value* value = file.find(entry.key);
    require(value != nullptr && value->type() == entry.type && value->count() == entry.count, "an entry");
    require(entry.type != ValueType::kArray || value->element_type() == entry.element_type, "an element type");
    require(std::ranges::equal(value->bytes(), entry.bytes), "an entry's bytes");
  }
  require(file.tensors().size() == model.tensors.size(), "the number of tensors");
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    const TensorModel& expected = model.tensors[i];
    const infer::gguf::Tensor& tensor = file.tensors()[i];
    require(tensor.name == expected.name && tensor.type == expected.type, "a tensor's name and type");
    require(std::ranges::equal(std::span(tensor.dims).first(tensor.dim_count), expected.dims), "a tensor's shape");
    require(std::ranges::equal(tensor.data, expected.data), "a tensor's data");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices choices(data, size);
  Model model = describe(&choices);
  const size_t piece = 1 + choices.below(256);
  infer::gguf::Writer writer(model.alignment);
  declare(&writer, &model);
  const auto announced = writer.file_bytes();
  require(announced.has_value(), "the size is known");
  infer::gguf::MemorySink sink;
  auto out = std::move(writer).write_header(&sink);
  require(out.has_value(), "the header is written");
  for (const TensorModel& tensor : model.tensors) {
    for (size_t at = 0; at < tensor.data.size(); at += piece) {
      const auto bytes = std::span(tensor.data).subspan(at, std::min(piece, tensor.data.size() - at));
      require(out->append(tensor.name, bytes).has_value(), "data is taken");
    }
  }
  require(out->finish().has_value(), "the file is complete");
  require(sink.bytes().size() == *announced, "the announced size");
  const auto file = File::parse(sink.bytes(), "fuzz");
  require(file.has_value(), "the reader accepts what the writer wrote");
  require(infer::testing::broken_invariant(**file, sink.bytes()).empty(), "the reader's promises");
  compare(**file, model);
  return 0;
}
