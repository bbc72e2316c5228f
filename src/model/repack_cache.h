// Repacked weights kept on disk, so that the next start maps them instead of repacking the model file again.
//
// One file per model and panel layout, "<model>-<layout>.panels" in one folder (docs/formats/repack_cache.md). The
// model is known by size, time of change, metadata, tensors and samples of their bytes; the layout by what this build's
// kernels make of fixed blocks, so that a change of the layout cannot be forgotten.
// Invariants: nothing of a file is used before its header equals, byte for byte, the one that this model would write,
// and all of its data agrees with its checksums. A file gets its name when it is complete, and is never written again:
// several processes may read, write and evict at once. Trouble with the cache never fails a load: it is a line in the
// log, and the model is repacked.
// Ownership: borrows the log. Thread safety: const after construction; store() may run beside everything else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/call_context.h"
#include "base/log.h"
#include "base/result.h"
#include "gguf/file.h"
#include "kernels/kernel_table.h"
#include "os/file_map.h"
#include "os/thread_pool.h"

namespace infer::model {

// A matrix in the order in which panels lie behind each other, each padded to 64 bytes by its panels.
struct PackedMatrix {
  const gguf::Tensor* source = nullptr;
  int rows = 0;
  int cols = 0;
};

struct RepackCacheOptions {
  std::string folder;
  // Of all files together. 0: 20 GB, or a tenth of what the disk has free with the cache emptied, where that is less.
  uint64_t limit_bytes = 0;
  // Store a model whose repacking was quick, too.
  bool always = false;
};

class RepackCache {
 public:
  // A load that takes less processor time than this (per thread) is not worth a second copy of the model on disk.
  static constexpr double kWorthSeconds = 1.0;
  static constexpr uint64_t kLimitDefault = 20'000'000'000;
  static constexpr size_t kChunkBytes = size_t{2} << 20;  // Data has one checksum for each.

  // What a file must be to serve this model.
  struct Key {
    std::string name;
    std::vector<std::byte> header;
    uint64_t data_bytes = 0;
  };

  // The panels of all matrices, in the file's pages.
  struct Found {
    os::FileMap file;
    std::span<const std::byte> panels;
  };

  RepackCache(RepackCacheOptions options, Log& log) : options_(std::move(options)), log_(log) {}

  const RepackCacheOptions& options() const { return options_; }

  static Key make_key(const gguf::File& file, std::span<const PackedMatrix> matrices,
                      const kernels::KernelTable& kernels);

  // The model's panels, mapped, checked and resident; nullopt when there is no such file or it is not good (logged).
  // Errors only when `call` says stop.
  Result<std::optional<Found>> open(const Key& key, os::ThreadPool& pool, const CallContext& call,
                                    const std::function<void(double)>& progress) const;

  // Whether a load that cost this much should be stored and may be: nullopt for yes, or why not.
  std::optional<std::string> reason_not_to_store(const Key& key, double seconds_per_thread) const;

  // Writes the file, after removing those unused for longest that do not fit beside it. kExhausted: the limit or the
  // disk is too small; kCancelled; kIo. Nothing is left behind by a failure.
  Status store(const Key& key, std::span<const std::byte> panels, CancelToken cancel) const;

  Log& log() const { return log_; }

 private:
  uint64_t limit() const;
  Status make_room(const Key& key, uint64_t bytes) const;

  RepackCacheOptions options_;
  Log& log_;
};

}  // namespace infer::model
