#include "kernels/dispatch.h"

#include <array>

#include "base/format.h"
#include "kernels/tables.h"

namespace infer::kernels {

namespace {

// Best first; a processor that has one has those after it too.
constexpr std::array<const KernelTable*, 3> kTables{&avx512::kTable, &avx2::kTable, &scalar::kTable};

size_t first_supported(const IsaSupport& support) {
  if (support.avx512_vnni && support.avx2_fma_f16c) return 0;
  return support.avx2_fma_f16c ? 1 : 2;
}

}  // namespace

std::span<const KernelTable* const> supported_kernels(const IsaSupport& support) {
  return std::span<const KernelTable* const>(kTables).subspan(first_supported(support));
}

Result<const KernelTable*> select_kernels(const IsaSupport& support, std::string_view forced) {
  const std::span<const KernelTable* const> supported = supported_kernels(support);
  if (forced.empty()) return supported.front();
  for (const KernelTable* table : supported) {
    if (forced == table->name) return table;
  }
  for (const KernelTable* table : kTables) {
    if (forced == table->name) {
      return Error{
          ErrorCode::kUnsupported,
          format("instruction set '{}' is forced, but this processor or system lacks it: the best here is '{}'", forced,
                 supported.front()->name)};
    }
  }
  return Error{ErrorCode::kInvalidArgument,
               format("'{}' is no instruction set: choose scalar, avx2 or avx512", forced)};
}

}  // namespace infer::kernels
