#include "attention.h"

#include <algorithm>

namespace ingot {
namespace {

constexpr double kMinWorkToShare = 1e5;  // multiply-adds; fewer take less time than waking a thread

}  // namespace

AttentionPlan::AttentionPlan(const Batch& batch, const HeadShape& shape, int64_t window)
    : shape_(shape), window_(window) {
  const int64_t group = shape.queries / shape.keys;
  const int64_t rows_each = std::max<int64_t>(1, kMostQueries / group);
  int64_t row = 0;
  for (const ModelInput& input : batch.inputs) {
    const auto count = static_cast<int64_t>(input.token_ids.size());
    for (int64_t i = 0; i < count; i += rows_each) {
      const int64_t rows = std::min(rows_each, count - i);
      work_items_.push_back(
          {.input = &input, .first_row = row + i, .rows = rows, .first_position = input.start + i});
      const int64_t end = input.start + i + rows;
      const int64_t seen = window > 0 ? std::min(end, window + rows) : end;
      work_ +=
          2.0 * static_cast<double>(rows * seen) * static_cast<double>(shape.queries * shape.width);
    }
    row += count;
  }
}

void AttentionPlan::run(const Kernels& kernels, ThreadPool& pool, const KvCache& cache,
                        int64_t layer, const float* q, int64_t stride, float* out) const {
  const auto count = static_cast<int64_t>(work_items_.size()) * shape_.keys;
  const auto one = [&](int64_t index) {
    run_item(kernels, cache, layer, work_items_[static_cast<size_t>(index / shape_.keys)],
             index % shape_.keys, q, stride, out);
  };
  if (work_ >= kMinWorkToShare) return pool.run(count, one);
  for (int64_t index = 0; index < count; ++index) one(index);
}

void AttentionPlan::run_item(const Kernels& kernels, const KvCache& cache, int64_t layer,
                             const WorkItem& item, int64_t head, const float* q, int64_t stride,
                             float* out) const {
  const int64_t group = shape_.queries / shape_.keys, width = shape_.width;
  Query queries[kMostQueries];
  Attention job{.queries = queries,
                .count = 0,
                .head_dim = width,
                .format = cache.format(),
                .blocks = item.input->block_table.data(),
                .block_size = cache.block_size(),
                .keys = cache.keys(layer, head),
                .values = cache.values(layer, head),
                .key_scales = cache.key_scales(layer, head),
                .value_scales = cache.value_scales(layer, head),
                .block_bytes = cache.block_bytes(),
                .window = window_};
  for (int64_t row = 0; row < item.rows; ++row)
    for (int64_t member = 0; member < group; ++member) {
      const int64_t column = (head * group + member) * width, at = item.first_row + row;
      queries[job.count++] = {q + at * stride + column, out + at * shape_.queries * width + column,
                              item.first_position + row};
      if (job.count == kMostQueries) {
        kernels.attend(job);
        job.count = 0;
      }
    }
  if (job.count > 0) kernels.attend(job);
}

}  // namespace ingot
