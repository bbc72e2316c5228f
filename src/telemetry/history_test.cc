#include "telemetry/history.h"

#include <gtest/gtest.h>
#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>

#include "os/system_clock.h"
#include "telemetry/line_log.h"
#include "testing/property.h"
#include "testing/test_folder.h"

namespace infer::telemetry {
namespace {

namespace fs = std::filesystem;

class NotedLog final : public Log {
 public:
  void write(LogLevel, std::string_view message) override { text.append(message).append("\n"); }
  std::string text;  // Read after the writing thread has ended.
};

HistoryRecord record_at(int64_t unix_ms, double tps) {
  HistoryRecord record;
  record.time.unix_ms = unix_ms;
  record.values[0] = tps;
  return record;
}

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(HistoryStore, WhatWasAppendedIsThereAtTheNextStart) {
  const testing::TestFolder folder;
  const std::string path = folder.file("history.db");
  {
    auto store = HistoryStore::open(path, {});
    ASSERT_TRUE(store.has_value()) << store.error().message;
    const std::vector<HistoryRecord> records{record_at(1000, 1.5), record_at(2000, 2.5), record_at(3000, 3.5)};
    ASSERT_TRUE(store->append(records));
  }
  auto store = HistoryStore::open(path, {});
  ASSERT_TRUE(store.has_value());
  const auto all = store->query({});
  ASSERT_TRUE(all.has_value());
  ASSERT_EQ(all->size(), 3u);
  EXPECT_EQ((*all)[0].time.unix_ms, 1000);
  EXPECT_EQ((*all)[2].values[0], 3.5);
  EXPECT_FALSE((*all)[2].values[1].has_value());  // Unknown stays unknown.
  const auto last = store->query({.since_unix_ms = 0, .limit = 1});
  ASSERT_EQ(last->size(), 1u);
  EXPECT_EQ((*last)[0].time.unix_ms, 3000);
  EXPECT_EQ(store->query({.since_unix_ms = 2000})->size(), 2u);
  EXPECT_TRUE(store->query({.since_unix_ms = 4000})->empty());
}

TEST(HistoryStore, KeepsEvaluationsAsTheyAre) {
  const testing::TestFolder folder;
  const std::string path = folder.file("history.db");
  const EvaluationRecord kept{.time = {1000},
                              .kind = "full",
                              .trigger = "schedule",
                              .model = "tales",
                              .policy = "dynamic, window 64",
                              .dataset = "it's a text",
                              .positions = 8192,
                              .seconds = 12.5,
                              .ppl_f16 = 31.45,
                              .ppl = 31.5,
                              .delta_ppl = 0.05,
                              .delta_stderr = 0.01,
                              .kld_mean = 0.002,
                              .kld_p999 = 0.03,
                              .same_top = 0.98};
  {
    auto store = HistoryStore::open(path, {});
    ASSERT_TRUE(store->append_evaluation(kept).has_value());
    EvaluationRecord later = kept;
    later.time = {2000};
    ASSERT_TRUE(store->append_evaluation(later).has_value());
  }
  auto store = HistoryStore::open(path, {});
  const auto all = store->query_evaluations(10);
  ASSERT_TRUE(all.has_value()) << all.error().message;
  ASSERT_EQ(all->size(), 2u);
  const EvaluationRecord& found = all->front();
  EXPECT_EQ(found.time.unix_ms, 1000);
  EXPECT_EQ(found.dataset, kept.dataset);
  EXPECT_EQ(found.trigger, kept.trigger);
  EXPECT_EQ(found.positions, kept.positions);
  EXPECT_EQ(found.delta_ppl, kept.delta_ppl);
  EXPECT_EQ(found.same_top, kept.same_top);
  EXPECT_EQ(store->query_evaluations(1)->front().time.unix_ms, 2000);
}

#if !defined(_WIN32)

// Appends records from `first` on, some at once, and says the last one of each append; never returns.
[[noreturn]] void append_until_killed(const std::string& path, int64_t first, uint64_t seed, int acknowledged) {
  Rng rng(seed);
  auto store = HistoryStore::open(path, {});
  for (int64_t last = first - 1; store.has_value();) {
    std::vector<HistoryRecord> records;
    for (uint64_t left = 1 + rng.below(3); left > 0; --left) records.push_back(record_at(++last, 0.5));
    if (!store->append(records)) break;
    if (::write(acknowledged, &last, sizeof last) != sizeof last) break;
  }
  ::_exit(1);
}

TEST(HistoryStore, AProcessThatIsKilledWhileItWritesLosesNothingThatWasAcknowledged) {
  const testing::TestFolder folder;
  const std::string path = folder.file("history.db");
  int64_t kept = 0;
  testing::for_each_case(200, [&](Rng& rng) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const uint64_t seed = rng.below(1 << 30);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) append_until_killed(path, kept + 1, seed, pipe[1]);
    ::close(pipe[1]);
    int64_t acknowledged = kept, said = 0;
    for (uint64_t left = rng.below(12); left > 0 && ::read(pipe[0], &said, sizeof said) == sizeof said; --left) {
      acknowledged = said;
    }
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
    while (::read(pipe[0], &said, sizeof said) == sizeof said) acknowledged = said;
    ::close(pipe[0]);

    auto store = HistoryStore::open(path, {});
    ASSERT_TRUE(store.has_value()) << store.error().message;
    const auto all = store->query({.since_unix_ms = 0, .limit = kHistoryLimitMax});
    ASSERT_TRUE(all.has_value()) << all.error().message;
    kept = static_cast<int64_t>(all->size());
    EXPECT_GE(kept, acknowledged);
    for (int64_t i = 0; i < kept; ++i) ASSERT_EQ((*all)[static_cast<size_t>(i)].time.unix_ms, i + 1);
  });
  EXPECT_GT(kept, 200);
}

#endif

TEST(HistoryStore, TooOldAndTooMuchIsRemovedOldestFirst) {
  const testing::TestFolder folder;
  const std::string path = folder.file("history.db");
  auto store = HistoryStore::open(path, {.retention_ms = 1'000'000, .bytes = 200'000});
  ASSERT_TRUE(store.has_value());
  std::vector<HistoryRecord> records;
  for (int i = 0; i < 10'000; ++i) {
    records.push_back(record_at(i * 1000, i));
    records.back().values.fill(i * 0.1);
  }
  ASSERT_TRUE(store->append(records));
  ASSERT_TRUE(store->trim({.unix_ms = 10'000'000}));
  const auto left = store->query({.since_unix_ms = 0, .limit = kHistoryLimitMax});
  ASSERT_FALSE(left->empty());
  EXPECT_GE(left->front().time.unix_ms, 9'000'000);
  EXPECT_EQ(left->back().time.unix_ms, 9'999'000);
  store = HistoryStore::open(path + "2", {.retention_ms = 100'000'000, .bytes = 200'000});
  ASSERT_TRUE(store->append(records));
  ASSERT_TRUE(store->trim({.unix_ms = 10'000'000}));
  const auto kept = store->query({.since_unix_ms = 0, .limit = kHistoryLimitMax});
  EXPECT_GT(kept->size(), 200u);
  EXPECT_LT(kept->size(), 3000u);
  EXPECT_EQ(kept->back().time.unix_ms, 9'999'000);
}

TEST(HistoryStore, ADamagedFileIsSetAsideAndSaid) {
  const testing::TestFolder own;
  const std::string folder = own.path().string(), path = own.file("history.db");
  const std::string garbage(10'000, 'x');
  std::ofstream(path, std::ios::binary) << garbage;
  NotedLog log;
  auto store = open_history(path, {}, {.unix_ms = 77}, log);
  ASSERT_TRUE(store.has_value()) << store.error().message;
  ASSERT_TRUE(store->append(std::vector{record_at(1, 1)}));
  EXPECT_EQ(content(path + ".damaged-77"), garbage);
  EXPECT_NE(log.text.find("history.db.damaged-77"), std::string::npos) << log.text;
}

TEST(HistoryStore, AFileWithDamagedPagesIsSetAsideToo) {
  const testing::TestFolder folder;
  const std::string path = folder.file("history.db");
  {
    auto store = HistoryStore::open(path, {});
    std::vector<HistoryRecord> records;
    for (int i = 0; i < 5000; ++i) records.push_back(record_at(i, i));
    ASSERT_TRUE(store->append(records));
  }
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(3 * 4096);
    const std::string noise(4096 * 4, '\x5a');
    file.write(noise.data(), static_cast<std::streamsize>(noise.size()));
  }
  NotedLog log;
  auto store = open_history(path, {}, {.unix_ms = 5}, log);
  ASSERT_TRUE(store.has_value()) << store.error().message;
  EXPECT_TRUE(store->query({})->empty());
  EXPECT_TRUE(fs::exists(path + ".damaged-5"));
}

TEST(HistoryStore, AFileThatSomebodyElseHasIsLeftAlone) {
  const testing::TestFolder folder;
  const std::string path = folder.file("history.db");
  auto first = HistoryStore::open(path, {});
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(HistoryStore::open(path, {}).error().code, ErrorCode::kBusy);
  NotedLog log;
  auto second = open_history(path, {}, {}, log);
  ASSERT_TRUE(second.has_value()) << second.error().message;
  ASSERT_TRUE(second->append(std::vector{record_at(1, 1)}));
  ASSERT_TRUE(first->append(std::vector{record_at(2, 2)}));
  EXPECT_EQ(first->query({})->size(), 1u);
  EXPECT_TRUE(fs::exists(path + ".2"));
  EXPECT_NE(log.text.find("history.db.2 is used instead"), std::string::npos) << log.text;
}

TEST(History, WritesOnAThreadOfItsOwnAndAnswersAfterWhatWasAppended) {
  const testing::TestFolder folder;
  const std::string path = folder.file("history.db");
  const os::SystemClock clock;
  NotedLog log;
  const int64_t now = clock.wall_time().unix_ms;
  {
    auto history = History::start(path, {}, clock, log);
    ASSERT_TRUE(history.has_value());
    for (int i = 0; i < 100; ++i) EXPECT_TRUE((*history)->append(record_at(now + i, i)));
    std::promise<size_t> count;
    ASSERT_TRUE((*history)->query({}, [&](auto records) { count.set_value(records ? records->size() : 0); }));
    EXPECT_EQ(count.get_future().get(), 100u);
    EXPECT_EQ((*history)->written(), 100u);
    for (int i = 0; i < 50; ++i) EXPECT_TRUE((*history)->append(record_at(now + 100 + i, i)));
  }
  auto store = HistoryStore::open(path, {});
  EXPECT_EQ(store->query({})->size(), 150u);
  EXPECT_EQ(log.text, "");
}

TEST(History, WithoutAUsableFileItSaysSoOnceAndAnswersWithTheReason) {
  const testing::TestFolder folder;
  const os::SystemClock clock;
  NotedLog log;
  {
    auto history = History::start(folder.file("no/such/folder/history.db"), {}, clock, log);
    ASSERT_TRUE(history.has_value());
    (void)(*history)->append(record_at(1, 1));
    (void)(*history)->append(record_at(2, 1));
    std::promise<std::string> message;
    ASSERT_TRUE(
        (*history)->query({}, [&](auto records) { message.set_value(records ? "" : records.error().message); }));
    EXPECT_NE(message.get_future().get(), "");
    EXPECT_EQ((*history)->dropped(), 2u);
  }
  EXPECT_EQ(std::count(log.text.begin(), log.text.end(), '\n'), 1) << log.text;
}

TEST(LineLog, IsRenamedAwayWhenItIsFull) {
  const testing::TestFolder folder;
  const std::string path = folder.file("telemetry.jsonl");
  auto log = LineLog::open(path, 20, 3);
  ASSERT_TRUE(log.has_value()) << log.error().message;
  for (const char* const line : {"one-123", "two-123", "three-12", "four-123", "five-123", "six-123", "seven-12"}) {
    ASSERT_TRUE(log->append(line));
  }
  EXPECT_EQ(content(path), "seven-12\n");
  EXPECT_EQ(content(path + ".1"), "five-123\nsix-123\n");
  EXPECT_EQ(content(path + ".2"), "three-12\nfour-123\n");
  EXPECT_FALSE(fs::exists(path + ".3"));
  log = LineLog::open(path, 20, 3);
  ASSERT_TRUE(log->append("eight-1"));
  EXPECT_EQ(content(path), "seven-12\neight-1\n");
}

TEST(LineLog, OneFileStartsAnew) {
  const testing::TestFolder folder;
  const std::string path = folder.file("telemetry.jsonl");
  auto log = LineLog::open(path, 10, 1);
  ASSERT_TRUE(log->append("12345678"));
  ASSERT_TRUE(log->append("abc"));
  EXPECT_EQ(content(path), "abc\n");
}

}  // namespace
}  // namespace infer::telemetry
