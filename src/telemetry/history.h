// The history beside everything else: records go through a bounded queue to a thread of its own, which alone touches
// the file, so that no disk holds anybody up.
//
// When the disk is behind and the queue full, records are dropped and counted. A file that cannot be used at all is
// told to the log once; the server goes on without a history. Thread safety: all of it. Ownership: destroying it writes
// what is queued, then closes the file.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/bounded_queue.h"
#include "base/log.h"
#include "base/result.h"
#include "base/time.h"
#include "os/service_thread.h"
#include "os/wake_signal.h"
#include "telemetry/history_store.h"

namespace infer::telemetry {

class History {
 public:
  // Called on the history's thread.
  using OnRecords = std::function<void(Result<std::vector<HistoryRecord>>)>;
  using OnEvaluations = std::function<void(Result<std::vector<EvaluationRecord>>)>;

  // `clock` and `log` outlive it. kExhausted: no thread.
  static Result<std::unique_ptr<History>> start(std::string path, const HistoryLimits& limits, const Clock& clock,
                                                Log& log);
  ~History();
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  // False, and counted, when it is dropped.
  bool append(const HistoryRecord& record);
  bool append_evaluation(EvaluationRecord record);
  bool query_evaluations(int limit, OnEvaluations on_evaluations);
  // After everything that was appended before. False when too much waits already; then nobody is called.
  bool query(const HistoryQuery& query, OnRecords on_records);

  uint64_t written() const { return written_.load(std::memory_order_relaxed); }  // On the disk.
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  struct Question {
    HistoryQuery query;
    OnRecords on_records;
  };
  struct EvaluationQuestion {
    int limit;
    OnEvaluations on_evaluations;
  };
  using Work = std::variant<HistoryRecord, Question, EvaluationRecord, EvaluationQuestion>;

  History(std::string path, const HistoryLimits& limits, const Clock& clock, Log& log);
  void serve();
  void write(HistoryStore* store, std::vector<HistoryRecord>& records);
  void report(const Status& done);
  bool push(Work work);
  void do_work(HistoryStore* store, std::vector<Work>& work);

  const std::string path_;
  const HistoryLimits limits_;
  const Clock& clock_;
  Log& log_;
  BoundedQueue<Work> queue_;
  os::WakeSignal wake_;
  std::atomic<uint64_t> written_{0};
  std::atomic<uint64_t> dropped_{0};

  // The thread's own.
  std::string failure_;  // Why records cannot be written; "": they can.
  uint64_t since_trim_ = 0;

  std::unique_ptr<os::ServiceThread> thread_;  // Last: it ends first.
};

}  // namespace infer::telemetry
