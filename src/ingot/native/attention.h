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

// One layer's attention: to what, from what.
struct AttentionJob {
  int64_t layer;
  int64_t window;  // tokens that each token attends to, itself included; 0 for all
  const float* q;  // (rows, stride), the query heads first
  int64_t stride;
  float* out;  // (rows, heads * width)
};

// The grouping of a batch's queries for the kernel; made once a step, used in every layer.
class AttentionPlan {
 public:
  AttentionPlan(const Batch& batch, const HeadShape& shape);

  // The keys and values of the batch's own tokens must be in the cache already.
  void run(const Kernels& kernels, ThreadPool& pool, const KvCache& cache,
           const AttentionJob& job) const;

 private:
  // A few rows of one input. With the query heads of one key head they fill one call of the kernel.
  struct WorkItem {
    const ModelInput* input;
    int64_t first_row, rows, first_position;
  };
  // Whether there is more to do than waking a thread takes.
  bool worth_sharing(int64_t window) const;
  void run_item(const Kernels& kernels, const KvCache& cache, const AttentionJob& job,
                const WorkItem& item, int64_t head) const;

  HeadShape shape_;
  std::vector<WorkItem> work_items_;
};

}  // namespace ingot
