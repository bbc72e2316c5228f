// A progress line for people: what, a bar, how much, how fast, how long still.
//
//   loading llama-1b  [██████████▌         ]  52 %  1.31 GB/s  3 s left
//
// Invariants: the line never takes more columns than it is given, so it never wraps; narrow terminals lose the bar
// first, then the rate. Drawing is bounded (ten times a second) and starts late (a quarter of a second), so that a
// short job leaves no flicker. The line is gone when the bar is destroyed or finished. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/time.h"

namespace infer::app {

enum class ProgressUnit { kBytes, kTokens, kChunks, kTasks };

struct Progress {
  std::string_view what;
  uint64_t done = 0;
  uint64_t total = 0;  // 0: unknown, no bar and no remaining time.
  Duration elapsed;
  ProgressUnit unit = ProgressUnit::kBytes;
};

std::string render_progress(const Progress& progress, int columns);

class ProgressBar {
 public:
  // Draws through `write`, "" when there is no terminal to draw on (then every call is free). `columns` is asked before
  // each drawing, because windows change their size.
  using Write = std::function<void(std::string_view)>;
  ProgressBar(const Clock& clock, Write write, std::function<int()> columns, std::string what, ProgressUnit unit);
  ~ProgressBar() { finish(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(uint64_t done, uint64_t total);
  void set_what(std::string what) { what_ = std::move(what); }
  // Takes the line away; nothing is drawn afterwards.
  void finish();

 private:
  const Clock& clock_;
  Write write_;
  std::function<int()> columns_;
  std::string what_;
  ProgressUnit unit_;
  Instant start_;
  Instant next_draw_;
  bool drawn_ = false;
};

}  // namespace infer::app
