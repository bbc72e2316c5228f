// Planes of KV pages to the disk and back, through the store, in the current folder; and what a digest costs.
//
// "cached" is the file that the program uses: the system keeps in memory what it has room for, so that reading back
// what was just written shows the cost of the way there. "direct" goes past that memory, to the disk itself.
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "kernel_benchmarks.h"
#include "kernels/panels.h"
#include "kv/page_digest.h"
#include "kv/spill_store.h"
#include "os/block_file.h"
#include "os/system_clock.h"

namespace infer::bench {
namespace {

constexpr size_t kPlane = 32 * 1024;  // The low plane of a page of 8 KV heads of dimension 64.

#if defined(O_DIRECT) && defined(O_TMPFILE)
class DirectFile final : public os::BlockFile {
 public:
  DirectFile() : file_(::open(".", O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT, 0600)) {}
  ~DirectFile() override { ::close(file_); }
  bool is_open() const { return file_ >= 0; }

  Status reserve(uint64_t offset, uint64_t bytes) override {
    return result(::fallocate(file_, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes)), 0);
  }
  bool release(uint64_t, uint64_t) override { return false; }
  Status read(uint64_t offset, ReadParts parts) override {
    const std::vector<iovec> vectors = vectors_of(parts);
    return result(::preadv(file_, vectors.data(), static_cast<int>(vectors.size()), static_cast<off_t>(offset)),
                  bytes_of(vectors));
  }
  Status write(uint64_t offset, WriteParts parts) override {
    const std::vector<iovec> vectors = vectors_of(parts);
    return result(::pwritev(file_, vectors.data(), static_cast<int>(vectors.size()), static_cast<off_t>(offset)),
                  bytes_of(vectors));
  }

 private:
  template <class Parts>
  static std::vector<iovec> vectors_of(Parts parts) {
    std::vector<iovec> vectors;
    for (const auto part : parts) vectors.push_back({const_cast<std::byte*>(part.data()), part.size()});
    return vectors;
  }
  static int64_t bytes_of(const std::vector<iovec>& vectors) {
    int64_t bytes = 0;
    for (const iovec& vector : vectors) bytes += static_cast<int64_t>(vector.iov_len);
    return bytes;
  }
  static Status result(int64_t got, int64_t wanted) {
    return got == wanted ? Status() : Status(Error{ErrorCode::kIo, "direct I/O failed"});
  }
  int file_;
};
#endif

std::unique_ptr<os::BlockFile> file_for(bool direct) {
#if defined(O_DIRECT) && defined(O_TMPFILE)
  if (direct) {
    auto file = std::make_unique<DirectFile>();
    if (!file->is_open()) return nullptr;
    return file;
  }
#endif
  if (direct) return nullptr;
  auto file = os::create_block_file(".");
  INFER_CHECK(file.has_value());
  return std::move(file.value());
}

// A store with `planes` planes of room.
struct Spilled {
  os::SystemClock clock;
  CallContext call{clock, Deadline::never(), {}};
  std::unique_ptr<kv::SpillStore> store;
  std::vector<std::byte> plane;
  std::vector<kv::SpillSlot> slots;

  bool open(bool direct, size_t planes) {
    auto file = file_for(direct);
    if (!file) return false;
    kv::SpillOptions options;
    options.slot_bytes = {kPlane};
    options.bytes_max = (planes + 64) * kPlane;
    auto made = kv::SpillStore::make(std::move(file), options);
    INFER_CHECK(made.has_value());
    store = std::move(made.value());
    plane.resize(kPlane);
    Rng rng(1);
    for (std::byte& byte : plane) byte = static_cast<std::byte>(rng.next());
    return true;
  }

  // As an engine that is never short of planes: as many as are taken, then what is done.
  void write(size_t planes) {
    const size_t target = slots.size() + planes;
    for (size_t started = 0; slots.size() < target;) {
      kv::SpillTicket last = 0;
      while (started < planes) {
        const auto ticket = store->start_write(plane, started, clock.now());
        if (!ticket) break;
        last = *ticket;
        ++started;
      }
      if (last != 0) INFER_CHECK(store->wait(last, call).has_value());
      for (const kv::SpillCompletion& done : store->poll(clock.now())) {
        INFER_CHECK(done.status->has_value());
        slots.push_back(done.slot);
      }
    }
  }
  void read(const std::vector<kv::SpillSlot>& order) {
    for (size_t started = 0, done = 0; done < order.size();) {
      kv::SpillTicket last = 0;
      while (started < order.size()) {
        const auto ticket = store->start_read(order[started], started);
        if (!ticket) break;
        last = *ticket;
        ++started;
      }
      if (last != 0) INFER_CHECK(store->wait(last, call).has_value());
      for (const kv::SpillCompletion& each : store->poll(clock.now())) {
        INFER_CHECK(each.status->has_value());
        ++done;
      }
    }
  }
  void shuffle() {
    Rng rng(2);
    for (size_t i = slots.size(); i > 1; --i) std::swap(slots[i - 1], slots[rng.below(static_cast<uint32_t>(i))]);
  }
};

constexpr const char* kNoDirect = "no direct I/O in this folder";

void spill_write(benchmark::State& state, bool direct, size_t planes) {
  for (auto _ : state) {
    state.PauseTiming();
    Spilled spilled;
    if (!spilled.open(direct, planes)) return state.SkipWithError(kNoDirect);
    state.ResumeTiming();
    spilled.write(planes);
    state.PauseTiming();  // Giving the file back is not part of it.
    spilled.store.reset();
    state.ResumeTiming();
  }
  count_rate(state, "bytes", static_cast<double>(planes * kPlane));
}

void spill_read(benchmark::State& state, bool direct, bool in_order, size_t planes) {
  Spilled spilled;
  if (!spilled.open(direct, planes)) return state.SkipWithError(kNoDirect);
  spilled.write(planes);
  std::sort(spilled.slots.begin(), spilled.slots.end());
  if (!in_order) spilled.shuffle();
  for (auto _ : state) spilled.read(spilled.slots);
  count_rate(state, "bytes", static_cast<double>(planes * kPlane));
}

// One plane, from start_read until it can be copied out, while nothing else is under way.
void spill_latency(benchmark::State& state, bool direct, size_t planes) {
  Spilled spilled;
  if (!spilled.open(direct, planes)) return state.SkipWithError(kNoDirect);
  spilled.write(planes);
  spilled.shuffle();
  (void)spilled.store->poll(spilled.clock.now());  // What was shown is done with.
  std::vector<double> times;
  for (auto _ : state) {
    for (const kv::SpillSlot slot : spilled.slots) {
      const Instant begin = spilled.clock.now();
      const auto ticket = spilled.store->start_read(slot, 0);
      INFER_CHECK(ticket.has_value() && spilled.store->wait(*ticket, spilled.call).has_value());
      benchmark::DoNotOptimize(spilled.store->poll(begin).data());
      times.push_back((spilled.clock.now() - begin).seconds());
    }
  }
  std::sort(times.begin(), times.end());
  state.counters["p50"] = times[times.size() / 2];
  state.counters["p99"] = times[times.size() * 99 / 100];
}

// One KV head of a page at 8 bits.
struct DigestPage {
  std::vector<std::byte> high, low;
  kernels::AttentionPage page() const { return {nullptr, high.data(), low.data()}; }
};
DigestPage digest_page(int head_dim) {
  const auto n = static_cast<size_t>(head_dim);
  const kernels::KernelTable& table = *machine_kernels().front();
  std::vector<std::byte> full(kernels::kv_page_bytes(head_dim));
  Rng rng(3);
  std::vector<float> x(n);
  for (int t = 0; t < kernels::kPageTokens; ++t) {
    for (float& value : x) value = static_cast<float>(rng.uniform() - 0.5);
    table.store_key(x.data(), head_dim, t, full.data());
    table.store_value(x.data(), head_dim, t, full.data());
  }
  DigestPage made{std::vector<std::byte>(kernels::kv_high_bytes(head_dim)),
                  std::vector<std::byte>(kernels::kv_low_bytes(head_dim))};
  table.make_planes(full.data(), head_dim, made.high.data(), made.low.data());
  return made;
}

void make_digest(benchmark::State& state, int head_dim) {
  const DigestPage page = digest_page(head_dim);
  std::vector<std::byte> digest(kv::page_digest_bytes(head_dim));
  for (auto _ : state) {
    kv::make_page_digest(page.page(), head_dim, digest.data());
    benchmark::DoNotOptimize(digest.data());
  }
}

void bound_digest(benchmark::State& state, int head_dim) {
  const DigestPage page = digest_page(head_dim);
  std::vector<std::byte> digest(kv::page_digest_bytes(head_dim));
  kv::make_page_digest(page.page(), head_dim, digest.data());
  const std::vector<float> query(static_cast<size_t>(head_dim), 0.3f);
  const kv::DigestQuery bounds(query);
  for (auto _ : state) {
    benchmark::DoNotOptimize(digest.data());
    benchmark::ClobberMemory();
    benchmark::DoNotOptimize(bounds.bound(digest.data()));
  }
}

// Most of the time the thread that is measured waits for another: what counts is the clock.
template <class Body>
void add_disk_benchmark(const std::string& name, Size size, Body body) {
  benchmark::internal::Benchmark* added = benchmark::RegisterBenchmark(name.c_str(), body);
  added->UseRealTime();
  if (size == Size::kSmoke) added->Iterations(1);
}

}  // namespace

void register_spill(Size size) {
  const size_t planes = size == Size::kSmoke ? 20 : 8192;  // 256 MB.
  const size_t single = size == Size::kSmoke ? 20 : 4096;
  for (const bool direct : {false, true}) {
    const std::string file = direct ? "/direct" : "/cached";
    add_disk_benchmark("SpillWrite" + file, size, [=](benchmark::State& state) { spill_write(state, direct, planes); });
    add_disk_benchmark("SpillRead/in_order" + file, size,
                       [=](benchmark::State& state) { spill_read(state, direct, true, planes); });
    add_disk_benchmark("SpillRead/shuffled" + file, size,
                       [=](benchmark::State& state) { spill_read(state, direct, false, planes); });
    add_disk_benchmark("SpillLatency" + file, size,
                       [=](benchmark::State& state) { spill_latency(state, direct, single); });
  }
  for (const int head_dim : {64, 128}) {
    const std::string name = "/head_dim:" + std::to_string(head_dim);
    add_benchmark("DigestMake" + name, size, [=](benchmark::State& state) { make_digest(state, head_dim); });
    add_benchmark("DigestBound" + name, size, [=](benchmark::State& state) { bound_digest(state, head_dim); });
  }
}

}  // namespace infer::bench
