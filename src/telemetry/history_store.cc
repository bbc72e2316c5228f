#include "telemetry/history_store.h"

#include <sqlite3.h>

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "os/folder.h"

namespace infer::telemetry {

namespace {

constexpr int kFormat = 1;  // PRAGMA user_version
constexpr int kBusyMs = 500;
constexpr int kBusyFiles = 4;

struct Closer {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, Closer>;
using Statement = std::unique_ptr<sqlite3_stmt, Closer>;

Error failure(const std::string& path, sqlite3* database, int code) {
  const std::string reason = database ? sqlite3_errmsg(database) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return Error{ErrorCode::kCorrupt, format("{}: {}", path, reason)};
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return Error{ErrorCode::kBusy, format("{}: another process has it ({})", path, reason)};
    case SQLITE_FULL: return Error{ErrorCode::kExhausted, format("{}: no room ({})", path, reason)};
    default: return Error{ErrorCode::kIo, format("{}: {}", path, reason)};
  }
}

}  // namespace

struct HistoryStore::State {
  std::string path;
  HistoryLimits limits;
  Database database;
  Statement insert;

  Status run(const std::string& sql) {
    const int code = sqlite3_exec(database.get(), sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return failure(path, database.get(), code);
    return {};
  }
  Result<Statement> prepare(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    const int code = sqlite3_prepare_v2(database.get(), sql.c_str(), -1, &statement, nullptr);
    if (code != SQLITE_OK) return failure(path, database.get(), code);
    return Statement(statement);
  }
  Result<int64_t> number(const std::string& sql) {
    INFER_ASSIGN(const Statement statement, prepare(sql));
    const int code = sqlite3_step(statement.get());
    if (code != SQLITE_ROW) return failure(path, database.get(), code);
    return int64_t{sqlite3_column_int64(statement.get(), 0)};
  }
  Status connect();
  Status check();
  Status make_table();
  Status insert_all(std::span<const HistoryRecord> records);
};

// Exclusive from the first access on, so that the log needs no shared memory and nobody else writes.
Status HistoryStore::State::connect() {
  sqlite3* opened = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &opened, flags, nullptr);
  database.reset(opened);
  if (code != SQLITE_OK) return failure(path, opened, code);
  sqlite3_busy_timeout(opened, kBusyMs);
  INFER_TRY(run("PRAGMA locking_mode = EXCLUSIVE"));
  INFER_TRY(run("PRAGMA auto_vacuum = INCREMENTAL"));
  INFER_TRY(run("PRAGMA journal_mode = WAL"));
  INFER_TRY(run("PRAGMA synchronous = NORMAL"));
  INFER_TRY(run("PRAGMA wal_autocheckpoint = 256"));
  return run("PRAGMA journal_size_limit = 1048576");
}

Status HistoryStore::State::check() {
  INFER_ASSIGN(const Statement statement, prepare("PRAGMA quick_check(1)"));
  const int code = sqlite3_step(statement.get());
  if (code != SQLITE_ROW) return failure(path, database.get(), code);
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement.get(), 0));
  if (text && std::string_view(text) == "ok") return {};
  return Error{ErrorCode::kCorrupt, format("{}: {}", path, text ? text : "unreadable")};
}

Status HistoryStore::State::make_table() {
  INFER_ASSIGN(const int64_t version, number("PRAGMA user_version"));
  if (version > kFormat) {
    return Error{ErrorCode::kCorrupt, format("{}: of a newer version of this program ({})", path, version)};
  }
  INFER_TRY(run("BEGIN IMMEDIATE"));
  INFER_TRY(run("CREATE TABLE IF NOT EXISTS sample (at_ms INTEGER NOT NULL)"));
  INFER_TRY(run("CREATE INDEX IF NOT EXISTS sample_at ON sample (at_ms)"));
  for (const std::string_view metric : kHistoryMetrics) {
    INFER_ASSIGN(const int64_t known,
                 number(format("SELECT count(*) FROM pragma_table_info('sample') WHERE name = '{}'", metric)));
    if (known == 0) INFER_TRY(run(format("ALTER TABLE sample ADD COLUMN {} REAL", metric)));
  }
  INFER_TRY(
      run("CREATE TABLE IF NOT EXISTS evaluation (at_ms INTEGER NOT NULL, kind TEXT, cause TEXT, model TEXT, "
          "policy TEXT, dataset TEXT, positions INTEGER, seconds REAL, ppl_f16 REAL, ppl REAL, delta_ppl REAL, "
          "delta_stderr REAL, kld_mean REAL, kld_p999 REAL, same_top REAL)"));
  INFER_TRY(run(format("PRAGMA user_version = {}", kFormat)));
  INFER_TRY(run("COMMIT"));
  std::string columns, places;
  for (const std::string_view metric : kHistoryMetrics) {
    columns.append(", ").append(metric);
    places += ", ?";
  }
  INFER_ASSIGN(insert, prepare(format("INSERT INTO sample (at_ms{}) VALUES (?{})", columns, places)));
  return {};
}

Status HistoryStore::State::insert_all(std::span<const HistoryRecord> records) {
  for (const HistoryRecord& record : records) {
    sqlite3_reset(insert.get());
    sqlite3_clear_bindings(insert.get());  // All null.
    sqlite3_bind_int64(insert.get(), 1, record.time.unix_ms);
    for (size_t i = 0; i < record.values.size(); ++i) {
      if (record.values[i]) sqlite3_bind_double(insert.get(), static_cast<int>(i) + 2, *record.values[i]);
    }
    const int code = sqlite3_step(insert.get());
    if (code != SQLITE_DONE) return failure(path, database.get(), code);
  }
  sqlite3_reset(insert.get());
  return {};
}

HistoryStore::HistoryStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
HistoryStore::HistoryStore(HistoryStore&&) noexcept = default;
HistoryStore& HistoryStore::operator=(HistoryStore&&) noexcept = default;
HistoryStore::~HistoryStore() = default;

Result<HistoryStore> HistoryStore::open(const std::string& path, const HistoryLimits& limits) {
  auto state = std::make_unique<State>();
  state->path = path;
  state->limits = limits;
  INFER_TRY(state->connect());
  INFER_TRY(state->check());
  INFER_TRY(state->make_table());
  return HistoryStore(std::move(state));
}

Status HistoryStore::append(std::span<const HistoryRecord> records) {
  if (records.empty()) return {};
  INFER_TRY(state_->run("BEGIN IMMEDIATE"));
  Status done = state_->insert_all(records);
  if (done) done = state_->run("COMMIT");
  if (!done) {
    sqlite3_reset(state_->insert.get());
    (void)state_->run("ROLLBACK");
  }
  return done;
}

Result<std::vector<HistoryRecord>> HistoryStore::query(const HistoryQuery& query) {
  std::string columns;
  for (const std::string_view metric : kHistoryMetrics) columns.append(", ").append(metric);
  INFER_ASSIGN(const Statement statement,
               state_->prepare(format(
                   "SELECT at_ms{} FROM sample WHERE at_ms >= ? ORDER BY at_ms DESC, rowid DESC LIMIT ?", columns)));
  sqlite3_bind_int64(statement.get(), 1, query.since_unix_ms);
  sqlite3_bind_int(statement.get(), 2, std::clamp(query.limit, 0, kHistoryLimitMax));
  std::vector<HistoryRecord> records;
  int code = SQLITE_OK;
  while ((code = sqlite3_step(statement.get())) == SQLITE_ROW) {
    HistoryRecord record;
    record.time.unix_ms = sqlite3_column_int64(statement.get(), 0);
    for (size_t i = 0; i < record.values.size(); ++i) {
      const int column = static_cast<int>(i) + 1;
      if (sqlite3_column_type(statement.get(), column) == SQLITE_NULL) continue;
      record.values[i] = sqlite3_column_double(statement.get(), column);
    }
    records.push_back(record);
  }
  if (code != SQLITE_DONE) return failure(state_->path, state_->database.get(), code);
  std::reverse(records.begin(), records.end());
  return records;
}

namespace {

constexpr std::array<std::string EvaluationRecord::*, 5> kEvaluationTexts{
    &EvaluationRecord::kind, &EvaluationRecord::trigger, &EvaluationRecord::model, &EvaluationRecord::policy,
    &EvaluationRecord::dataset};
constexpr std::array<double EvaluationRecord::*, 8> kEvaluationFigures{
    &EvaluationRecord::seconds,   &EvaluationRecord::ppl_f16,      &EvaluationRecord::ppl,
    &EvaluationRecord::delta_ppl, &EvaluationRecord::delta_stderr, &EvaluationRecord::kld_mean,
    &EvaluationRecord::kld_p999,  &EvaluationRecord::same_top};

}  // namespace

Status HistoryStore::append_evaluation(const EvaluationRecord& record) {
  INFER_ASSIGN(const Statement statement,
               state_->prepare("INSERT INTO evaluation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  int column = 1;
  sqlite3_bind_int64(statement.get(), column++, record.time.unix_ms);
  for (const auto text : kEvaluationTexts) {
    sqlite3_bind_text(statement.get(), column++, (record.*text).c_str(), -1, SQLITE_STATIC);
  }
  sqlite3_bind_int64(statement.get(), column++, record.positions);
  for (const auto figure : kEvaluationFigures) sqlite3_bind_double(statement.get(), column++, record.*figure);
  const int code = sqlite3_step(statement.get());
  if (code != SQLITE_DONE) return failure(state_->path, state_->database.get(), code);
  return {};
}

Result<std::vector<EvaluationRecord>> HistoryStore::query_evaluations(int limit) {
  INFER_ASSIGN(const Statement statement,
               state_->prepare("SELECT * FROM evaluation ORDER BY at_ms DESC, rowid DESC LIMIT ?"));
  sqlite3_bind_int(statement.get(), 1, std::clamp(limit, 0, kHistoryLimitMax));
  std::vector<EvaluationRecord> records;
  int code = SQLITE_OK;
  while ((code = sqlite3_step(statement.get())) == SQLITE_ROW) {
    EvaluationRecord record;
    int column = 0;
    record.time.unix_ms = sqlite3_column_int64(statement.get(), column++);
    for (const auto text : kEvaluationTexts) {
      const auto* const bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement.get(), column++));
      if (bytes) record.*text = bytes;
    }
    record.positions = sqlite3_column_int64(statement.get(), column++);
    for (const auto figure : kEvaluationFigures) record.*figure = sqlite3_column_double(statement.get(), column++);
    records.push_back(std::move(record));
  }
  if (code != SQLITE_DONE) return failure(state_->path, state_->database.get(), code);
  std::reverse(records.begin(), records.end());
  return records;
}

Status HistoryStore::trim(WallTime now) {
  INFER_TRY(state_->run(format("DELETE FROM sample WHERE at_ms < {}", now.unix_ms - state_->limits.retention_ms)));
  INFER_ASSIGN(const int64_t page_bytes, state_->number("PRAGMA page_size"));
  while (true) {
    INFER_ASSIGN(const int64_t pages, state_->number("PRAGMA page_count"));
    INFER_ASSIGN(const int64_t unused, state_->number("PRAGMA freelist_count"));
    INFER_ASSIGN(const int64_t records, state_->number("SELECT count(*) FROM sample"));
    if (static_cast<uint64_t>((pages - unused) * page_bytes) <= state_->limits.bytes || records == 0) break;
    INFER_TRY(state_->run(
        format("DELETE FROM sample WHERE rowid IN (SELECT rowid FROM sample ORDER BY at_ms, rowid LIMIT {})",
               records / 8 + 1)));
  }
  return state_->run("PRAGMA incremental_vacuum");
}

Result<HistoryStore> open_history(const std::string& path, const HistoryLimits& limits, WallTime now, Log& log) {
  std::string tried = path;
  for (int file = 2;; ++file) {
    Result<HistoryStore> opened = HistoryStore::open(tried, limits);
    if (!opened && opened.error().code == ErrorCode::kCorrupt) {
      const std::string aside = format("{}.damaged-{}", tried, now.unix_ms);
      INFER_TRY(os::rename_file(tried, aside));
      for (const char* const part : {"-wal", "-shm", "-journal"}) (void)os::rename_file(tried + part, aside + part);
      log.write(LogLevel::kWarning,
                format("history: {}; it was set aside as {} and a new one is begun", opened.error().message, aside));
      opened = HistoryStore::open(tried, limits);
    }
    if (opened || opened.error().code != ErrorCode::kBusy || file > kBusyFiles) return opened;
    log.write(LogLevel::kWarning, format("history: {}; {}.{} is used instead", opened.error().message, path, file));
    tried = format("{}.{}", path, file);
  }
}

}  // namespace infer::telemetry
