// history_writer write FILE FIRST: appends records FIRST, FIRST + 1, ... for ever and prints the number of the last one
// after each batch that was acknowledged. history_writer read FILE: prints the numbers of all records, one a line.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/rng.h"
#include "telemetry/history_store.h"

namespace {

using namespace infer;
using namespace infer::telemetry;

class PrintedLog final : public Log {
 public:
  void write(LogLevel, std::string_view message) override {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(message.size()), message.data());
  }
};

// Every value tells the number, so that a record of two is found out.
HistoryRecord record_of(int64_t number) {
  HistoryRecord record;
  record.time.unix_ms = number;
  record.values.fill(static_cast<double>(number));
  return record;
}

int write(HistoryStore& store, int64_t first) {
  Rng rng(static_cast<uint64_t>(first));
  for (int64_t next = first;;) {
    std::vector<HistoryRecord> batch;
    for (uint32_t left = 1 + rng.below(8); left > 0; --left) batch.push_back(record_of(next++));
    if (const Status done = store.append(batch); !done) {
      std::fprintf(stderr, "%s\n", done.error().message.c_str());
      return 1;
    }
    std::printf("%lld\n", static_cast<long long>(next - 1));
    std::fflush(stdout);
  }
}

int read(HistoryStore& store) {
  const auto records = store.query({.since_unix_ms = 0, .limit = kHistoryLimitMax});
  if (!records) return 1;
  for (const HistoryRecord& record : *records) {
    for (const auto& value : record.values) {
      if (value != static_cast<double>(record.time.unix_ms)) return 1;
    }
    std::printf("%lld\n", static_cast<long long>(record.time.unix_ms));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  PrintedLog log;
  auto store = open_history(argv[2], {}, {.unix_ms = 1}, log);
  if (!store) {
    std::fprintf(stderr, "%s\n", store.error().message.c_str());
    return 1;
  }
  return std::string(argv[1]) == "write" && argc == 4 ? write(*store, std::atoll(argv[3])) : read(*store);
}
