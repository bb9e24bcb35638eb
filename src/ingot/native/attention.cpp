#include "attention.h"

#include <algorithm>

namespace ingot {
namespace {

constexpr double kMinWorkToShare = 1e5;  // multiply-adds; fewer take less time than waking a thread

}  // namespace

AttentionPlan::AttentionPlan(const Batch& batch, const HeadShape& shape) : shape_(shape) {
  const int64_t group = shape.queries / shape.keys;
  const int64_t rows_each = std::max<int64_t>(1, kMostQueries / group);
  int64_t row = 0;
  for (const ModelInput& input : batch.inputs) {
    const auto count = static_cast<int64_t>(input.token_ids.size());
    for (int64_t i = 0; i < count; i += rows_each)
      work_items_.push_back({.input = &input,
                             .first_row = row + i,
                             .rows = std::min(rows_each, count - i),
                             .first_position = input.start + i});
    row += count;
  }
}

bool AttentionPlan::worth_sharing(int64_t window) const {
  double work = 0;  // a double, because a long context overflows an integer
  for (const WorkItem& item : work_items_) {
    const int64_t end = item.first_position + item.rows;
    const int64_t seen = window > 0 ? std::min(end, window + item.rows) : end;
    work += 2.0 * static_cast<double>(item.rows * seen) *
            static_cast<double>(shape_.queries * shape_.width);
    if (work >= kMinWorkToShare) return true;
  }
  return false;
}

void AttentionPlan::run(const Kernels& kernels, ThreadPool& pool, const KvCache& cache,
                        const AttentionJob& job) const {
  const auto count = static_cast<int64_t>(work_items_.size()) * shape_.keys;
  const auto one = [&](int64_t index) {
    run_item(kernels, cache, job, work_items_[static_cast<size_t>(index / shape_.keys)],
             index % shape_.keys);
  };
  if (worth_sharing(job.window)) return pool.run(count, one);
  for (int64_t index = 0; index < count; ++index) one(index);
}

void AttentionPlan::run_item(const Kernels& kernels, const KvCache& cache, const AttentionJob& job,
                             const WorkItem& item, int64_t head) const {
  const int64_t group = shape_.queries / shape_.keys, width = shape_.width;
  Query queries[kMostQueries];
  Attention part{.queries = queries,
                 .count = 0,
                 .head_dim = width,
                 .format = cache.format(),
                 .blocks = item.input->block_table.data(),
                 .block_size = cache.block_size(),
                 .keys = cache.keys(job.layer, head),
                 .values = cache.values(job.layer, head),
                 .key_scales = cache.key_scales(job.layer, head),
                 .value_scales = cache.value_scales(job.layer, head),
                 .block_bytes = cache.block_bytes(),
                 .window = job.window};
  for (int64_t row = 0; row < item.rows; ++row)
    for (int64_t member = 0; member < group; ++member) {
      const int64_t column = (head * group + member) * width, at = item.first_row + row;
      queries[part.count++] = {job.q + at * job.stride + column,
                               job.out + at * shape_.queries * width + column,
                               item.first_position + row};
      if (part.count == kMostQueries) {
        kernels.attend(part);
        part.count = 0;
      }
    }
  if (part.count > 0) kernels.attend(part);
}

}  // namespace ingot
