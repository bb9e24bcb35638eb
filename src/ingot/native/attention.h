// Attention of a whole batch, on all threads.
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

// The grouping of a batch's queries for the kernel; made once a step, used in every layer.
class AttentionPlan {
 public:
  // `window` is the number of tokens that each token attends to, itself included; 0 for all.
  AttentionPlan(const Batch& batch, const HeadShape& shape, int64_t window);

  // q (rows, stride) holds the query heads first; out (rows, heads * width). The keys and values
  // of the batch's own tokens must be in the cache already.
  void run(const Kernels& kernels, ThreadPool& pool, const KvCache& cache, int64_t layer,
           const float* q, int64_t stride, float* out) const;

 private:
  // A few rows of one input. With the query heads of one key head they fill one call of the kernel.
  struct WorkItem {
    const ModelInput* input;
    int64_t first_row, rows, first_position;
  };
  void run_item(const Kernels& kernels, const KvCache& cache, int64_t layer, const WorkItem& item,
                int64_t head, const float* q, int64_t stride, float* out) const;

  HeadShape shape_;
  int64_t window_;
  std::vector<WorkItem> work_items_;
  double work_ = 0;  // multiply-adds; a double, because a long context overflows an integer
};

}  // namespace ingot
