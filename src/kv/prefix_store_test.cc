#include "kv/prefix_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kv/prefix_index.h"
#include "os/system_clock.h"
#include "testing/faulty_folder.h"

namespace infer::kv {
namespace {

constexpr PageShape kShape{.kv_heads = 1, .head_dim = 16};
constexpr PrefixFileShape kFiles{.fingerprint = 0xABC, .page = kShape, .layers = 2};
const std::vector<int> kTwoLayers(2, 0);

std::vector<TokenId> numbers(int count, TokenId first = 0) {
  std::vector<TokenId> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// One life of a process: pages, index and store over a disk that survives it.
struct Life {
  explicit Life(testing::FolderDisk& disk, PrefixStoreOptions options = {.shape = kFiles}, int pages = 40)
      : pool(*PagePool::make(kShape, pages)),
        store(*PrefixStore::open(std::make_unique<testing::FaultyFolder>(disk), options, log)),
        index(*pool, 2, 7) {
    index.set_store(store.get());
  }

  // Computes what is not known of the text: token t of layer l gets bytes that follow from both.
  SequenceCache compute(std::span<const TokenId> text) {
    SequenceCache cache(*pool, kTwoLayers, 640);
    index.adopt(text, cache, cursor);
    const int known = cache.length();
    EXPECT_TRUE(cache.reserve(static_cast<int>(text.size()) - known).has_value());
    for (int layer = 0; layer < 2; ++layer) {
      for (int page = known / kPageTokens; page < pages_for_tokens(static_cast<int>(text.size())); ++page) {
        std::memset(cache.writable_part(layer, page, 0), text[static_cast<size_t>(page) * 64] * 2 + layer,
                    kShape.page_bytes(Level::k16));
      }
    }
    cache.commit(static_cast<int>(text.size()) - known);
    index.keep(text, cache, cursor);
    return cache;
  }
  // Until nothing is under way.
  void settle() {
    for (index.tend(now); index.saving(); index.tend(now)) {
      if (store->idle()) return;  // It rests.
      if (!store->run_pending()) (void)store->wait({clock, Deadline::never(), {}});
    }
  }
  void compute_and_save(std::span<const TokenId> text) {
    {
      const SequenceCache cache = compute(text);
    }
    index.save(cursor, now);
    settle();
  }
  // How many pages of the text come from the disk.
  int restore(std::span<const TokenId> text) {
    while (index.restore(text, 640, now)) settle();
    return index.find(text, SequenceCache(*pool, kTwoLayers, 640)).pages;
  }

  NullLog log;
  const os::SystemClock clock;
  Instant now = Instant() + Duration::from_seconds(1);
  std::unique_ptr<PagePool> pool;
  std::unique_ptr<PrefixStore> store;
  PrefixIndex index;
  PrefixCursor cursor;
};

TEST(PrefixStore, PagesAreTheSameAfterARestart) {
  testing::FolderDisk disk;
  const std::vector<TokenId> text = numbers(200);
  {
    Life(disk).compute_and_save(text);
  }
  EXPECT_EQ(disk.files().size(), 3u);  // Of whole pages.
  Life second(disk);
  EXPECT_EQ(second.index.hinted_pages(text), 3);
  EXPECT_EQ(second.restore(text), 3);
  const SequenceCache cache = second.compute(text);
  for (int layer = 0; layer < 2; ++layer) {
    for (int page = 0; page < 3; ++page) {
      const std::byte* const got = cache.part(layer, page, 0).full;
      const auto expected = static_cast<std::byte>(page * 64 * 2 + layer);
      EXPECT_TRUE(std::all_of(got, got + kShape.page_bytes(Level::k16), [&](std::byte b) { return b == expected; }));
    }
  }
  EXPECT_EQ(second.store->counters().read, 3u);
  EXPECT_EQ(second.index.restored_pages(), 3u);
  EXPECT_TRUE(second.index.check_integrity());
  EXPECT_TRUE(second.pool->check_integrity());
}

TEST(PrefixStore, WhatIsKnownIsNotWrittenTwiceAndItsFilesStayYoung) {
  testing::FolderDisk disk;
  {
    Life(disk).compute_and_save(numbers(200));
  }
  disk.grow_older(Duration::from_seconds(7200));
  Life second(disk);
  second.compute_and_save(numbers(200));
  EXPECT_EQ(disk.writes(), 3u);
  testing::FaultyFolder folder(disk);
  const std::vector<os::FolderEntry> entries = folder.list().value();
  for (const os::FolderEntry& entry : entries) EXPECT_EQ(entry.age, Duration()) << entry.name;
}

TEST(PrefixStore, AFileWithAnyChangedByteIsCountedAndNotUsed) {
  testing::FolderDisk disk;
  const std::vector<TokenId> text = numbers(64);
  {
    Life(disk).compute_and_save(text);
  }
  const auto [name, good] = *disk.files().begin();
  for (size_t at = 0; at < good.size(); at += at < 700 ? 1 : 997) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    disk.put(name, bad);
    Life life(disk, {.shape = kFiles, .threaded = false});
    EXPECT_EQ(life.restore(text), 0) << at;
    EXPECT_EQ(life.store->counters().refused, 1u) << at;
    EXPECT_TRUE(disk.files().empty());
  }
}

TEST(PrefixStore, AFileOfAnyOtherLengthIsCountedAndNotUsed) {
  testing::FolderDisk disk;
  const std::vector<TokenId> text = numbers(64);
  {
    Life(disk).compute_and_save(text);
  }
  const auto [name, good] = *disk.files().begin();
  for (const size_t length : {size_t{0}, size_t{1}, size_t{39}, size_t{300}, good.size() / 2, good.size() - 1}) {
    disk.put(name, good.substr(0, length));
    Life life(disk);
    EXPECT_EQ(life.restore(text), 0) << length;
    EXPECT_EQ(life.store->counters().refused, 1u) << length;
  }
  disk.put(name, good + "x");
  EXPECT_EQ(Life(disk).restore(text), 0);
  disk.put(name, good + std::string(good.size(), 'x'));
  EXPECT_EQ(Life(disk).restore(text), 0);
}

TEST(PrefixStore, AFileOfAnotherTextUnderTheSameNameIsNotUsed) {
  testing::FolderDisk disk;
  {
    Life(disk).compute_and_save(numbers(64, 1000));
  }
  const std::string other = disk.files().begin()->second;
  disk.remove(disk.files().begin()->first);
  {
    Life(disk).compute_and_save(numbers(64));
  }
  disk.put(disk.files().begin()->first, other);
  Life life(disk);
  EXPECT_EQ(life.restore(numbers(64)), 0);
  EXPECT_EQ(life.store->counters().refused, 1u);
}

TEST(PrefixStore, OtherModelsFilesAreNeitherUsedNorTouched) {
  testing::FolderDisk disk;
  {
    Life(disk).compute_and_save(numbers(64));
  }
  PrefixStoreOptions other{.shape = kFiles};
  other.shape.fingerprint = 0xDEF;
  Life life(disk, other);
  EXPECT_EQ(life.restore(numbers(64)), 0);
  EXPECT_EQ(life.store->counters().refused, 0u);
  EXPECT_EQ(disk.files().size(), 1u);
}

TEST(PrefixStore, FilesThatAreNotOfTheCacheAreCountedAndLeftAlone) {
  testing::FolderDisk disk;
  disk.put("notes.txt", "mine");
  disk.put("00-00-.prefix", "mine");
  Life life(disk);
  life.compute_and_save(numbers(64));
  EXPECT_EQ(life.store->counters().refused, 2u);
  EXPECT_EQ(disk.files().size(), 3u);
}

TEST(PrefixStore, WhatAKilledWriterLeftIsRemovedOnceItIsOld) {
  testing::FolderDisk disk;
  disk.put("1-2-1.prefix.77-1.partial", "half", Duration::from_seconds(3600));
  disk.put("1-3-1.prefix.78-1.partial", "half");  // Somebody may be writing it.
  const Life life(disk);
  EXPECT_EQ(disk.files().size(), 1u);
  EXPECT_EQ(life.store->counters().refused, 0u);
}

TEST(PrefixStore, AFullDiskIsLeftAloneForAWhileAndThenTriedAgain) {
  testing::FolderDisk disk;
  disk.set_capacity(1);
  Life life(disk, {.shape = kFiles, .threaded = false});
  life.compute_and_save(numbers(64));
  EXPECT_EQ(life.store->counters().failed, 1u);
  life.compute_and_save(numbers(64, 1000));
  EXPECT_EQ(disk.writes(), 1u);  // It rests.
  disk.set_capacity(0);
  life.now = life.now + Duration::from_seconds(2);
  life.settle();
  EXPECT_EQ(disk.files().size(), 1u);  // The first one was given up.
  EXPECT_EQ(life.store->counters().written, 1u);
}

TEST(PrefixStore, ADiskThatCannotBeReadCostsAMiss) {
  testing::FolderDisk disk;
  {
    Life(disk).compute_and_save(numbers(200));
  }
  disk.fail(true, false);
  Life life(disk);
  EXPECT_EQ(life.restore(numbers(200)), 0);
  EXPECT_GE(life.store->counters().failed, 1u);
  EXPECT_EQ(disk.files().size(), 3u);
}

TEST(PrefixStore, FilesThatWentAwayCostAMiss) {
  testing::FolderDisk disk;
  {
    Life(disk).compute_and_save(numbers(200));
  }
  Life life(disk);
  for (const auto& [name, bytes] : disk.files()) disk.remove(name);
  EXPECT_EQ(life.restore(numbers(200)), 0);
  EXPECT_EQ(life.store->counters().failed, 0u);
}

TEST(PrefixStore, TheLimitIsKeptByRemovingWhatWasUnusedForLongest) {
  testing::FolderDisk disk;
  const size_t one = prefix_file_bytes_max(kFiles, 640);
  const PrefixStoreOptions options{.shape = kFiles, .limit_bytes = 10 * one};
  Life life(disk, options, 200);
  for (int text = 0; text < 30; ++text) {
    life.compute_and_save(numbers(64, text * 1000));
    disk.grow_older(Duration::from_seconds(3600));
    uint64_t bytes = 0;
    for (const auto& [name, file] : disk.files()) bytes += file.size();
    EXPECT_LE(bytes, options.limit_bytes);
  }
  EXPECT_GE(disk.files().size(), 8u);
  EXPECT_GE(life.store->counters().removed, 18u);
  Life second(disk, options);
  EXPECT_EQ(second.restore(numbers(64, 29 * 1000)), 1);
  EXPECT_EQ(second.restore(numbers(64)), 0);
}

TEST(PrefixStore, ATextLosesItsEndBeforeItsBeginning) {
  testing::FolderDisk disk;
  const size_t one = prefix_file_bytes_max(kFiles, 640);
  const PrefixStoreOptions options{.shape = kFiles, .limit_bytes = 8 * one};
  Life life(disk, options, 200);
  life.compute_and_save(numbers(64 * 6));
  disk.grow_older(Duration::from_seconds(60));
  for (int text = 1; text < 6; ++text) life.compute_and_save(numbers(64, text * 1000));
  Life second(disk, options);
  const int left = second.restore(numbers(64 * 6));
  EXPECT_GE(left, 1);
  EXPECT_LT(left, 6);
}

TEST(PrefixStore, TwoProcessesMayUseOneFolder) {
  testing::FolderDisk disk;
  Life one(disk), other(disk);
  one.compute_and_save(numbers(128));
  other.compute_and_save(numbers(128));  // The same files again, since it does not know of them.
  EXPECT_EQ(disk.files().size(), 2u);
  Life third(disk);
  EXPECT_EQ(third.restore(numbers(128)), 2);
}

TEST(PrefixStore, PagesKeepTheirLevels) {
  testing::FolderDisk disk;
  const std::vector<TokenId> text = numbers(64);
  std::array<std::vector<std::byte>, 2> content;
  {
    const auto pool = *PagePool::make(kShape, 4);
    NullLog log;
    const os::SystemClock clock;
    const auto store =
        *PrefixStore::open(std::make_unique<testing::FaultyFolder>(disk), {.shape = kFiles, .threaded = false}, log);
    const std::array<PageId, 2> pages{pool->take(Level::k8), pool->take(Level::k4)};
    for (size_t i = 0; i < 2; ++i) {
      content[i].resize(kShape.page_bytes(pool->level(pages[i])));
      for (size_t at = 0; at < content[i].size(); ++at) content[i][at] = static_cast<std::byte>(at * 7 + i);
      pool->copy_in(pages[i], content[i].data());
    }
    ASSERT_TRUE(store->start_write(1, text, *pool, pages, Instant()));
    ASSERT_TRUE(store->run_pending());
    EXPECT_FALSE(store->take_read(Instant()));
    ASSERT_TRUE(store->start_read(1, text, Instant()));
    ASSERT_TRUE(store->run_pending());
    const std::optional<PrefixStore::Read> read = store->take_read(Instant());
    ASSERT_TRUE(read && read->file);
    EXPECT_EQ(read->file->levels[0], static_cast<uint8_t>(Level::k8));
    EXPECT_EQ(read->file->levels[1], static_cast<uint8_t>(Level::k4));
    const auto both = read->file->pages;
    EXPECT_TRUE(std::equal(content[0].begin(), content[0].end(), both.begin()));
    EXPECT_TRUE(
        std::equal(content[1].begin(), content[1].end(), both.begin() + static_cast<ptrdiff_t>(content[0].size())));
    for (const PageId page : pages) pool->give_back(page);
    EXPECT_TRUE(pool->check_integrity());
  }
}

TEST(PrefixStore, APoolThatIsFullTakesNothingBack) {
  testing::FolderDisk disk;
  {
    Life(disk).compute_and_save(numbers(256));
  }
  Life life(disk, {.shape = kFiles}, 4);  // Two nodes.
  EXPECT_EQ(life.restore(numbers(256)), 2);
  EXPECT_TRUE(life.index.check_integrity());
}

}  // namespace
}  // namespace infer::kv
