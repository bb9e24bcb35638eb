#include "bpe_encoder.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <queue>
#include <utility>

namespace ingot {

namespace {

constexpr size_t kFewBytes = 48;  // of a word whose best pair is found by looking at all of them
constexpr size_t kFirstSlots = 1 << 12;

template <class Value>
uint64_t load(const char* from) {
  Value value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// The last eight bytes of a word or fewer: a value that two words of one length share only if the
// bytes are the same.
uint64_t load_last(const char* from, size_t count) {
  if (count >= 4) return load<uint32_t>(from) << 32 | load<uint32_t>(from + count - 4);
  const auto* bytes = reinterpret_cast<const unsigned char*>(from);
  return count == 0 ? 0 : bytes[0] << 16 | bytes[count / 2] << 8 | bytes[count - 1];
}

bool same(const char* left, const char* right, size_t count) {
  for (; count > 8; left += 8, right += 8, count -= 8) {
    if (load<uint64_t>(left) != load<uint64_t>(right)) return false;
  }
  return load_last(left, count) == load_last(right, count);
}

uint64_t mix(uint64_t left, uint64_t right) {
  const auto product = static_cast<unsigned __int128>(left) * right;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Words in the store begin at multiples of four bytes.
size_t units(size_t bytes) { return (bytes + 3) / 4; }

}  // namespace

MergeTable::MergeTable(const std::vector<Merge>& merges) {
  const size_t size = std::bit_ceil(std::max<size_t>(16, 2 * merges.size()));
  slots_.resize(size);
  mask_ = size - 1;
  shift_ = 64 - std::countr_zero(size);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t key = uint64_t{merges[rank].left} << 32 | merges[rank].right;
    size_t slot = slot_of(key);
    while (slots_[slot].found.rank != kNone && slots_[slot].key != key) slot = (slot + 1) & mask_;
    slots_[slot] = {key, {static_cast<uint32_t>(rank), merges[rank].made}};
  }
}

WordCache::WordCache(size_t max_bytes)
    : slots_(kFirstSlots),
      // Half for the slots, at least half of which are free, half for the store.
      max_slots_(std::max(kFirstSlots, std::bit_floor(max_bytes / 2 / sizeof(Slot)))),
      max_store_(std::max<size_t>(4 * kLongestWord, max_bytes / 2 / sizeof(uint32_t))) {}

uint64_t WordCache::hash(std::string_view word) {
  const char* at = word.data();
  size_t left = word.size();
  uint64_t value = left * 0x9e3779b97f4a7c15u;
  for (; left > 8; at += 8, left -= 8) value = mix(value ^ load<uint64_t>(at), 0xa0761d6478bd642fu);
  return mix(value ^ load_last(at, left), 0xe7037ed1a0b428dbu);
}

bool WordCache::find(uint64_t hash, std::string_view word, std::vector<uint32_t>& ids) const {
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask; slots_[at].bytes; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.hash != hash || slot.bytes != word.size()) continue;
    const uint32_t* stored = store_.data() + slot.begin;
    if (!same(reinterpret_cast<const char*>(stored), word.data(), word.size())) continue;
    stored += units(word.size());
    // One or two at a time: a call to copy so few takes longer.
    for (size_t at_id = 0; at_id < slot.count; ++at_id) ids.push_back(stored[at_id]);
    return true;
  }
  return false;
}

void WordCache::add(uint64_t hash, std::string_view word, const uint32_t* ids, size_t count) {
  const size_t needed = units(word.size()) + count;
  if (2 * (used_ + 1) > slots_.size()) slots_.size() < max_slots_ ? grow() : clear();
  if (store_.size() + needed > max_store_) clear();
  const size_t begin = store_.size();
  store_.resize(begin + needed);
  std::memcpy(store_.data() + begin, word.data(), word.size());
  std::copy(ids, ids + count, store_.data() + begin + units(word.size()));
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at].bytes) at = (at + 1) & mask;
  slots_[at] = {hash, static_cast<uint32_t>(begin), static_cast<uint16_t>(word.size()),
                static_cast<uint16_t>(count)};
  ++used_;
}

void WordCache::grow() {
  std::vector<Slot> old(2 * slots_.size());
  old.swap(slots_);
  const size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (!slot.bytes) continue;
    size_t at = slot.hash & mask;
    while (slots_[at].bytes) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

void WordCache::clear() {
  std::fill(slots_.begin(), slots_.end(), Slot{});
  store_.clear();
  used_ = 0;
}

BpeEncoder::BpeEncoder(const std::array<uint32_t, 256>& bytes, const std::vector<Merge>& merges,
                       SplitRules rules, size_t cache_bytes)
    : bytes_(bytes), merges_(merges), rules_(rules), cache_bytes_(cache_bytes) {}

void BpeEncoder::encode(const std::vector<std::string_view>& texts, std::vector<uint32_t>& ids,
                        std::vector<int64_t>& ends) {
  std::unique_ptr<WordCache> cache;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      cache = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!cache) cache = std::make_unique<WordCache>(cache_bytes_);
  for (const std::string_view text : texts) {
    WordSplitter words(text, rules_);
    for (std::string_view word; words.next(word);) {
      if (word.size() == 1) {
        ids.push_back(bytes_[static_cast<unsigned char>(word[0])]);
      } else if (word.size() > WordCache::kLongestWord) {
        encode_word(word, ids);
      } else {
        const uint64_t hash = WordCache::hash(word);
        if (cache->find(hash, word, ids)) continue;
        const size_t begin = ids.size();
        encode_word(word, ids);
        cache->add(hash, word, ids.data() + begin, ids.size() - begin);
      }
    }
    ends.push_back(static_cast<int64_t>(ids.size()));
  }
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(cache));
}

void BpeEncoder::encode_word(std::string_view word, std::vector<uint32_t>& ids) const {
  word.size() <= kFewBytes ? merge_few(word, ids) : merge_many(word, ids);
}

// Look at all pairs for the best one, again and again: quadratic, but quick for a short word.
void BpeEncoder::merge_few(std::string_view word, std::vector<uint32_t>& ids) const {
  uint32_t tokens[kFewBytes];
  MergeTable::Found pairs[kFewBytes];  // that of each token with the one after it
  size_t count = word.size();
  for (size_t at = 0; at < count; ++at) tokens[at] = bytes_[static_cast<unsigned char>(word[at])];
  for (size_t at = 0; at + 1 < count; ++at) pairs[at] = merges_.find(tokens[at], tokens[at + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t at = 1; at + 1 < count; ++at) {
      if (pairs[at].rank < pairs[best].rank) best = at;
    }
    if (pairs[best].rank == MergeTable::kNone) break;
    tokens[best] = pairs[best].made;
    for (size_t at = best + 1; at + 1 < count; ++at) {
      tokens[at] = tokens[at + 1];
      pairs[at] = pairs[at + 1];
    }
    --count;
    if (best > 0) pairs[best - 1] = merges_.find(tokens[best - 1], tokens[best]);
    if (best + 1 < count) pairs[best] = merges_.find(tokens[best], tokens[best + 1]);
  }
  ids.insert(ids.end(), tokens, tokens + count);
}

// Keep the pairs in a heap: n log n for a word of n bytes.
void BpeEncoder::merge_many(std::string_view word, std::vector<uint32_t>& ids) const {
  struct Token {
    uint32_t id;
    int64_t before, after;  // -1: none
    bool gone;
  };
  struct Pair {
    uint32_t rank, made;
    int64_t at;
    bool operator<(const Pair& other) const {  // the heap's top is the largest
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  const auto size = static_cast<int64_t>(word.size());
  std::vector<Token> tokens(word.size());
  std::priority_queue<Pair> pairs;
  auto offer = [&](int64_t at) {
    if (at < 0 || tokens[at].after < 0) return;
    const MergeTable::Found found = merges_.find(tokens[at].id, tokens[tokens[at].after].id);
    if (found.rank != MergeTable::kNone) pairs.push({found.rank, found.made, at});
  };
  for (int64_t at = 0; at < size; ++at) {
    const uint32_t id = bytes_[static_cast<unsigned char>(word[at])];
    tokens[at] = {id, at - 1, at + 1 < size ? at + 1 : -1, false};
  }
  for (int64_t at = 0; at < size; ++at) offer(at);
  while (!pairs.empty()) {
    const Pair pair = pairs.top();
    pairs.pop();
    Token& left = tokens[pair.at];
    if (left.gone || left.after < 0) continue;
    Token& right = tokens[left.after];
    // One of the two may have become part of another token meanwhile.
    if (merges_.find(left.id, right.id).rank != pair.rank) continue;
    left.id = pair.made;
    left.after = right.after;
    right.gone = true;
    if (left.after >= 0) tokens[left.after].before = pair.at;
    offer(left.before);
    offer(pair.at);
  }
  for (int64_t at = 0; at >= 0; at = tokens[at].after) ids.push_back(tokens[at].id);
}

}  // namespace ingot
