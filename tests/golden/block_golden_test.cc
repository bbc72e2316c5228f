// The plain definitions of the block formats against the floats that llama.cpp makes of the same blocks, bit for bit
// (README.md tells the format of blocks.txt).

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/reference.h"

namespace infer {
namespace {

std::vector<std::byte> from_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

struct BlockRun {
  std::string type;
  std::vector<std::byte> blocks;
  std::vector<std::byte> values;  // Floats, little endian.
};

std::vector<BlockRun> read_runs() {
  std::ifstream in(std::string(INFER_SOURCE_DIR) + "/tests/golden/blocks.txt");
  EXPECT_TRUE(in.good());
  std::vector<BlockRun> runs;
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string kind, type, hex;
    fields >> kind >> type >> hex;
    if (kind == "blocks") runs.push_back({type, from_hex(hex), {}});
    if (kind == "values") runs.back().values = from_hex(hex);
  }
  return runs;
}

TEST(Golden, BlocksOfEveryFormatAreWorthWhatTheReferenceSays) {
  std::set<std::string> seen;
  for (const BlockRun& run : read_runs()) {
    const kernels::WeightTypeInfo* info = kernels::weight_type_by_name(run.type.c_str());
    ASSERT_NE(info, nullptr) << run.type;
    std::vector<float> expected(run.values.size() / sizeof(float));
    std::memcpy(expected.data(), run.values.data(), run.values.size());
    ASSERT_EQ(run.blocks.size() / info->block_bytes * info->block_elems, expected.size()) << run.type;
    std::vector<float> got(expected.size());
    kernels::dequantize_row(info->type, run.blocks.data(), static_cast<int>(got.size()), got.data());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(std::memcmp(&got[i], &expected[i], sizeof(float)), 0)
          << run.type << " weight " << i << " is " << got[i] << ", not " << expected[i];
    }
    seen.insert(info->name);
  }
  for (uint32_t id = 0; id < 64; ++id) {
    const kernels::WeightTypeInfo* info = kernels::weight_type_info(id);
    if (info != nullptr && info->block_elems > 1) {
      EXPECT_TRUE(seen.contains(info->name)) << info->name;
    }
  }
}

}  // namespace
}  // namespace infer
