#include "kv/prefix_index.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "base/check.h"
#include "base/hash.h"

namespace infer::kv {

namespace {

constexpr auto kPage = static_cast<size_t>(kernels::kPageTokens);

std::span<const TokenId> page_tokens(std::span<const TokenId> tokens, size_t index) {
  return tokens.subspan(index * kPage, kPage);
}

}  // namespace

PrefixIndex::PrefixIndex(PagePool& pool, int layers, uint64_t fingerprint)
    : pool_(&pool),
      layers_(layers),
      seed_(hash_bytes(&fingerprint, sizeof fingerprint)),
      nodes_max_(std::max(1, pool.pages_max() / layers)),
      hints_size_(std::bit_ceil(2 * static_cast<size_t>(nodes_max_))),  // Half empty, so that few displace each other.
      hints_(std::make_unique<std::atomic<uint64_t>[]>(hints_size_)) {
  INFER_CHECK(layers > 0);
}

PrefixIndex::~PrefixIndex() { evict(pool_->pages_max()); }

uint64_t PrefixIndex::chain(uint64_t before, std::span<const TokenId> page) const {
  return hash_bytes(page.data(), page.size_bytes(), before);
}

int32_t PrefixIndex::find_child(int32_t parent, uint64_t key, std::span<const TokenId> tokens) const {
  const auto [begin, end] = by_key_.equal_range(key);
  for (auto it = begin; it != end; ++it) {
    const Node& node = at(it->second);
    if (node.parent == parent && std::equal(tokens.begin(), tokens.end(), node.tokens.begin())) return it->second;
  }
  return kNone;
}

void PrefixIndex::walk(std::span<const TokenId> tokens, size_t pages_max) const {
  path_.clear();
  uint64_t key = seed_;
  int32_t node = kNone;
  for (size_t i = 0; i < std::min(pages_max, tokens.size() / kPage); ++i) {
    const std::span<const TokenId> page = page_tokens(tokens, i);
    key = chain(key, page);
    node = find_child(node, key, page);
    if (node == kNone) return;
    path_.push_back(node);
  }
}

// How far along path_ a sequence may go: at its end, each layer must have all pages that the next token sees.
int PrefixIndex::usable_pages(const SequenceCache& sequence) const {
  const auto sees_all = [&](int count) {
    for (int layer = 0; layer < layers_; ++layer) {
      for (int i = sequence.first_visible_page(layer, count * kernels::kPageTokens); i < count; ++i) {
        const PageId held = page(path_[static_cast<size_t>(i)], layer);
        if (held == kNoPage || pool_->level(held) == Level::kEvicted) return false;
      }
    }
    return true;
  };
  int count = static_cast<int>(path_.size());
  while (count > 0 && !sees_all(count)) --count;
  return count;
}

PrefixMatch PrefixIndex::find(std::span<const TokenId> tokens, const SequenceCache& sequence) const {
  walk(tokens, static_cast<size_t>(sequence.context()) / kPage);
  PrefixMatch match{.pages = usable_pages(sequence)};
  for (int i = 0; i < match.pages; ++i) {
    for (int layer = 0; layer < layers_; ++layer) {
      const PageId held = page(path_[static_cast<size_t>(i)], layer);
      if (held != kNoPage) ++(pool_->users(held) > 1 ? match.in_use : match.unused);
    }
  }
  return match;
}

int PrefixIndex::adopt(std::span<const TokenId> tokens, SequenceCache& sequence, PrefixCursor& cursor) {
  INFER_CHECK(sequence.length() == 0 && sequence.layers() == layers_);
  const int count = find(tokens, sequence).pages;
  cursor = {};
  for (int i = 0; i < count; ++i) {
    const int32_t node = path_[static_cast<size_t>(i)];
    sequence.append_shared(std::span(pages_).subspan(static_cast<size_t>(node) * static_cast<size_t>(layers_),
                                                     static_cast<size_t>(layers_)));
    cursor = {node, at(node).generation, i + 1};
  }
  for (int i = count; i > 0; --i) touch(path_[static_cast<size_t>(i - 1)]);  // The start is used last, so goes last.
  return count;
}

void PrefixIndex::keep(std::span<const TokenId> tokens, const SequenceCache& sequence, PrefixCursor& cursor) {
  const int whole = sequence.length() / kernels::kPageTokens;
  INFER_CHECK(tokens.size() >= static_cast<size_t>(whole) * kPage);
  if (cursor.pages >= whole) return;
  if (cursor.node == kNone || at(cursor.node).generation != cursor.generation) {
    // Nothing is registered, or what was has been evicted: from the start, over what the index has.
    walk(tokens, static_cast<size_t>(whole));
    cursor = {};
    if (!path_.empty()) {
      cursor = {path_.back(), at(path_.back()).generation, static_cast<int>(path_.size())};
    }
  }
  for (; cursor.pages < whole; ++cursor.pages) {
    const std::span<const TokenId> page = page_tokens(tokens, static_cast<size_t>(cursor.pages));
    const uint64_t key = chain(cursor.node == kNone ? seed_ : at(cursor.node).key, page);
    int32_t node = find_child(cursor.node, key, page);
    if (node == kNone && (is_out_of_memory(sequence, cursor.pages) || !make_room(cursor.node))) return;
    if (node == kNone) {
      node = add(cursor.node, key, page, sequence, cursor.pages);
    } else {
      renew(node, sequence, cursor.pages);
    }
    cursor.node = node;
    cursor.generation = at(node).generation;
  }
}

// Pages that left memory while only their sequence read them give way to those of a sequence that computed them again.
void PrefixIndex::renew(int32_t node, const SequenceCache& sequence, int index) {
  for (int layer = 0; layer < layers_; ++layer) {
    PageId& held = page(node, layer);
    const PageId other = sequence.pages(layer)[static_cast<size_t>(index)];
    if (held == kNoPage || other == kNoPage || held == other) continue;
    if (pool_->level(held) != Level::kEvicted || pool_->level(other) == Level::kEvicted) continue;
    pool_->keep(other);
    pool_->stop_keeping(held);
    held = other;
  }
}

// One that has left memory would be missed by who takes it over.
bool PrefixIndex::is_out_of_memory(const SequenceCache& sequence, int index) const {
  for (int layer = 0; layer < layers_; ++layer) {
    const PageId held = sequence.pages(layer)[static_cast<size_t>(index)];
    if (held != kNoPage && pool_->level(held) == Level::kEvicted) return true;
  }
  return false;
}

// Room for one more node, though not by removing `spared`. Where windows have passed all pages, nodes cost no page, so
// that evict() alone would not bound them.
bool PrefixIndex::make_room(int32_t spared) {
  if (nodes() < nodes_max_) return true;
  int32_t leaf = oldest_;
  while (leaf != kNone && (leaf == spared || at(leaf).children > 0)) leaf = at(leaf).newer;
  if (leaf == kNone) return false;
  remove(leaf);
  return true;
}

int32_t PrefixIndex::add(int32_t parent, uint64_t key, std::span<const TokenId> tokens, const SequenceCache& sequence,
                         int index) {
  const int32_t id = add_node(parent, key, tokens);
  for (int layer = 0; layer < layers_; ++layer) {
    const PageId shared = sequence.pages(layer)[static_cast<size_t>(index)];
    if (shared != kNoPage) pool_->keep(shared);
    page(id, layer) = shared;
  }
  return id;
}

// Without pages.
int32_t PrefixIndex::add_node(int32_t parent, uint64_t key, std::span<const TokenId> tokens) {
  if (free_.empty()) {
    free_.push_back(static_cast<int32_t>(nodes_.size()));
    nodes_.emplace_back();
    pages_.resize(pages_.size() + static_cast<size_t>(layers_), kNoPage);
  }
  const int32_t id = free_.back();
  free_.pop_back();
  Node& node = at(id);
  node.key = key;
  node.parent = parent;
  node.taken = true;
  node.saved_at = Instant::never();
  std::copy(tokens.begin(), tokens.end(), node.tokens.begin());
  by_key_.emplace(key, id);
  hint(key).store(key, std::memory_order_relaxed);
  link_newest(id);
  if (parent != kNone) {
    ++at(parent).children;
    touch(parent);
  }
  return id;
}

// Only leaves are removed. Returns the pages that became free.
int64_t PrefixIndex::remove(int32_t id) {
  Node& node = at(id);
  INFER_CHECK(node.taken && node.children == 0);
  int64_t freed = 0;
  for (int layer = 0; layer < layers_; ++layer) {
    PageId& held = page(id, layer);
    if (held == kNoPage) continue;
    freed += pool_->users(held) == 1 ? 1 : 0;
    pool_->stop_keeping(held);
    held = kNoPage;
  }
  const auto [begin, end] = by_key_.equal_range(node.key);
  by_key_.erase(std::find_if(begin, end, [id](const auto& entry) { return entry.second == id; }));
  uint64_t hinted = node.key;
  const bool comes_back = store_ != nullptr && store_->knows(node.key);
  if (!comes_back) hint(node.key).compare_exchange_strong(hinted, 0, std::memory_order_relaxed);
  unlink(id);
  if (node.parent != kNone) --at(node.parent).children;
  node.parent = kNone;
  node.taken = false;
  ++node.generation;
  free_.push_back(id);
  return freed;
}

int64_t PrefixIndex::evict(int64_t pages) {
  int64_t freed = 0;
  // What a sequence uses at the moment goes last: forgetting it frees nothing now.
  for (const bool shared_too : {false, true}) {
    for (int32_t node = oldest_; node != kNone && freed < pages;) {
      const int32_t next = at(node).newer;
      const int32_t parent = at(node).parent;
      if (at(node).children > 0 || (!shared_too && is_shared(node))) {
        node = next;
        continue;
      }
      freed += remove(node);
      // A parent that became a leaf may stand before the next one.
      const bool back =
          parent != kNone && at(parent).children == 0 && (next == kNone || at(parent).used < at(next).used);
      node = back ? parent : next;
    }
  }
  return freed;
}

bool PrefixIndex::is_shared(int32_t node) const {
  for (int layer = 0; layer < layers_; ++layer) {
    if (page(node, layer) != kNoPage && pool_->users(page(node, layer)) > 1) return true;
  }
  return false;
}

int64_t PrefixIndex::evictable_pages() const {
  return std::count_if(pages_.begin(), pages_.end(),
                       [this](PageId page) { return page != kNoPage && pool_->users(page) == 1; });
}

void PrefixIndex::list_pages(std::vector<PageId>& into) const {
  std::copy_if(pages_.begin(), pages_.end(), std::back_inserter(into), [](PageId page) { return page != kNoPage; });
}

int PrefixIndex::hinted_pages(std::span<const TokenId> tokens) const {
  uint64_t key = seed_;
  size_t count = 0;
  for (; count < tokens.size() / kPage; ++count) {
    key = chain(key, page_tokens(tokens, count));
    if (hint(key).load(std::memory_order_relaxed) != key) break;
  }
  return static_cast<int>(count);
}

// ---- Order of use.

void PrefixIndex::touch(int32_t node) {
  if (newest_ == node) return;
  unlink(node);
  link_newest(node);
}

void PrefixIndex::link_newest(int32_t id) {
  Node& node = at(id);
  node.older = newest_;
  node.newer = kNone;
  node.used = ++uses_;
  (newest_ == kNone ? oldest_ : at(newest_).newer) = id;
  newest_ = id;
}

void PrefixIndex::unlink(int32_t id) {
  Node& node = at(id);
  (node.older == kNone ? oldest_ : at(node.older).newer) = node.newer;
  (node.newer == kNone ? newest_ : at(node.newer).older) = node.older;
  node.older = node.newer = kNone;
}

bool PrefixIndex::check_integrity() const {
  std::vector<int32_t> children(nodes_.size(), 0);
  int listed = 0;
  for (int32_t id = oldest_, before = kNone; id != kNone; before = id, id = at(id).newer) {
    const Node& node = at(id);
    if (!node.taken || node.older != before || ++listed > nodes()) return false;
    if (before != kNone && at(before).used >= node.used) return false;
    const uint64_t start = node.parent == kNone ? seed_ : at(node.parent).key;
    if (node.key != chain(start, node.tokens)) return false;
    if (node.parent == kNone) continue;
    if (!at(node.parent).taken) return false;
    ++children[static_cast<size_t>(node.parent)];
  }
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].children != children[i]) return false;
    for (int layer = 0; layer < layers_; ++layer) {
      const PageId held = page(static_cast<int32_t>(i), layer);
      if (held != kNoPage && (!nodes_[i].taken || pool_->users(held) < 1)) return false;
    }
  }
  return listed == nodes() && by_key_.size() == static_cast<size_t>(nodes());
}

}  // namespace infer::kv
