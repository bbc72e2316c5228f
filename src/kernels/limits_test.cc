#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "testing/machine_kernels.h"

namespace infer::kernels {
namespace {

// The definition: 32-bit words of the whole 64-byte lines modulo 2^32, plus the bytes after them.
uint64_t checksum(const std::vector<std::byte>& data, size_t begin) {
  uint32_t words = 0;
  size_t i = begin;
  for (; i + 64 <= data.size(); i += 64) {
    for (size_t w = 0; w < 64; w += 4) {
      uint32_t word;
      std::memcpy(&word, data.data() + i + w, 4);
      words += word;
    }
  }
  uint64_t sum = words;
  for (; i < data.size(); ++i) sum += static_cast<uint64_t>(data[i]);
  return sum;
}

TEST(Limits, ReadAllReadsEveryByteOnce) {
  Rng rng(1);
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{255}, size_t{256}, size_t{257},
                       size_t{1000}, size_t{4096}, size_t{100003}}) {
    std::vector<std::byte> data(bytes + 3);
    for (std::byte& b : data) b = static_cast<std::byte>(rng.next());
    for (const KernelTable* table : testing::machine_kernels()) {
      EXPECT_EQ(table->read_all(data.data() + 3, bytes), checksum(data, 3)) << table->name << " " << bytes;
    }
  }
}

TEST(Limits, StreamsReadEveryByteOnce) {
  Rng rng(2);
  constexpr size_t kTurn = 128;  // The data ends with the allocation: a prefetch behind it must do no harm.
  for (const int streams : {1, 2, 4, 8}) {
    for (const size_t turns : {size_t{0}, size_t{1}, size_t{2}, size_t{31}}) {
      std::vector<std::byte> data(kTurn * static_cast<size_t>(streams) * turns);
      for (std::byte& b : data) b = static_cast<std::byte>(rng.next());
      for (const KernelTable* table : testing::machine_kernels()) {
        for (const size_t ahead : {size_t{0}, size_t{4096}}) {
          EXPECT_EQ(table->read_streams(data.data(), data.size(), streams, ahead), checksum(data, 0))
              << table->name << " " << streams << " streams, " << turns << " turns, " << ahead << " ahead";
        }
      }
    }
  }
}

TEST(Limits, Bf16PeakIsThereWhereTheProcessorHasTheInstructions) {
  for (const KernelTable* table : testing::machine_kernels()) {
    const bool has_bf16 = std::string_view(table->name) == "avx512" || std::string_view(table->name) == "amx";
    ASSERT_EQ(table->bf16_peak != nullptr, has_bf16) << table->name;
    if (!has_bf16 || !__builtin_cpu_supports("avx512bf16")) continue;
    float sum = 0.0f;
    const uint64_t once = table->bf16_peak(1, &sum);
    // Each lane of each sum adds two products of 1/16, so an operation (half of a multiply-add) is worth 1/512.
    EXPECT_EQ(sum, static_cast<float>(once) / 512.0f);
    EXPECT_EQ(table->bf16_peak(16, &sum), 16 * once);
    EXPECT_EQ(sum, 17.0f * static_cast<float>(once) / 512.0f);
  }
}

TEST(Limits, PeaksCountTheirOperationsAndLeaveAResult) {
  for (const KernelTable* table : testing::machine_kernels()) {
    int32_t whole = 0;
    float real = 0.0f;
    const uint64_t once = table->int8_peak(1, &whole);
    EXPECT_GT(once, 0u) << table->name;
    EXPECT_EQ(table->int8_peak(7, &whole), 7 * once) << table->name;
    EXPECT_GT(table->f32_peak(3, &real), 0u) << table->name;
    EXPECT_NE(real, 0.0f) << table->name;
    EXPECT_NE(whole, 0) << table->name;
  }
}

}  // namespace
}  // namespace infer::kernels
