// Where warnings and notes of library folders go. A library folder never prints: it writes to the Log it was handed;
// app/ decides what becomes of it.
// Thread safety: implementations accept calls from any thread.
#pragma once

#include <string_view>

namespace infer {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

class Log {
 public:
  virtual ~Log() = default;
  virtual void write(LogLevel level, std::string_view message) = 0;
  // What is worth less is left out from now on; a log without such a choice ignores it.
  virtual void set_level(LogLevel) {}
};

// Drops everything; for tests and for callers without a user.
class NullLog final : public Log {
 public:
  void write(LogLevel, std::string_view) override {}
};

}  // namespace infer
