#include "gguf/file.h"

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

#include "base/format.h"
#include "gguf/header.h"
#include "gguf/limits.h"
#include "gguf/name_index.h"
#include "gguf/part_source.h"
#include "gguf/printable.h"
#include "gguf/split_name.h"
#include "gguf/type_names.h"

namespace infer::gguf {

namespace {

Error corrupt(std::string message) { return Error{ErrorCode::kCorrupt, std::move(message)}; }

// What the split.* keys of one part say; a file without them is a whole model: part 0 of 1.
struct SplitKeys {
  uint32_t number = 0;
  uint32_t parts = 1;
  std::optional<uint64_t> tensors;  // Of all parts together.
};

Result<uint64_t> split_number(const MetadataEntry& entry) {
  const std::optional<int64_t> value = entry.value.as_int();
  if (value && *value >= 0 && *value <= std::numeric_limits<uint32_t>::max()) return static_cast<uint64_t>(*value);
  return corrupt(format("metadata key {} must be a count, but is {}", quoted(entry.key), entry.value.to_text(40)));
}

Result<SplitKeys> read_split_keys(const Header& header) {
  SplitKeys keys;
  for (const MetadataEntry& entry : header.metadata) {
    if (!entry.key.starts_with("split.")) continue;
    if (entry.key == "split.no") {
      INFER_ASSIGN(const uint64_t number, split_number(entry));
      keys.number = static_cast<uint32_t>(number);
    } else if (entry.key == "split.count") {
      INFER_ASSIGN(const uint64_t parts, split_number(entry));
      keys.parts = static_cast<uint32_t>(parts);
    } else if (entry.key == "split.tensors.count") {
      INFER_ASSIGN(keys.tensors, split_number(entry));
    }
  }
  if (keys.parts == 0) keys.parts = 1;  // Written by tools that join parts again.
  if (keys.parts > Limits::kParts) {
    return Error{ErrorCode::kUnsupported, format("a model of {} parts; the limit is {}", keys.parts, Limits::kParts)};
  }
  if (keys.number >= keys.parts) {
    return corrupt(format("split.no is {} where split.count is {}; parts count from 0", keys.number, keys.parts));
  }
  return keys;
}

class PartsFile final : public File {
 public:
  PartsFile(std::string name, PartBytes first, Header header)
      : name_(std::move(name)), version_(header.version), metadata_(std::move(header.metadata)) {
    add_part(std::move(first), std::move(header.tensors));
  }

  void add_part(PartBytes part, std::vector<Tensor> tensors) {
    file_bytes_ += part.bytes.size();
    parts_.push_back(std::move(part));
    if (tensors_.empty()) {
      tensors_ = std::move(tensors);
    } else {
      tensors_.insert(tensors_.end(), tensors.begin(), tensors.end());
    }
  }

  // After the last part. Refuses tensors that occur twice.
  Status finish() {
    keys_ = NameIndex(metadata_.size(), [this](size_t i) { return metadata_[i].key; });
    names_ = NameIndex(tensors_.size(), [this](size_t i) { return tensors_[i].name; });
    const auto twice = names_.duplicate();
    if (!twice) return {};
    const Tensor& tensor = tensors_[twice->first];
    return corrupt(format("tensor {} occurs twice (in parts {} and {} of {}): get a good copy", quoted(tensor.name),
                          tensor.part + 1, tensors_[twice->second].part + 1, parts_.size()));
  }

  const std::string& name() const override { return name_; }
  uint32_t version() const override { return version_; }
  uint64_t file_bytes() const override { return file_bytes_; }
  std::span<const MetadataEntry> metadata() const override { return metadata_; }
  std::span<const Tensor> tensors() const override { return tensors_; }

  const Value* find(std::string_view key) const override {
    const std::optional<size_t> at = keys_.find(key);
    return at ? &metadata_[*at].value : nullptr;
  }
  const Tensor* find_tensor(std::string_view tensor_name) const override {
    const std::optional<size_t> at = names_.find(tensor_name);
    return at ? &tensors_[*at] : nullptr;
  }
  int64_t modified_ns() const override {
    int64_t newest = 0;
    for (const PartBytes& part : parts_) newest = std::max(newest, part.map ? part.map->modified_ns() : 0);
    return newest;
  }
  void make_resident(const Tensor& tensor) const override {
    INFER_CHECK(tensor.part < parts_.size());
    const PartBytes& part = parts_[tensor.part];
    if (part.map) part.map->make_resident(tensor.data);
  }
  void drop_resident(const Tensor& tensor) const override {
    INFER_CHECK(tensor.part < parts_.size());
    const PartBytes& part = parts_[tensor.part];
    if (part.map) part.map->drop_resident(tensor.data);
  }

 private:
  std::string name_;
  uint32_t version_;
  uint64_t file_bytes_ = 0;
  std::vector<PartBytes> parts_;
  std::vector<MetadataEntry> metadata_;
  std::vector<Tensor> tensors_;
  NameIndex keys_;
  NameIndex names_;
};

// Reads part `number` and checks that it is the part that its name promises.
Result<Header> read_part(const PartBytes& part, const SplitKeys& first, uint32_t number) {
  INFER_ASSIGN(Header header, read_header(part.bytes, number));
  INFER_ASSIGN(const SplitKeys keys, read_split_keys(header));
  if (keys.parts != first.parts || keys.number != number) {
    return corrupt(
        format("it says that it is part {} of {}, but its name and the first part say {} of {}: the parts are "
               "of different models or were renamed",
               keys.number + 1, keys.parts, number + 1, first.parts));
  }
  return header;
}

Error wrong_first_part(const SplitKeys& keys, const std::optional<SplitName>& name) {
  const std::string first =
      name ? name->path_of(1) : "the part whose name ends in -00001-of-" + format("{:05}.gguf", keys.parts);
  return Error{ErrorCode::kInvalidArgument, format("part {} of {} of a split model; open the first part instead: {}",
                                                   keys.number + 1, keys.parts, first)};
}

// Opens the parts after the first and adds them.
Status add_parts(const SplitName& name, const SplitKeys& keys, const OpenPart& open_part, PartsFile* file) {
  for (uint32_t number = 1; number < keys.parts; ++number) {
    const std::string path = name.path_of(number + 1);
    Result<PartBytes> part = open_part(path);
    if (!part) {
      return std::move(part).error().with_context(
          format("the model has {} parts, all in one folder, and part {} cannot be opened", keys.parts, number + 1));
    }
    Result<Header> header = read_part(*part, keys, number);
    if (!header) return std::move(header).error().with_context(path);
    if (header->tensors.size() > Limits::kTensors - file->tensors().size()) {
      return Error{ErrorCode::kUnsupported, format("{}: the parts have more than {} tensors", path, Limits::kTensors)};
    }
    file->add_part(*std::move(part), std::move(header->tensors));
  }
  if (keys.tensors && *keys.tensors != file->tensors().size()) {
    return corrupt(format("split.tensors.count is {}, but the {} parts have {} tensors: get a good copy", *keys.tensors,
                          keys.parts, file->tensors().size()));
  }
  return {};
}

// Fits into the string itself: there may be no memory for more words.
Error out_of_memory() { return Error{ErrorCode::kExhausted, "out of memory"}; }

Result<std::unique_ptr<File>> open_named(const std::string& path, PartBytes first, const OpenPart& open_part) {
  INFER_ASSIGN(Header header, read_header(first.bytes, 0));
  INFER_ASSIGN(const SplitKeys keys, read_split_keys(header));
  const std::optional<SplitName> name = parse_split_name(path);
  if (keys.number != 0) return wrong_first_part(keys, name);
  auto file = std::make_unique<PartsFile>(path, std::move(first), std::move(header));
  if (keys.parts > 1) {
    if (!open_part) {
      return Error{
          ErrorCode::kUnsupported,
          format("the first of {} parts of a split model; in memory only whole models can be read", keys.parts)};
    }
    if (!name || name->part != 1 || name->parts != keys.parts) {
      return Error{
          ErrorCode::kInvalidArgument,
          format("the first of {} parts of a split model, but its name does not end in -00001-of-{:05}.gguf, so the "
                 "other parts cannot be found; rename it",
                 keys.parts, keys.parts)};
    }
    INFER_TRY(add_parts(*name, keys, open_part, file.get()));
  }
  INFER_TRY(file->finish());
  return std::unique_ptr<File>(std::move(file));
}

}  // namespace

Result<std::unique_ptr<File>> open_model(const std::string& path, const OpenPart& open_part) try {
  INFER_ASSIGN(PartBytes first, open_part(path));
  Result<std::unique_ptr<File>> file = open_named(path, std::move(first), open_part);
  if (!file) return std::move(file).error().with_context(path);
  return file;
} catch (const std::bad_alloc&) {
  return out_of_memory();
}

Result<std::unique_ptr<File>> File::parse(std::span<const std::byte> bytes, std::string_view name) try {
  Result<std::unique_ptr<File>> file = open_named(std::string(name), PartBytes{std::nullopt, bytes}, nullptr);
  if (!file) return std::move(file).error().with_context(name);
  return file;
} catch (const std::bad_alloc&) {
  return out_of_memory();
}

Result<std::unique_ptr<File>> File::open(const std::string& path) {
  return open_model(path, [](const std::string& part_path) -> Result<PartBytes> {
    INFER_ASSIGN(os::FileMap map, os::FileMap::open(part_path));
    const std::span<const std::byte> bytes = map.bytes();
    return PartBytes{std::move(map), bytes};
  });
}

}  // namespace infer::gguf
