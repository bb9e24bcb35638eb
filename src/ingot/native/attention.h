// Attention of a whole batch, shared out among threads.
#pragma once

#include <vector>

#include "batch.h"
#include "kernels.h"
#include "kv_cache.h"
#include "thread_pool.h"

namespace ingot {

struct HeadShape {
  int64_t queries, keys;  // heads of each
  int64_t width;
};

// How a batch's queries are grouped for the kernel; made once a step, used in every layer.
class AttentionPlan {
 public:
  // `window` is how many tokens each sees, itself included; 0 for all.
  AttentionPlan(const Batch& batch, const HeadShape& shape, int64_t window);

  // q (rows, stride) holds the query heads first; out (rows, heads * width). The keys and values
  // of the batch's own tokens are in the cache already.
  void run(const Kernels& kernels, ThreadPool& pool, const KvCache& cache, int64_t layer,
           const float* q, int64_t stride, float* out) const;

 private:
  // A few rows of one chunk: with the query heads of one key head, what one call takes.
  struct Piece {
    const Chunk* chunk;
    int64_t first_row, rows, first_position;
  };
  void run_piece(const Kernels& kernels, const KvCache& cache, int64_t layer, const Piece& piece,
                 int64_t head, const float* q, int64_t stride, float* out) const;

  HeadShape shape_;
  int64_t window_;
  std::vector<Piece> pieces_;
  int64_t work_ = 0;  // multiply-adds, to judge whether threads pay
};

}  // namespace ingot
