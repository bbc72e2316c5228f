#include "model/repack_cache.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <set>
#include <type_traits>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/format.h"
#include "base/hash.h"
#include "base/rng.h"
#include "kernels/panels.h"
#include "model/file_fingerprint.h"
#include "model/fingerprint.h"
#include "os/file_sink.h"
#include "os/folder.h"
#include "os/process_facts.h"

namespace infer::model {

namespace {

constexpr char kMagic[8] = {'I', 'N', 'F', 'R', 'P', 'N', 'L', 'S'};
constexpr uint32_t kFormatVersion = 1;
constexpr const char* kSuffix = ".panels";
// Data begins at a multiple of a huge page, so that the system may map it with such pages.
constexpr uint64_t kDataAlignment = uint64_t{2} << 20;
// What a writer leaves behind when its process is killed is removed after this time.
constexpr Duration kAbandonedAfter = Duration::from_seconds(24 * 3600);
// The disk keeps this much free, whatever the limit says.
constexpr uint64_t kDiskReserveBytes = 1'000'000'000;

template <class T>
void put(std::vector<std::byte>& bytes, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto* raw = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), raw, raw + sizeof(T));
}

// What these kernels make of random blocks: two panels, the second with missing rows, of two blocks of 256 columns.
void add_layout(kernels::WeightType type, const kernels::KernelTable& kernels, Fingerprint& print) {
  constexpr int kRows = kernels::kPanelRows + 5, kCols = 512;
  Rng rng(1);
  std::vector<std::byte> rows(kRows * kernels::row_bytes(type, kCols));
  for (std::byte& byte : rows) byte = static_cast<std::byte>(rng.below(256));
  const size_t bytes = kernels::packed_bytes(type, kRows, kCols);
  std::vector<std::byte> packed(bytes + 64);
  auto* aligned = packed.data() + (64 - reinterpret_cast<uintptr_t>(packed.data()) % 64) % 64;
  kernels.pack_panels(type, rows.data(), kRows, kCols, 0, kernels::panel_count(kRows), aligned);
  print.add_number(static_cast<uint64_t>(type));
  print.add({aligned, bytes});
}

uint64_t layout_fingerprint(std::span<const PackedMatrix> matrices, const kernels::KernelTable& kernels) {
  std::set<kernels::WeightType> types;
  for (const PackedMatrix& matrix : matrices) types.insert(matrix.source->type);
  Fingerprint print;
  for (const kernels::WeightType type : types) add_layout(type, kernels, print);
  return print.value();
}

uint64_t aligned_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

uint64_t chunk_count(uint64_t data_bytes) {
  return aligned_up(data_bytes, RepackCache::kChunkBytes) / RepackCache::kChunkBytes;
}
// The checksums of the chunks, then one over these.
uint64_t trailer_bytes(uint64_t data_bytes) { return (chunk_count(data_bytes) + 1) * sizeof(uint64_t); }
uint64_t data_offset(const RepackCache::Key& key) { return aligned_up(key.header.size(), kDataAlignment); }
uint64_t file_bytes(const RepackCache::Key& key) {
  return data_offset(key) + key.data_bytes + trailer_bytes(key.data_bytes);
}

std::span<const std::byte> chunk_of(std::span<const std::byte> data, uint64_t index) {
  const size_t begin = static_cast<size_t>(index) * RepackCache::kChunkBytes;
  return data.subspan(begin, std::min(RepackCache::kChunkBytes, data.size() - begin));
}

uint64_t checksum(std::span<const std::byte> bytes) { return hash_block(bytes.data(), bytes.size()); }

bool is_cache_file(const std::string& name) { return name.ends_with(kSuffix); }
bool is_abandoned(const os::FolderEntry& entry) {
  return entry.name.find(std::string(kSuffix) + ".") != std::string::npos && entry.name.ends_with(".partial") &&
         entry.age > kAbandonedAfter;
}

// Everything that can be told without reading the data; "" when all is well.
std::string fault_of(std::span<const std::byte> bytes, const RepackCache::Key& key) {
  if (bytes.size() != file_bytes(key)) {
    return format("it has {} bytes instead of {}", bytes.size(), file_bytes(key));
  }
  if (std::memcmp(bytes.data(), key.header.data(), key.header.size()) != 0) return "its header is of something else";
  const std::span<const std::byte> trailer = bytes.last(static_cast<size_t>(trailer_bytes(key.data_bytes)));
  uint64_t expected = 0;
  std::memcpy(&expected, trailer.data() + trailer.size() - sizeof(expected), sizeof(expected));
  return checksum(trailer.first(trailer.size() - sizeof(expected))) == expected ? "" : "its checksums are damaged";
}

}  // namespace

RepackCache::Key RepackCache::make_key(const gguf::File& file, std::span<const PackedMatrix> matrices,
                                       const kernels::KernelTable& kernels) {
  const uint64_t model = file_fingerprint(file), layout = layout_fingerprint(matrices, kernels);
  Key key;
  key.name = format("{:016x}-{:016x}{}", model, layout, kSuffix);
  for (const char c : kMagic) put(key.header, c);
  put(key.header, kFormatVersion);
  put(key.header, static_cast<uint32_t>(matrices.size()));
  put(key.header, model);
  put(key.header, layout);
  put(key.header, uint64_t{kChunkBytes});
  for (const PackedMatrix& matrix : matrices) {
    put(key.header, static_cast<uint32_t>(matrix.source->type));
    put(key.header, static_cast<int32_t>(matrix.rows));
    put(key.header, static_cast<int32_t>(matrix.cols));
    put(key.header, uint32_t{0});
    put(key.header, key.data_bytes);  // Where it begins in the data.
    key.data_bytes += kernels::packed_bytes(matrix.source->type, matrix.rows, matrix.cols);
  }
  put(key.header, key.data_bytes);
  return key;
}

Result<std::optional<RepackCache::Found>> RepackCache::open(const Key& key, os::ThreadPool& pool,
                                                            const CallContext& call,
                                                            const std::function<void(double)>& progress) const {
  const std::string path = os::path_in(options_.folder, key.name);
  Result<os::FileMap> map = os::FileMap::open(path);
  const auto refuse = [&](std::string_view why) {
    log_.write(LogLevel::kWarning, format("{}: not used, because {}; it will be written anew", path, why));
    return std::optional<Found>();
  };
  if (!map) {
    if (map.error().code == ErrorCode::kNotFound) return std::optional<Found>();
    return refuse(map.error().message);
  }
  const std::span<const std::byte> bytes = map->bytes();
  if (const std::string fault = fault_of(bytes, key); !fault.empty()) return refuse(fault);

  const std::span<const std::byte> data = bytes.subspan(static_cast<size_t>(data_offset(key)), key.data_bytes);
  const std::byte* checksums = data.data() + data.size();
  const uint64_t chunks = chunk_count(key.data_bytes);
  constexpr uint64_t kBatch = 32;  // Chunks between two looks at the deadline.
  std::atomic<bool> damaged = false;
  for (uint64_t begin = 0; begin < chunks && !damaged; begin += kBatch) {
    INFER_TRY(call.check("loading the weights"));
    const uint64_t end = std::min(chunks, begin + kBatch);
    pool.run(static_cast<size_t>(end - begin), [&](size_t piece, int) {
      const std::span<const std::byte> chunk = chunk_of(data, begin + piece);
      map->make_resident(chunk);
      uint64_t expected = 0;
      std::memcpy(&expected, checksums + (begin + piece) * sizeof(expected), sizeof(expected));
      if (checksum(chunk) != expected) damaged = true;
    });
    if (progress) progress(static_cast<double>(end) / static_cast<double>(chunks));
  }
  if (damaged) return refuse("its data does not agree with its checksums");
  (void)os::mark_as_used(path);  // A read-only cache cannot be evicted from either.
  return std::optional<Found>(Found{*std::move(map), data});
}

uint64_t RepackCache::limit() const {
  if (options_.limit_bytes > 0) return options_.limit_bytes;
  const Result<uint64_t> free = os::free_disk_bytes(options_.folder);
  if (!free) return 0;
  uint64_t available = *free;
  const Result<std::vector<os::FolderEntry>> entries = os::list_folder(options_.folder);
  if (entries) {
    for (const os::FolderEntry& entry : *entries) available += is_cache_file(entry.name) ? entry.bytes : 0;
  }
  return std::min(kLimitDefault, available / 10);
}

std::optional<std::string> RepackCache::reason_not_to_store(const Key& key, double seconds_per_thread) const {
  if (!options_.always && seconds_per_thread < kWorthSeconds) {
    return format("repacking took {:.2f} s for each thread, less than {:.1f} s", seconds_per_thread, kWorthSeconds);
  }
  const uint64_t most = limit();
  if (file_bytes(key) <= most) return std::nullopt;
  return format("the model takes {}, but the limit is {}; raise it with --repack-cache-limit",
                format_bytes(file_bytes(key)), format_bytes(most));
}

// Removes what is abandoned, and the files unused for longest until `bytes` more fit.
Status RepackCache::make_room(const Key& key, uint64_t bytes) const {
  INFER_ASSIGN(std::vector<os::FolderEntry> entries, os::list_folder(options_.folder));
  const uint64_t most = limit();
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.age > b.age; });
  uint64_t used = 0;
  for (const os::FolderEntry& entry : entries) {
    if (is_abandoned(entry)) (void)os::remove_file(os::path_in(options_.folder, entry.name));
    if (is_cache_file(entry.name) && entry.name != key.name) used += entry.bytes;
  }
  for (const os::FolderEntry& entry : entries) {
    if (used + bytes <= most) break;
    if (!is_cache_file(entry.name) || entry.name == key.name) continue;
    if (os::remove_file(os::path_in(options_.folder, entry.name))) used -= entry.bytes;
  }
  if (used + bytes > most) {
    return Error{ErrorCode::kExhausted, format("{}: {} more do not fit into the limit of {}; raise it with "
                                               "--repack-cache-limit",
                                               options_.folder, format_bytes(bytes), format_bytes(most))};
  }
  const Result<uint64_t> free = os::free_disk_bytes(options_.folder);
  if (!free || *free >= bytes + kDiskReserveBytes) return {};
  return Error{ErrorCode::kExhausted,
               format("{}: {} are wanted, but the disk has only {} free, of which {} stay so", options_.folder,
                      format_bytes(bytes), format_bytes(*free), format_bytes(kDiskReserveBytes))};
}

Status RepackCache::store(const Key& key, std::span<const std::byte> panels, CancelToken cancel) const {
  INFER_CHECK(panels.size() == key.data_bytes);
  INFER_TRY(os::make_private_folder(options_.folder));
  INFER_TRY(make_room(key, file_bytes(key)));
  INFER_ASSIGN(os::FileSink sink, os::FileSink::create_beside_others(os::path_in(options_.folder, key.name)));

  std::vector<std::byte> head = key.header;
  head.resize(static_cast<size_t>(data_offset(key)));
  INFER_TRY(sink.write(head));
  std::vector<std::byte> trailer;
  for (uint64_t i = 0; i < chunk_count(key.data_bytes); ++i) {
    if (cancel.cancelled()) return Error{ErrorCode::kCancelled, format("{}: storing was stopped", key.name)};
    const std::span<const std::byte> chunk = chunk_of(panels, i);
    put(trailer, checksum(chunk));
    INFER_TRY(sink.write(chunk));
  }
  put(trailer, checksum(trailer));
  INFER_TRY(sink.write(trailer));
  return sink.publish();
}

}  // namespace infer::model
