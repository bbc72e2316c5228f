#include "kernels/dispatch.h"

#include <array>

#include "base/format.h"
#include "kernels/tables.h"

namespace infer::kernels {

namespace {

// By WeightStream, and best first; a processor that has one has those after it too.
using Tables = std::array<const KernelTable*, 3>;
constexpr std::array<Tables, 2> kTables{Tables{&avx512::kTables[0], &avx2::kTables[0], &scalar::kTables[0]},
                                        Tables{&avx512::kTables[1], &avx2::kTables[1], &scalar::kTables[1]}};

size_t first_supported(const IsaSupport& support) {
  if (support.avx512_vnni && support.avx2_fma_f16c) return 0;
  return support.avx2_fma_f16c ? 1 : 2;
}

}  // namespace

WeightStream weight_stream_for(std::string_view vendor) {
  const bool zen = vendor == "AuthenticAMD" || vendor == "HygonGenuine";
  return zen ? WeightStream::kPastL2 : WeightStream::kThroughL2;
}

std::span<const KernelTable* const> supported_kernels(const IsaSupport& support) {
  const Tables& tables = kTables[static_cast<size_t>(support.stream)];
  return std::span<const KernelTable* const>(tables).subspan(first_supported(support));
}

Result<const KernelTable*> select_kernels(const IsaSupport& support, std::string_view forced) {
  const std::span<const KernelTable* const> supported = supported_kernels(support);
  if (forced.empty()) return supported.front();
  for (const KernelTable* table : supported) {
    if (forced == table->name) return table;
  }
  for (const KernelTable* table : kTables.front()) {
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
