// The performance history on disk: one record per sample and one per evaluation, in an SQLite file with a write-ahead
// log.
//
// A record is acknowledged when append() returns: it then survives the sudden end of the process (a power cut may cost
// the last second, never the file). One process at a time has the file. Records older than the retention go, and the
// oldest ones when the file grows beyond its limit.
// Thread safety: one thread. SQLite stays inside the .cc.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/time.h"
#include "telemetry/evaluation_record.h"

namespace infer::telemetry {

// Columns; a new one may be added at the end, older files get it when they are opened.
inline constexpr std::array<std::string_view, 14> kHistoryMetrics{
    "tps",     "rps",      "latency_ms", "p95_ms",    "ftl_ms", "ftl_p95_ms",  "running",
    "waiting", "kv_bytes", "hit_rate",   "rss_bytes", "cpu",    "accept_rate", "expected_divergence"};

struct HistoryRecord {
  WallTime time;
  std::array<std::optional<double>, kHistoryMetrics.size()> values{};  // By kHistoryMetrics.
};

struct HistoryQuery {
  int64_t since_unix_ms = 0;  // That or later.
  int limit = 1000;           // The last of them; at most kHistoryLimitMax.
};
inline constexpr int kHistoryLimitMax = 100'000;

struct HistoryLimits {
  int64_t retention_ms = int64_t{30} * 86'400'000;
  uint64_t bytes = 256'000'000;
};

class HistoryStore {
 public:
  // Makes the file where there is none; its folder must exist. kCorrupt: the file is damaged or not ours; kBusy:
  // another process has it; kIo with the system's reason.
  static Result<HistoryStore> open(const std::string& path, const HistoryLimits& limits);
  HistoryStore(HistoryStore&&) noexcept;
  HistoryStore& operator=(HistoryStore&&) noexcept;
  ~HistoryStore();

  // All or none.
  Status append(std::span<const HistoryRecord> records);
  // By time, oldest first.
  Result<std::vector<HistoryRecord>> query(const HistoryQuery& query);
  Status append_evaluation(const EvaluationRecord& record);
  // The last `limit` of them, oldest first. They are few and stay as long as the file.
  Result<std::vector<EvaluationRecord>> query_evaluations(int limit);
  // Removes what is too old or too much.
  Status trim(WallTime now);

 private:
  struct State;
  explicit HistoryStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The same, whatever is found: a damaged file is renamed to "<path>.damaged-<time>" and a new one begun; while another
// process has it, "<path>.2" and so on is used. Both are told to `log`.
Result<HistoryStore> open_history(const std::string& path, const HistoryLimits& limits, WallTime now, Log& log);

}  // namespace infer::telemetry
