#include "attention.h"

#include <algorithm>

namespace ingot {
namespace {

constexpr int64_t kWorthSharing = 100'000;  // multiply-adds that take longer than waking a thread

}  // namespace

AttentionPlan::AttentionPlan(const Batch& batch, const HeadShape& shape, int64_t window)
    : shape_(shape), window_(window) {
  const int64_t group = shape.queries / shape.keys;
  const int64_t rows_each = std::max<int64_t>(1, kMostQueries / group);
  int64_t row = 0;
  for (const Chunk& chunk : batch.chunks) {
    const auto count = static_cast<int64_t>(chunk.tokens.size());
    for (int64_t i = 0; i < count; i += rows_each) {
      const int64_t rows = std::min(rows_each, count - i);
      pieces_.push_back({&chunk, row + i, rows, chunk.start + i});
      const int64_t end = chunk.start + i + rows;
      const int64_t seen = window > 0 ? std::min(end, window + rows) : end;
      work_ += rows * seen * shape.queries * shape.width * 2;
    }
    row += count;
  }
}

void AttentionPlan::run(const Kernels& kernels, ThreadPool& pool, const KvCache& cache,
                        int64_t layer, const float* q, int64_t stride, float* out) const {
  const auto count = static_cast<int64_t>(pieces_.size()) * shape_.keys;
  const auto one = [&](int64_t index) {
    run_piece(kernels, cache, layer, pieces_[static_cast<size_t>(index / shape_.keys)],
              index % shape_.keys, q, stride, out);
  };
  if (work_ >= kWorthSharing) return pool.run(count, one);
  for (int64_t index = 0; index < count; ++index) one(index);
}

void AttentionPlan::run_piece(const Kernels& kernels, const KvCache& cache, int64_t layer,
                              const Piece& piece, int64_t head, const float* q, int64_t stride,
                              float* out) const {
  const int64_t group = shape_.queries / shape_.keys, width = shape_.width;
  Query queries[kMostQueries];
  Attention job{queries,
                0,
                width,
                cache.kind(),
                piece.chunk->blocks.data(),
                cache.block_size(),
                cache.keys(layer, head),
                cache.values(layer, head),
                cache.key_scales(layer, head),
                cache.value_scales(layer, head),
                cache.block_bytes(),
                window_};
  for (int64_t row = 0; row < piece.rows; ++row)
    for (int64_t member = 0; member < group; ++member) {
      const int64_t column = (head * group + member) * width, at = piece.first_row + row;
      queries[job.count++] = {q + at * stride + column, out + at * shape_.queries * width + column,
                              piece.first_position + row};
      if (job.count == kMostQueries) {
        kernels.attend(job);
        job.count = 0;
      }
    }
  if (job.count > 0) kernels.attend(job);
}

}  // namespace ingot
