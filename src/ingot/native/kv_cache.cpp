#include "kv_cache.h"

#include <sys/mman.h>

#include <new>

namespace ingot {

namespace {

int64_t bytes_of(CacheFormat format) {
  if (format == CacheFormat::int8) return 1;
  return format == CacheFormat::f32 ? 4 : 2;
}

}  // namespace

KvCache::KvCache(CacheFormat format, int64_t layers, int64_t blocks, int64_t block_size,
                 int64_t heads, int64_t head_dim)
    : format_(format),
      blocks_(blocks),
      block_size_(block_size),
      heads_(heads),
      codes_bytes_(block_size * head_dim * bytes_of(format)),
      head_bytes_(2 * (codes_bytes_ + (format == CacheFormat::int8 ? block_size * 4 : 0))) {
  const auto wide = static_cast<unsigned __int128>(layers * heads_) * blocks_ * head_bytes_;
  if (wide > (static_cast<unsigned __int128>(1) << 46)) throw std::bad_alloc();
  bytes_ = static_cast<size_t>(wide);
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<uint8_t*>(memory);
}

KvCache::~KvCache() { munmap(memory_, bytes_); }

}  // namespace ingot
