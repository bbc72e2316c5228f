#if !defined(_WIN32)

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/format.h"
#include "os/page_memory.h"
#include "os/system_reason.h"

namespace infer::os {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// Below this a huge page would waste more memory than the saved page-table walks are worth.
constexpr size_t kHugeFrom = 2 * kHugePage;

size_t page_size() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }
size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

std::byte* map_zeroed(size_t bytes, int flags) {
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  return address == MAP_FAILED ? nullptr : static_cast<std::byte*>(address);
}

// Maps more than needed and gives back what lies before the first and after the last needed page. `alignment` is a
// multiple of the page size.
std::byte* map_aligned(size_t bytes, size_t alignment, int flags) {
  std::byte* start = map_zeroed(bytes + alignment, flags);
  if (!start) return nullptr;
  const size_t before = round_up(reinterpret_cast<uintptr_t>(start), alignment) - reinterpret_cast<uintptr_t>(start);
  const size_t after = alignment - before;
  if (before > 0) ::munmap(start, before);
  if (after > 0) ::munmap(start + before + bytes, after);
  return start + before;
}

// Null when the system refuses. `flags` beside those that all mappings have.
std::byte* map_for_use(size_t bytes, int flags) {
  errno = ENOMEM;
  if (bytes > std::numeric_limits<size_t>::max() / 2) return nullptr;
  const size_t mapped = round_up(bytes, page_size());
  std::byte* const data = mapped >= kHugeFrom ? map_aligned(mapped, kHugePage, flags) : map_zeroed(mapped, flags);
#if defined(MADV_HUGEPAGE)
  // Advice only: without huge pages everything works, with more misses of the TLB.
  if (data && mapped >= kHugeFrom) (void)::madvise(data, mapped, MADV_HUGEPAGE);
#endif
  return data;
}

Error refused(size_t bytes) {
  return {ErrorCode::kExhausted, format("cannot get {} ({} bytes) of memory: {}; free memory or ask for less",
                                        format_bytes(bytes), bytes, last_system_reason())};
}

}  // namespace

Result<PageMemory> PageMemory::allocate(size_t bytes) {
  if (bytes == 0) return PageMemory();
  std::byte* const data = map_for_use(bytes, 0);
  if (!data) return refused(bytes);
  return PageMemory(data, bytes);
}

Result<PageMemory> PageMemory::reserve(size_t bytes) {
  if (bytes == 0) return PageMemory();
  std::byte* const data = map_for_use(bytes, MAP_NORESERVE);
  if (!data) return refused(bytes);
  return PageMemory(data, bytes);
}

size_t PageMemory::release_unit() const {
#if defined(MADV_HUGEPAGE)
  if (round_up(size_, page_size()) >= kHugeFrom) return kHugePage;
#endif
  return page_size();
}

PageMemory::PageMemory(PageMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

PageMemory& PageMemory::operator=(PageMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

PageMemory::~PageMemory() {
  if (data_) ::munmap(data_, round_up(size_, page_size()));
}

void PageMemory::release(std::span<std::byte> part) {
  if (part.empty()) return;
  INFER_CHECK(part.data() >= data_ && part.data() + part.size() <= data_ + size_);
  const size_t page = page_size();
  const size_t begin = round_up(static_cast<size_t>(part.data() - data_), page);
  size_t end = static_cast<size_t>(part.data() - data_) + part.size();
  // The last page is wholly ours even where size() ends in the middle of it.
  end = end == size_ ? round_up(end, page) : end / page * page;
  if (end <= begin) return;
#if defined(__linux__)
  INFER_CHECK(::madvise(data_ + begin, end - begin, MADV_DONTNEED) == 0);
#else
  // Elsewhere MADV_DONTNEED need not zero; a fresh mapping in the same place does.
  void* fresh =
      ::mmap(data_ + begin, end - begin, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  INFER_CHECK(fresh == data_ + begin);
#endif
}

}  // namespace infer::os

#endif
