#if defined(_WIN32)

#include "os/windows_api.h"

#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/format.h"
#include "os/page_memory.h"
#include "os/system_reason.h"

namespace infer::os {

namespace {

size_t page_size() {
  SYSTEM_INFO info{};
  ::GetSystemInfo(&info);
  return info.dwPageSize;
}

}  // namespace

// Large pages need a privilege that ordinary users do not have, so they are not asked for.
Result<PageMemory> PageMemory::allocate(size_t bytes) {
  if (bytes == 0) return PageMemory();
  void* address = ::VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (!address) {
    return Error{ErrorCode::kExhausted, format("cannot get {} ({} bytes) of memory: {}; free memory or ask for less",
                                               format_bytes(bytes), bytes, last_system_reason())};
  }
  return PageMemory(static_cast<std::byte*>(address), bytes);
}

Result<PageMemory> PageMemory::reserve(size_t bytes) { return allocate(bytes); }

size_t PageMemory::release_unit() const { return page_size(); }

PageMemory::PageMemory(PageMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

PageMemory& PageMemory::operator=(PageMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

PageMemory::~PageMemory() {
  if (data_) ::VirtualFree(data_, 0, MEM_RELEASE);
}

void PageMemory::release(std::span<std::byte> part) {
  if (part.empty()) return;
  INFER_CHECK(part.data() >= data_ && part.data() + part.size() <= data_ + size_);
  const size_t page = page_size();
  const size_t begin = (static_cast<size_t>(part.data() - data_) + page - 1) / page * page;
  size_t end = static_cast<size_t>(part.data() - data_) + part.size();
  // The last page is wholly ours even where size() ends in the middle of it.
  end = end == size_ ? (end + page - 1) / page * page : end / page * page;
  if (end <= begin) return;
  INFER_CHECK(::VirtualFree(data_ + begin, end - begin, MEM_DECOMMIT) != 0);
  INFER_CHECK(::VirtualAlloc(data_ + begin, end - begin, MEM_COMMIT, PAGE_READWRITE) != nullptr);
}

}  // namespace infer::os

#endif
