// The paged key-value cache. The scheduler in Python assigns its blocks to sequences.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.h"

namespace ingot {

// Memory [layer][block][head][keys, values, scales of keys, scales of values], the scales for int8
// alone; pages that were never written occupy no memory.
class KvCache {
 public:
  // Throws std::bad_alloc where the address space does not hold it.
  KvCache(CacheFormat format, int64_t layers, int64_t blocks, int64_t block_size, int64_t heads,
          int64_t head_dim);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  CacheFormat format() const { return format_; }
  int64_t blocks() const { return blocks_; }
  int64_t block_size() const { return block_size_; }
  int64_t block_bytes() const { return heads_ * head_bytes_; }

  // Of one layer and head, in block 0; block i is i * block_bytes() further.
  uint8_t* keys(int64_t layer, int64_t head) const {
    return memory_ + layer * blocks_ * block_bytes() + head * head_bytes_;
  }
  uint8_t* values(int64_t layer, int64_t head) const { return keys(layer, head) + codes_bytes_; }
  uint8_t* key_scales(int64_t layer, int64_t head) const {
    return keys(layer, head) + 2 * codes_bytes_;
  }
  uint8_t* value_scales(int64_t layer, int64_t head) const {
    return key_scales(layer, head) + block_size_ * 4;
  }

 private:
  CacheFormat format_;
  int64_t blocks_, block_size_, heads_, codes_bytes_, head_bytes_;
  size_t bytes_;
  uint8_t* memory_;
};

}  // namespace ingot
