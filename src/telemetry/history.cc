#include "telemetry/history.h"

#include <optional>
#include <utility>

#include "base/format.h"

namespace infer::telemetry {

namespace {

constexpr size_t kQueued = 1024;
constexpr uint64_t kRecordsBetweenTrims = 600;

}  // namespace

History::History(std::string path, const HistoryLimits& limits, const Clock& clock, Log& log)
    : path_(std::move(path)), limits_(limits), clock_(clock), log_(log), queue_(kQueued) {}

Result<std::unique_ptr<History>> History::start(std::string path, const HistoryLimits& limits, const Clock& clock,
                                                Log& log) {
  auto history = std::unique_ptr<History>(new History(std::move(path), limits, clock, log));
  INFER_ASSIGN(history->thread_, os::ServiceThread::start([&each = *history] { each.serve(); }));
  return history;
}

History::~History() {
  queue_.close();
  wake_.notify();
  thread_.reset();
}

bool History::push(Work work) {
  const bool taken = queue_.try_push(std::move(work));
  if (taken) wake_.notify();
  return taken;
}

bool History::append(const HistoryRecord& record) {
  const bool taken = push(record);
  if (!taken) dropped_.fetch_add(1, std::memory_order_relaxed);
  return taken;
}

bool History::query(const HistoryQuery& query, OnRecords on_records) {
  return push(Question{query, std::move(on_records)});
}

bool History::append_evaluation(EvaluationRecord record) {
  const bool taken = push(std::move(record));
  if (!taken) dropped_.fetch_add(1, std::memory_order_relaxed);
  return taken;
}

bool History::query_evaluations(int limit, OnEvaluations on_evaluations) {
  return push(EvaluationQuestion{limit, std::move(on_evaluations)});
}

void History::serve() {
  std::optional<HistoryStore> store;
  if (Result<HistoryStore> opened = open_history(path_, limits_, clock_.wall_time(), log_); opened) {
    store = std::move(opened).value();
    if (const Status trimmed = store->trim(clock_.wall_time()); !trimmed) {
      log_.write(LogLevel::kWarning, format("history: {}", trimmed.error().message));
    }
  } else {
    failure_ = opened.error().message;
    log_.write(LogLevel::kWarning, format("history: {}; none is kept", failure_));
  }
  std::vector<Work> work;
  while (true) {
    const bool ends = queue_.closed();
    queue_.take_all(work);
    if (work.empty()) {
      if (ends) return;
      wake_.wait_until(Instant::never());
      continue;
    }
    do_work(store ? &*store : nullptr, work);
    work.clear();
  }
}

// In order; records that follow each other are one transaction.
void History::do_work(HistoryStore* store, std::vector<Work>& work) {
  std::vector<HistoryRecord> records;
  for (Work& each : work) {
    if (const auto* record = std::get_if<HistoryRecord>(&each)) {
      records.push_back(*record);
      continue;
    }
    write(store, records);
    const Error none{ErrorCode::kIo, failure_};
    if (const auto* evaluation = std::get_if<EvaluationRecord>(&each)) {
      report(store ? store->append_evaluation(*evaluation) : Status(none));
    } else if (const auto* asked = std::get_if<EvaluationQuestion>(&each)) {
      asked->on_evaluations(store ? store->query_evaluations(asked->limit) : none);
    } else {
      const Question& question = std::get<Question>(each);
      question.on_records(store ? store->query(question.query) : none);
    }
  }
  write(store, records);
}

void History::write(HistoryStore* store, std::vector<HistoryRecord>& records) {
  if (records.empty()) return;
  Status done = store ? store->append(records) : Status(Error{ErrorCode::kIo, failure_});
  if (done) {
    written_.fetch_add(records.size(), std::memory_order_relaxed);
    since_trim_ += records.size();
    failure_.clear();
    if (since_trim_ >= kRecordsBetweenTrims) {
      since_trim_ = 0;
      done = store->trim(clock_.wall_time());
    }
  } else {
    dropped_.fetch_add(records.size(), std::memory_order_relaxed);
  }
  report(done);
  records.clear();
}

// The same trouble again is not worth another line.
void History::report(const Status& done) {
  if (done || done.error().message == failure_) return;
  failure_ = done.error().message;
  log_.write(LogLevel::kWarning, format("history: {}", failure_));
}

}  // namespace infer::telemetry
