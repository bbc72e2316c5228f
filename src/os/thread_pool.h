// Fork-join: run one function over many pieces on a fixed set of threads, and wait for all.
//
// Each thread has a run of neighbouring pieces and takes them in order, so that it walks through memory without jumps;
// a thread that has done its own takes from the end of another's, one at a time, so that a thread whose core is taken
// away holds up one piece and not its whole share. Which thread runs which piece is therefore not fixed, and work must
// not depend on it. Threads spin briefly for the next job, then park. The calling thread works too: a pool of n has n-1
// workers. The caller waits for the pieces that were started, not for the threads: one that the system has not
// scheduled holds up nothing. Thread safety: one caller at a time (the engine thread); run() from inside a body is a
// programmer error. Bodies must not throw. Ownership: joins its workers on destruction.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

namespace infer::os {

class ThreadPool {
 public:
  // threads >= 1, at most kThreadsMax. When the system refuses some of them, the pool works with those it got.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  static constexpr int kThreadsMax = 256;
  static constexpr size_t kPiecesMax = size_t{1} << 30;

  int threads() const;

  // Calls body(piece, thread) for each piece in [0, pieces), thread in [0, threads()) being the one that runs it (for
  // per-thread scratch). Returns when all are done; what the bodies wrote is visible to the caller. No allocation.
  template <class Body>
  void run(size_t pieces, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run_pieces(
        pieces, [](void* object, size_t piece, int thread) { (*static_cast<Plain*>(object))(piece, thread); },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  using PieceFunction = void (*)(void* object, size_t piece, int thread);
  void run_pieces(size_t pieces, PieceFunction function, void* object);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace infer::os
