#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "gguf/part_source.h"
#include "gguf/split_name.h"
#include "gguf/writer.h"

namespace infer::gguf {
namespace {

// Parts of a model in memory, by path.
class Folder {
 public:
  void put(const std::string& path, std::vector<std::byte> bytes) { files_[path] = std::move(bytes); }
  void remove(const std::string& path) { files_.erase(path); }

  Result<std::unique_ptr<File>> open(const std::string& path) const {
    return open_model(path, [this](const std::string& part) -> Result<PartBytes> {
      const auto it = files_.find(part);
      if (it == files_.end()) return Error{ErrorCode::kNotFound, part + ": no such file"};
      return PartBytes{std::nullopt, it->second};
    });
  }
  std::string open_error(const std::string& path, ErrorCode code) const {
    const auto file = open(path);
    if (file) return "accepted";
    EXPECT_EQ(file.error().code, code) << file.error().message;
    return file.error().message;
  }

 private:
  std::map<std::string, std::vector<std::byte>> files_;
};

struct PartModel {
  uint16_t number;
  uint16_t parts;
  int32_t all_tensors;
  std::vector<std::string> tensors;
};

std::vector<std::byte> part_bytes(const PartModel& part) {
  Writer writer;
  EXPECT_TRUE(writer.add("split.no", part.number).has_value());
  EXPECT_TRUE(writer.add("split.count", part.parts).has_value());
  EXPECT_TRUE(writer.add("split.tensors.count", part.all_tensors).has_value());
  const bool first = part.number == 0;
  EXPECT_TRUE(writer.add_string(first ? "general.architecture" : "ignored", "llama").has_value());
  for (const std::string& name : part.tensors) {
    EXPECT_TRUE(writer.add_tensor(name, kernels::WeightType::kF32, {2}).has_value());
  }
  MemorySink sink;
  auto data = std::move(writer).write_header(&sink);
  EXPECT_TRUE(data.has_value());
  for (const std::string& name : part.tensors) {
    const float values[2] = {static_cast<float>(name.back()), 0.0f};
    EXPECT_TRUE(data->append(name, std::as_bytes(std::span(values))).has_value());
  }
  EXPECT_TRUE(data->finish().has_value());
  return sink.bytes();
}

const std::string kFirst = "m/model-00001-of-00003.gguf";
const std::string kSecond = "m/model-00002-of-00003.gguf";
const std::string kThird = "m/model-00003-of-00003.gguf";

Folder three_parts() {
  Folder folder;
  folder.put(kFirst, part_bytes({0, 3, 4, {}}));
  folder.put(kSecond, part_bytes({1, 3, 4, {"a", "b", "c"}}));
  folder.put(kThird, part_bytes({2, 3, 4, {"d"}}));
  return folder;
}

#define EXPECT_HAS(text, words) EXPECT_NE((text).find(words), std::string::npos) << (text)

TEST(GgufSplit, AllPartsAreReadAsOneModel) {
  const Folder folder = three_parts();
  const auto file = folder.open(kFirst);
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_EQ((*file)->tensors().size(), 4u);
  EXPECT_EQ(*(*file)->get_string("general.architecture"), "llama");
  const std::map<std::string, uint32_t> part_of{{"a", 1}, {"b", 1}, {"c", 1}, {"d", 2}};
  for (const auto& [name, part] : part_of) {
    const Tensor* tensor = (*file)->find_tensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(tensor->part, part);
    float value = 0;
    std::memcpy(&value, tensor->data.data(), sizeof(value));
    EXPECT_EQ(value, static_cast<float>(name[0]));
  }
  EXPECT_EQ((*file)->file_bytes(), part_bytes({0, 3, 4, {}}).size() + part_bytes({1, 3, 4, {"a", "b", "c"}}).size() +
                                       part_bytes({2, 3, 4, {"d"}}).size());
}

TEST(GgufSplit, AMissingPartIsNamed) {
  Folder folder = three_parts();
  folder.remove(kThird);
  const std::string message = folder.open_error(kFirst, ErrorCode::kNotFound);
  EXPECT_HAS(message, kThird);
  EXPECT_HAS(message, "the model has 3 parts, all in one folder, and part 3 cannot be opened");
}

TEST(GgufSplit, ALaterPartPointsToTheFirst) {
  Folder folder = three_parts();
  EXPECT_HAS(folder.open_error(kSecond, ErrorCode::kInvalidArgument), "open the first part instead: " + kFirst);
  folder.put("renamed.gguf", part_bytes({1, 3, 4, {"a"}}));
  EXPECT_HAS(folder.open_error("renamed.gguf", ErrorCode::kInvalidArgument), "-00001-of-00003.gguf");
}

TEST(GgufSplit, ARenamedFirstPartIsRefused) {
  Folder folder = three_parts();
  folder.put("renamed.gguf", part_bytes({0, 3, 4, {}}));
  EXPECT_HAS(folder.open_error("renamed.gguf", ErrorCode::kInvalidArgument), "does not end in -00001-of-00003.gguf");
  folder.put("m/model-00001-of-00002.gguf", part_bytes({0, 3, 4, {}}));
  EXPECT_HAS(folder.open_error("m/model-00001-of-00002.gguf", ErrorCode::kInvalidArgument), "of-00003.gguf");
}

TEST(GgufSplit, PartsThatDoNotBelongTogetherAreRefused) {
  Folder folder = three_parts();
  folder.put(kSecond, part_bytes({2, 3, 4, {"a"}}));
  EXPECT_HAS(folder.open_error(kFirst, ErrorCode::kCorrupt), "it says that it is part 3 of 3");
  folder.put(kSecond, part_bytes({1, 4, 4, {"a"}}));
  EXPECT_HAS(folder.open_error(kFirst, ErrorCode::kCorrupt), "it says that it is part 2 of 4");
  folder.put(kSecond, part_bytes({1, 3, 4, {"a", "d", "b"}}));
  EXPECT_HAS(folder.open_error(kFirst, ErrorCode::kCorrupt), "tensor 'd' occurs twice (in parts 2 and 3 of 3)");
  folder.put(kSecond, part_bytes({1, 3, 4, {"a"}}));
  EXPECT_HAS(folder.open_error(kFirst, ErrorCode::kCorrupt),
             "split.tensors.count is 4, but the 3 parts have 2 tensors");
  std::vector<std::byte> cut = part_bytes({1, 3, 4, {"a", "b", "c"}});
  cut.resize(cut.size() - 40);
  folder.put(kSecond, cut);
  EXPECT_HAS(folder.open_error(kFirst, ErrorCode::kCorrupt), kSecond + ": tensor 'c'");
}

TEST(GgufSplit, HostileSplitKeysAreRefused) {
  Folder folder;
  const auto with = [&](auto number, auto parts) {
    Writer writer;
    EXPECT_TRUE(writer.add("split.no", number).has_value());
    EXPECT_TRUE(writer.add("split.count", parts).has_value());
    MemorySink sink;
    EXPECT_TRUE(std::move(writer).write_header(&sink).has_value());
    folder.put("m.gguf", sink.bytes());
  };
  with(uint16_t{0}, uint32_t{0xFFFFFFFF});
  EXPECT_HAS(folder.open_error("m.gguf", ErrorCode::kUnsupported), "4294967295 parts; the limit is 1024");
  with(int32_t{-1}, uint16_t{2});
  EXPECT_HAS(folder.open_error("m.gguf", ErrorCode::kCorrupt), "'split.no' must be a count, but is -1");
  with(uint16_t{0}, 1.5f);
  EXPECT_HAS(folder.open_error("m.gguf", ErrorCode::kCorrupt), "'split.count' must be a count, but is 1.5");
  with(uint16_t{3}, uint16_t{3});
  EXPECT_HAS(folder.open_error("m.gguf", ErrorCode::kCorrupt), "split.no is 3 where split.count is 3");
}

TEST(GgufSplit, OnePartOfOneIsAWholeModel) {
  Folder folder;
  folder.put("m.gguf", part_bytes({0, 1, 1, {"a"}}));
  EXPECT_TRUE(folder.open("m.gguf").has_value());
}

TEST(GgufSplit, MemoryHoldsWholeModelsOnly) {
  const std::vector<std::byte> bytes = part_bytes({0, 3, 4, {}});
  const auto file = File::parse(bytes, kFirst);
  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error().code, ErrorCode::kUnsupported);
}

TEST(GgufSplit, NamesOfPartsAreRecognized) {
  const auto name = parse_split_name("/x/y-00002-of-00010.gguf");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->prefix, "/x/y");
  EXPECT_EQ(name->part, 2u);
  EXPECT_EQ(name->parts, 10u);
  EXPECT_EQ(name->path_of(10), "/x/y-00010-of-00010.gguf");
  for (const char* other :
       {"", "m.gguf", "-00001-of-00002.gguf", "m-00003-of-00002.gguf", "m-00000-of-00002.gguf", "m-0001-of-0002.gguf",
        "m-00001-of-00002.bin", "m-0000x-of-00002.gguf", "m_00001-of-00002.gguf"}) {
    EXPECT_FALSE(parse_split_name(other).has_value()) << other;
  }
}

}  // namespace
}  // namespace infer::gguf
