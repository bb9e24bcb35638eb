// Byte-pair encoding of text: words to token ids by their merges, with a cache of words.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "word_splitter.h"

namespace ingot {

// Two neighbouring tokens become one. Those that come first in the list of merges go first.
struct Merge {
  uint32_t left, right, made;
};

// Merges by the pairs that they join.
class MergeTable {
 public:
  static constexpr uint32_t kNone = 0xffffffffu;

  // `rank`: its place in the list; `made`: the token that the pair becomes.
  struct Found {
    uint32_t rank = kNone;
    uint32_t made = 0;
  };

  // Of two merges of the same pair the later one counts.
  explicit MergeTable(const std::vector<Merge>& merges);

  Found find(uint32_t left, uint32_t right) const {
    const uint64_t key = uint64_t{left} << 32 | right;
    for (size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key && slots_[slot].found.rank != kNone) return slots_[slot].found;
      if (slots_[slot].found.rank == kNone) return {};
    }
  }

 private:
  struct Slot {
    uint64_t key = 0;
    Found found;
  };

  size_t slot_of(uint64_t key) const { return (key * 0x9e3779b97f4a7c15u >> shift_) & mask_; }

  std::vector<Slot> slots_;
  size_t mask_;
  int shift_;
};

// Token ids of words that were met before, in bounded memory: when it is full it forgets all.
class WordCache {
 public:
  static constexpr size_t kLongestWord = 64;  // bytes; longer ones rarely come again

  explicit WordCache(size_t max_bytes);

  static uint64_t hash(std::string_view word);

  // Append the ids of a word and return true, or return false if it is not known.
  bool find(uint64_t hash, std::string_view word, std::vector<uint32_t>& ids) const;

  // Add a word that is not known.
  void add(uint64_t hash, std::string_view word, const uint32_t* ids, size_t count);

 private:
  struct Slot {
    uint64_t hash = 0;
    uint32_t begin = 0;  // in `store_`: the bytes, then the ids
    uint16_t bytes = 0;  // 0: free
    uint16_t count = 0;
  };

  void grow();
  void clear();

  std::vector<Slot> slots_;
  std::vector<uint32_t> store_;
  size_t used_ = 0;
  size_t max_slots_, max_store_;
};

// Encoder of one vocabulary. Safe to call from several threads, each of which takes a cache.
class BpeEncoder {
 public:
  // `bytes`: the token of each byte; `cache_bytes`: most memory of each thread's cache.
  BpeEncoder(const std::array<uint32_t, 256>& bytes, const std::vector<Merge>& merges,
             SplitRules rules, size_t cache_bytes);

  // Append the ids of each text to `ids` and their number so far to `ends`.
  void encode(const std::vector<std::string_view>& texts, std::vector<uint32_t>& ids,
              std::vector<int64_t>& ends);

 private:
  void encode_word(std::string_view word, std::vector<uint32_t>& ids) const;
  void merge_few(std::string_view word, std::vector<uint32_t>& ids) const;
  void merge_many(std::string_view word, std::vector<uint32_t>& ids) const;

  std::array<uint32_t, 256> bytes_;
  MergeTable merges_;
  SplitRules rules_;
  size_t cache_bytes_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<WordCache>> idle_;  // those that no thread uses now
};

}  // namespace ingot
