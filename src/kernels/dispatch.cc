#include "kernels/dispatch.h"

#include <array>

#include "base/format.h"
#include "kernels/tables.h"

namespace infer::kernels {

namespace {

// The set "avx512" with the kernels that tiles do better.
KernelTable with_tiles(KernelTable table) {
  table.name = "amx";
  table.matmul = amx::kTileKernels.matmul;
  table.int8_peak = amx::kTileKernels.int8_peak;
  return table;
}

// Best first; a processor that has one has those after it too.
std::span<const KernelTable* const> all_tables(WeightStream stream) {
  using Tables = std::array<const KernelTable*, 4>;
  static const std::array<KernelTable, 2> tiled{with_tiles(avx512::kTables[0]), with_tiles(avx512::kTables[1])};
  static const std::array<Tables, 2> tables{
      Tables{&tiled[0], &avx512::kTables[0], &avx2::kTables[0], &scalar::kTables[0]},
      Tables{&tiled[1], &avx512::kTables[1], &avx2::kTables[1], &scalar::kTables[1]}};
  return tables[static_cast<size_t>(stream)];
}

size_t first_supported(const IsaSupport& support) {
  if (!support.avx2_fma_f16c) return 3;
  if (!support.avx512_vnni) return 2;
  return support.amx_int8 ? 0 : 1;
}

}  // namespace

WeightStream weight_stream_for(std::string_view vendor, int family) {
  constexpr int kZen5 = 26;
  return vendor == "AuthenticAMD" && family >= kZen5 ? WeightStream::kPastL2 : WeightStream::kThroughL2;
}

std::span<const KernelTable* const> supported_kernels(const IsaSupport& support) {
  return all_tables(support.stream).subspan(first_supported(support));
}

Result<const KernelTable*> select_kernels(const IsaSupport& support, std::string_view forced) {
  const std::span<const KernelTable* const> supported = supported_kernels(support);
  if (forced.empty()) return supported.front();
  for (const KernelTable* table : supported) {
    if (forced == table->name) return table;
  }
  for (const KernelTable* table : all_tables(support.stream)) {
    if (forced == table->name) {
      return Error{
          ErrorCode::kUnsupported,
          format("instruction set '{}' is forced, but this processor or system lacks it: the best here is '{}'", forced,
                 supported.front()->name)};
    }
  }
  return Error{ErrorCode::kInvalidArgument,
               format("'{}' is no instruction set: choose scalar, avx2, avx512 or amx", forced)};
}

}  // namespace infer::kernels
