#include "model/repack_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "model/model.h"
#include "testing/loaded_model.h"
#include "testing/machine_kernels.h"
#include "testing/property.h"
#include "testing/test_folder.h"

namespace infer::model {
namespace {

namespace fs = std::filesystem;

class KeptLog final : public Log {
 public:
  void write(LogLevel level, std::string_view message) override {
    if (level == LogLevel::kWarning) lines.emplace_back(message);
  }
  std::vector<std::string> lines;
};

std::string content(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
}
void set_content(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// Panels of more than one chunk.
const testing::RandomModel kModel{
    .width = 256, .ffn_width = 512, .vocabulary = 2100, .type = kernels::WeightType::kF32};
constexpr TokenId kPrompt[] = {1, 5, 70, 2, 9};

class RepackCacheTest : public ::testing::Test {
 protected:
  RepackCacheOptions options() const { return {.folder = folder_.string(), .limit_bytes = 1 << 30, .always = true}; }

  std::unique_ptr<testing::LoadedModel> load(const RepackCache* cache, const testing::RandomModel& model = kModel) {
    return testing::load_random(model, *testing::machine_kernels().front(), 2,
                                {.context = 64, .logits_per_step = 8, .repack_cache = cache});
  }
  static std::vector<std::vector<float>> logits(testing::LoadedModel& loaded) {
    kv::SequenceCache sequence = loaded.model->make_sequence();
    return loaded.compute(sequence, kPrompt, 8);
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> paths;
    if (!fs::exists(folder_)) return paths;
    for (const auto& entry : fs::directory_iterator(folder_)) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    return paths;
  }
  // Loads, stores and gives the one file that is then there.
  fs::path stored() {
    const RepackCache cache(options(), log_);
    const auto loaded = load(&cache);
    const Status status = loaded->model->finish_storing_weights(loaded->call());
    EXPECT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(files().size(), 1u);
    return files().empty() ? fs::path() : files().front();
  }

  const testing::TestFolder own_;
  const fs::path folder_ = own_.path() / "not made yet";
  KeptLog log_;
};

TEST_F(RepackCacheTest, TheSecondLoadMapsWhatTheFirstStoredAndAnswersTheSame) {
  const RepackCache cache(options(), log_);
  const auto plain = load(nullptr);
  const auto first = load(&cache);
  EXPECT_EQ(first->model->weights_source(), WeightsSource::kRepacked);
  ASSERT_TRUE(first->model->finish_storing_weights(first->call()).has_value());
  const auto second = load(&cache);
  EXPECT_EQ(second->model->weights_source(), WeightsSource::kCache);
  EXPECT_FALSE(second->model->storing_weights());
  EXPECT_EQ(logits(*second), logits(*plain));
  EXPECT_TRUE(second->model->finish_settling_weights(second->call()));
  EXPECT_EQ(logits(*second), logits(*plain));
  EXPECT_EQ(logits(*first), logits(*plain));
  EXPECT_EQ(log_.lines, std::vector<std::string>());
}

TEST_F(RepackCacheTest, AnswersWhileItStores) {
  const RepackCache cache(options(), log_);
  const auto plain = load(nullptr);
  const auto loaded = load(&cache);
  EXPECT_EQ(logits(*loaded), logits(*plain));
}

TEST_F(RepackCacheTest, DamagedFilesAreNotUsedAndWrittenAnew) {
  const fs::path path = stored();
  const std::string good = content(path);
  ASSERT_GT(good.size(), 3 * RepackCache::kChunkBytes);
  const auto expected = logits(*load(nullptr));
  const RepackCache cache(options(), log_);
  for (const size_t at : {size_t{40}, good.size() / 2, good.size() - 1}) {  // Header, data, checksums.
    std::string bad = good;
    bad[at] ^= char{4};
    set_content(path, bad);
    log_.lines.clear();
    const auto loaded = load(&cache);
    EXPECT_EQ(loaded->model->weights_source(), WeightsSource::kRepacked) << "byte " << at;
    EXPECT_EQ(log_.lines.size(), 1u);
    EXPECT_EQ(logits(*loaded), expected);
    ASSERT_TRUE(loaded->model->finish_storing_weights(loaded->call()).has_value());
    EXPECT_EQ(content(path), good);
  }
}

TEST_F(RepackCacheTest, AFileOfAnotherModelUnderThisOnesNameIsRefused) {
  const fs::path path = stored();
  const std::string good = content(path);
  const RepackCache cache(options(), log_);
  testing::RandomModel other = kModel;
  other.seed = 2;
  const auto loaded = load(&cache, other);
  EXPECT_EQ(loaded->model->weights_source(), WeightsSource::kRepacked);
  ASSERT_TRUE(loaded->model->finish_storing_weights(loaded->call()).has_value());
  ASSERT_EQ(files().size(), 2u);
  for (const fs::path& file : files()) {
    if (file != path) set_content(path, content(file));
  }
  const auto again = load(&cache);
  EXPECT_EQ(again->model->weights_source(), WeightsSource::kRepacked);
  ASSERT_EQ(log_.lines.size(), 1u);
  EXPECT_NE(log_.lines[0].find("header"), std::string::npos);
  ASSERT_TRUE(again->model->finish_storing_weights(again->call()).has_value());
  EXPECT_EQ(content(path), good);
}

// What the cache needs to be asked directly.
struct Asked {
  std::unique_ptr<testing::LoadedModel> loaded;
  std::vector<PackedMatrix> matrices;
  std::vector<std::byte> panels;
  RepackCache::Key key;
};

Asked ask(const testing::RandomModel& model, const kernels::KernelTable& kernels) {
  Asked asked;
  asked.loaded = testing::load_random(model, kernels, 1, {.context = 64});
  const gguf::Tensor* tensor = asked.loaded->file->find_tensor("token_embd.weight");
  asked.matrices = {{tensor, static_cast<int>(tensor->rows()), static_cast<int>(tensor->dims[0])}};
  asked.key = RepackCache::make_key(*asked.loaded->file, asked.matrices, kernels);
  asked.panels.resize(asked.key.data_bytes);
  for (size_t i = 0; i < asked.panels.size(); ++i) asked.panels[i] = static_cast<std::byte>(i * 7);
  return asked;
}

void pack_otherwise(kernels::WeightType type, const std::byte* source, int rows, int cols, int begin, int end,
                    std::byte* target) {
  testing::machine_kernels().front()->pack_panels(type, source, rows, cols, begin, end, target);
  target[0] ^= std::byte{1};
}

TEST_F(RepackCacheTest, TheNameTellsModelsAndLayoutsApart) {
  const kernels::KernelTable& kernels = *testing::machine_kernels().front();
  const std::string name = ask(kModel, kernels).key.name;
  EXPECT_EQ(ask(kModel, kernels).key.name, name);
  EXPECT_EQ(ask(kModel, *testing::machine_kernels().back()).key.name, name) << "all instruction sets share one layout";

  kernels::KernelTable other_layout = kernels;
  other_layout.pack_panels = pack_otherwise;
  testing::RandomModel other_weights = kModel, other_metadata = kModel;
  other_weights.seed = 2;
  other_metadata.integers["general.quantization_version"] = 9;
  std::set<std::string> names{name, ask(other_weights, kernels).key.name, ask(other_metadata, kernels).key.name};
  const Asked asked = ask(kModel, kernels);
  names.insert(RepackCache::make_key(*asked.loaded->file, asked.matrices, other_layout).name);
  EXPECT_EQ(names.size(), 4u);
}

// Cuts the file off, appends to it, or flips a bit near the header or anywhere else.
std::string damaged(const std::string& good, Rng& rng) {
  const auto size = static_cast<uint32_t>(good.size());
  std::string bad = good;
  switch (rng.below(4)) {
    case 0: bad.resize(rng.below(size)); break;
    case 1: bad.append(1 + rng.below(3000), 'x'); break;
    case 2: bad[rng.below(600)] ^= static_cast<char>(1 << rng.below(8)); break;
    default: bad[rng.below(size)] ^= static_cast<char>(1 << rng.below(8));
  }
  return bad;
}

TEST_F(RepackCacheTest, NoDamageGoesUnseen) {
  const Asked asked = ask(kModel, *testing::machine_kernels().front());
  const RepackCache cache(options(), log_);
  ASSERT_TRUE(cache.store(asked.key, asked.panels, {}).has_value());
  const fs::path path = folder_ / asked.key.name;
  const std::string good = content(path);
  ASSERT_GT(good.size(), 2 * RepackCache::kChunkBytes) << "the room behind the header and more than one chunk";
  testing::for_each_case(100, [&](Rng& rng) {
    const std::string bad = damaged(good, rng);
    set_content(path, bad);
    log_.lines.clear();
    const auto found = cache.open(asked.key, *asked.loaded->pool, asked.loaded->call(), nullptr).value();
    // The room behind the header means nothing.
    const bool harmless =
        bad.size() == good.size() && bad.substr(RepackCache::kChunkBytes) == good.substr(RepackCache::kChunkBytes) &&
        std::equal(asked.key.header.begin(), asked.key.header.end(), reinterpret_cast<const std::byte*>(bad.data()));
    ASSERT_EQ(found.has_value(), harmless);
    if (harmless) {
      ASSERT_TRUE(std::equal(asked.panels.begin(), asked.panels.end(), found->panels.begin(), found->panels.end()));
      return;
    }
    ASSERT_EQ(log_.lines.size(), 1u);
    EXPECT_NE(log_.lines[0].find(asked.key.name), std::string::npos) << log_.lines[0];
  });
  ASSERT_TRUE(cache.store(asked.key, asked.panels, {}).has_value());
  EXPECT_EQ(content(path), good);
}

TEST_F(RepackCacheTest, TwoWritersAtOnceLeaveOneGoodFile) {
  const Asked asked = ask(kModel, *testing::machine_kernels().front());
  const RepackCache cache(options(), log_);
  std::vector<Status> ends(4);
  {
    std::vector<std::jthread> writers;
    for (Status& end : ends) writers.emplace_back([&] { end = cache.store(asked.key, asked.panels, {}); });
  }
  for (const Status& end : ends) EXPECT_TRUE(end.has_value()) << end.error().message;
  EXPECT_EQ(files(), std::vector<fs::path>{folder_ / asked.key.name});
  const auto found = cache.open(asked.key, *asked.loaded->pool, asked.loaded->call(), nullptr).value();
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(std::equal(asked.panels.begin(), asked.panels.end(), found->panels.begin(), found->panels.end()));
}

TEST_F(RepackCacheTest, WhatWasUnusedForLongestMakesRoom) {
  const kernels::KernelTable& kernels = *testing::machine_kernels().front();
  std::vector<Asked> asked;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    testing::RandomModel model = kModel;
    model.seed = seed;
    asked.push_back(ask(model, kernels));
  }
  RepackCacheOptions options = this->options();
  const RepackCache roomy(options, log_);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(roomy.store(asked[i].key, asked[i].panels, {}).has_value());
  const uint64_t one = fs::file_size(folder_ / asked[0].key.name);
  const auto age = [&](int i, int hours) {
    const fs::path path = folder_ / asked[i].key.name;
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  age(0, 30);
  age(1, 20);
  age(2, 10);
  // Using the oldest makes it the newest.
  ASSERT_TRUE(roomy.open(asked[0].key, *asked[0].loaded->pool, asked[0].loaded->call(), nullptr).value().has_value());

  options.limit_bytes = 3 * one;
  ASSERT_TRUE(RepackCache(options, log_).store(asked[3].key, asked[3].panels, {}).has_value());
  std::vector<fs::path> expected{folder_ / asked[0].key.name, folder_ / asked[2].key.name, folder_ / asked[3].key.name};
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(files(), expected);
}

TEST_F(RepackCacheTest, OnlyItsOwnFilesAreRemovedAndLeftoversOfDeadWritersToo) {
  const Asked asked = ask(kModel, *testing::machine_kernels().front());
  fs::create_directories(folder_);
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(50);
  for (const char* name : {"photo.jpg", "a.panels.77-0.partial", "b.panels"}) {
    set_content(folder_ / name, std::string(1000, 'x'));
    fs::last_write_time(folder_ / name, old);
  }
  set_content(folder_ / "c.panels.78-0.partial", "somebody writes it now");
  RepackCacheOptions options = this->options();
  const RepackCache roomy(options, log_);
  ASSERT_TRUE(roomy.store(asked.key, asked.panels, {}).has_value());
  options.limit_bytes = fs::file_size(folder_ / asked.key.name);
  ASSERT_TRUE(RepackCache(options, log_).store(asked.key, asked.panels, {}).has_value());
  std::vector<fs::path> expected{folder_ / "photo.jpg", folder_ / "c.panels.78-0.partial", folder_ / asked.key.name};
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(files(), expected);
}

TEST_F(RepackCacheTest, AModelAboveTheLimitIsLoadedAndNotStored) {
  RepackCacheOptions options = this->options();
  options.limit_bytes = 100'000;
  const RepackCache cache(options, log_);
  const auto loaded = load(&cache);
  EXPECT_FALSE(loaded->model->storing_weights());
  ASSERT_EQ(log_.lines.size(), 1u);
  EXPECT_NE(log_.lines[0].find("the limit is 100 kB; raise it with --repack-cache-limit"), std::string::npos)
      << log_.lines[0];
  EXPECT_EQ(files().size(), 0u);
  const Asked asked = ask(kModel, *testing::machine_kernels().front());
  EXPECT_EQ(cache.store(asked.key, asked.panels, {}).error().code, ErrorCode::kExhausted);
}

TEST_F(RepackCacheTest, AQuickLoadIsNotStoredUnlessAskedFor) {
  RepackCacheOptions options = this->options();
  options.always = false;
  const RepackCache cache(options, log_);
  const auto loaded = load(&cache);
  EXPECT_FALSE(loaded->model->storing_weights());
  EXPECT_TRUE(loaded->model->finish_storing_weights(loaded->call()).has_value());
  EXPECT_EQ(files().size(), 0u);
  EXPECT_EQ(log_.lines, std::vector<std::string>()) << "nobody asked for it, so nobody wants to know";
}

TEST_F(RepackCacheTest, AFolderThatCannotBeMadeFailsTheStoringAndNotTheLoad) {
  set_content(folder_, "a file where the folder should be");
  const RepackCache cache(options(), log_);
  const auto loaded = load(&cache);
  const Status status = loaded->model->finish_storing_weights(loaded->call());
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(logits(*loaded), logits(*load(nullptr)));
}

TEST_F(RepackCacheTest, AFileThatCannotGetItsNameLeavesNothingBehind) {
  const Asked asked = ask(kModel, *testing::machine_kernels().front());
  const RepackCache cache(options(), log_);
  fs::create_directories(folder_ / asked.key.name / "in the way");
  const Status status = cache.store(asked.key, asked.panels, {});
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message.find(asked.key.name), std::string::npos) << status.error().message;
  EXPECT_EQ(files(), std::vector<fs::path>{folder_ / asked.key.name});
  const auto found = cache.open(asked.key, *asked.loaded->pool, asked.loaded->call(), nullptr);
  ASSERT_TRUE(found.has_value()) << "trouble with the cache is a line in the log";
  EXPECT_FALSE(found->has_value());
  EXPECT_EQ(log_.lines.size(), 1u);
}

TEST_F(RepackCacheTest, ACancelledWriterLeavesNothingBehind) {
  const Asked asked = ask(kModel, *testing::machine_kernels().front());
  CancelSource cancel;
  cancel.cancel(CancelReason::kUser);
  EXPECT_EQ(RepackCache(options(), log_).store(asked.key, asked.panels, cancel.token()).error().code,
            ErrorCode::kCancelled);
  EXPECT_EQ(files().size(), 0u);
}

TEST_F(RepackCacheTest, ADeadlineEndsTheOpening) {
  const Asked asked = ask(kModel, *testing::machine_kernels().front());
  const RepackCache cache(options(), log_);
  ASSERT_TRUE(cache.store(asked.key, asked.panels, {}).has_value());
  const CallContext late{asked.loaded->clock, Deadline::at(asked.loaded->clock.now()), {}};
  const auto found = cache.open(asked.key, *asked.loaded->pool, late, nullptr);
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code, ErrorCode::kDeadline);
}

TEST_F(RepackCacheTest, AFileTakenAwayWhileItIsMappedStaysReadable) {
  const fs::path path = stored();
  const RepackCache cache(options(), log_);
  const auto loaded = load(&cache);
  ASSERT_EQ(loaded->model->weights_source(), WeightsSource::kCache);
  fs::remove(path);
  EXPECT_EQ(logits(*loaded), logits(*load(nullptr)));
}

}  // namespace
}  // namespace infer::model
