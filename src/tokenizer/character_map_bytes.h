// Builds tokenizer.ggml.precompiled_charsmap from a list of replacements, for tests: a double array, placed by trying.
// Thread safety: a pure function.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace infer::tokenizer {

inline std::string character_map_bytes(const std::vector<std::pair<std::string, std::string>>& replacements) {
  struct Node {
    std::map<uint8_t, size_t> children;
    int value = -1;
  };
  std::vector<Node> nodes(1);
  std::string texts;
  for (const auto& [from, to] : replacements) {
    size_t node = 0;
    for (const char byte : from) {
      const auto [place, is_new] = nodes[node].children.try_emplace(static_cast<uint8_t>(byte), nodes.size());
      node = place->second;
      if (is_new) nodes.emplace_back();
    }
    nodes[node].value = static_cast<int>(texts.size());
    texts += to + '\0';
  }
  std::vector<uint32_t> units(size_t{256} * (nodes.size() + 2), 0);
  std::vector<bool> used(units.size(), false);
  std::vector<bool> is_base(units.size(), false);         // Of one node alone: a unit does not tell whose child it is.
  std::vector<std::pair<size_t, size_t>> placed{{0, 0}};  // A node and its unit.
  used[0] = true;
  for (size_t i = 0; i < placed.size(); ++i) {
    const auto [node, unit] = placed[i];
    std::vector<uint8_t> labels;
    if (nodes[node].value >= 0) labels.push_back(0);
    for (const auto& [byte, child] : nodes[node].children) labels.push_back(byte);
    size_t base = 0;  // Where the children's labels are added to, by exclusive or.
    for (bool fits = false; !fits;) {
      ++base;
      fits = !is_base[base];
      for (const uint8_t byte : labels) fits = fits && !used[base ^ byte];
    }
    is_base[base] = true;
    const auto offset = static_cast<uint32_t>(base ^ unit);
    units[unit] |= offset << 10 | (nodes[node].value >= 0 ? 0x100u : 0u);
    for (const uint8_t byte : labels) used[base ^ byte] = true;
    if (nodes[node].value >= 0) units[base] = 0x80000000u | static_cast<uint32_t>(nodes[node].value);
    for (const auto& [byte, child] : nodes[node].children) {
      units[base ^ byte] = byte;
      placed.emplace_back(child, base ^ byte);
    }
  }
  std::string bytes;
  const auto append = [&bytes](uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(value >> shift & 0xFF));
  };
  append(static_cast<uint32_t>(units.size() * sizeof(uint32_t)));
  for (const uint32_t unit : units) append(unit);
  return bytes + texts;
}

}  // namespace infer::tokenizer
