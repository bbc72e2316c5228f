// The prefix index's dealings with the disk.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "kv/prefix_index.h"

namespace infer::kv {

namespace {

constexpr auto kPage = static_cast<size_t>(kernels::kPageTokens);
// How long a file stays young before its text's use is marked again.
constexpr Duration kRenewAfter = Duration::from_seconds(3600);

}  // namespace

void PrefixIndex::set_store(PrefixStore* store) {
  INFER_CHECK(nodes() == 0);
  store_ = store;
  if (store == nullptr) return;
  for (const uint64_t key : store->known()) hint(key).store(key, std::memory_order_relaxed);
}

void PrefixIndex::save(const PrefixCursor& cursor, Instant now) {
  if (store_ == nullptr || cursor.node == kNone || at(cursor.node).generation != cursor.generation) return;
  const size_t before = to_save_.size();
  for (int32_t id = cursor.node; id != kNone; id = at(id).parent) {
    Node& node = at(id);
    if (node.saved_at != Instant::never() && now - node.saved_at < kRenewAfter) continue;
    node.saved_at = now;
    to_save_.push_back({id, node.generation});
  }
  // The disk does not keep up: what has waited longest stays unsaved.
  const size_t added = to_save_.size() - before;
  std::reverse(to_save_.begin() + static_cast<std::ptrdiff_t>(before), to_save_.end());
  while (to_save_.size() > std::max(added, static_cast<size_t>(nodes_max_))) to_save_.pop_front();
}

// False: not now.
bool PrefixIndex::save_next(Instant now) {
  const auto [id, generation] = to_save_.front();
  Node& node = at(id);
  if (!node.taken || node.generation != generation) return true;  // Nobody has it any more.
  path_.clear();
  for (int32_t each = id; each != kNone; each = at(each).parent) path_.push_back(each);
  if (store_->knows(node.key)) return store_->start_renewal(node.key, path_.size(), now);
  const std::span<const PageId> pages =
      std::span(pages_).subspan(static_cast<size_t>(id) * static_cast<size_t>(layers_), static_cast<size_t>(layers_));
  for (const PageId held : pages) {
    if (held != kNoPage && pool_->level(held) == Level::kEvicted) return true;
  }
  std::vector<TokenId> text;
  text.reserve(path_.size() * kPage);
  for (size_t i = path_.size(); i > 0; --i) {
    const auto& tokens = at(path_[i - 1]).tokens;
    text.insert(text.end(), tokens.begin(), tokens.end());
  }
  return store_->start_write(node.key, text, *pool_, pages, now);
}

bool PrefixIndex::restore(std::span<const TokenId> tokens, int context, Instant now) {
  if (store_ == nullptr) return false;
  const size_t pages = std::min(tokens.size(), static_cast<size_t>(context)) / kPage;
  walk(tokens, pages);
  size_t next = path_.size();
  if (next >= pages) return false;
  uint64_t key = path_.empty() ? seed_ : at(path_.back()).key;
  key = chain(key, tokens.subspan(next * kPage, kPage));
  if (!store_->knows(key)) return false;
  if (!has_pages_besides_path()) return false;
  const bool is_on_its_way = store_->is_reading(key);
  bool started = false;
  while (store_->knows(key)) {
    if (!store_->is_reading(key)) {
      if (!store_->start_read(key, tokens.first((next + 1) * kPage), now)) break;
      started = true;
    }
    if (++next >= pages) break;
    key = chain(key, tokens.subspan(next * kPage, kPage));
  }
  // Where others' transfers take all places, one of them will end.
  return is_on_its_way || started || !store_->idle();
}

// Whether a node's pages can be had without giving up those of path_.
bool PrefixIndex::has_pages_besides_path() const {
  int64_t pages = pool_->free_pages();
  if (pages >= layers_) return true;
  pages += evictable_pages();
  for (const int32_t node : path_) {
    for (int layer = 0; layer < layers_; ++layer) {
      const PageId held = page(node, layer);
      if (held != kNoPage && pool_->users(held) == 1) --pages;
    }
  }
  return pages >= layers_;
}

// Room for a node's pages, though not by removing its parent.
bool PrefixIndex::make_pages(int32_t parent) {
  if (parent != kNone) touch(parent);
  while (pool_->free_pages() < layers_) {
    int32_t leaf = oldest_;
    while (leaf != kNone && (leaf == parent || at(leaf).children > 0 || is_shared(leaf))) leaf = at(leaf).newer;
    if (leaf == kNone) return false;
    remove(leaf);
  }
  return make_room(parent);
}

void PrefixIndex::take_in(const PrefixStore::Read& read, Instant now) {
  if (!read.file) {
    uint64_t hinted = read.key;
    hint(read.key).compare_exchange_strong(hinted, 0, std::memory_order_relaxed);
    return;
  }
  walk(read.text, read.text.size() / kPage);
  if (path_.size() + 1 != read.text.size() / kPage) return;  // It was computed meanwhile, or its parent has gone.
  const int32_t parent = path_.empty() ? kNone : path_.back();
  if (!make_pages(parent)) return;
  const int32_t id = add_node(parent, read.key, read.text.last(kPage));
  at(id).saved_at = now;
  const std::byte* from = read.file->pages.data();
  for (int layer = 0; layer < layers_; ++layer) {
    const uint8_t level = read.file->levels[static_cast<size_t>(layer)];
    page(id, layer) = kNoPage;
    if (level == kNoPageLevel) continue;
    const PageId taken = pool_->take(static_cast<Level>(level));
    from += pool_->copy_in(taken, from);
    pool_->keep(taken);
    pool_->give_back(taken);
    page(id, layer) = taken;
  }
  ++restored_;
}

void PrefixIndex::tend(Instant now) {
  if (store_ == nullptr) return;
  while (const std::optional<PrefixStore::Read> read = store_->take_read(now)) take_in(*read, now);
  while (!to_save_.empty() && save_next(now)) to_save_.pop_front();
}

}  // namespace infer::kv
