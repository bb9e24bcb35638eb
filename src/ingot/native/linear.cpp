#include "linear.h"

#include <algorithm>

namespace ingot {
namespace {

constexpr int64_t kWorkPerTask = int64_t{1} << 16;  // bytes of weights times blocks of 4 rows
constexpr int64_t kTasksPerThread =
    4;  // more than one, so that others take over from a slow thread
constexpr int64_t kRowBytes = int64_t{192} << 10;  // activations that stay in the L2 cache

}  // namespace

void PreparedRows::resize(const Matrix& matrix, int64_t rows) {
  format_ = matrix.format;
  inputs_ = matrix.inputs;
  depth_ = matrix.depth();
  if (format_ == WeightFormat::bf16) {
    values_.at_least(rows * depth_);
    return;
  }
  codes_.at_least(rows * depth_);
  scales_.at_least(rows);
  sums_.at_least(rows * depth_ / kSumUnit);
}

void PreparedRows::set(const Kernels& kernels, int64_t row, const float* x) {
  if (format_ == WeightFormat::bf16) {
    float* to = values_.get() + row * depth_;
    std::copy_n(x, inputs_, to);
    std::fill(to + inputs_, to + depth_, 0.0f);
    return;
  }
  kernels.quantize(x, inputs_, depth_, codes_.get() + row * depth_, scales_.get() + row,
                   sums_.get() + row * depth_ / kSumUnit);
}

Activations PreparedRows::view() const {
  return {values_.get(), codes_.get(), scales_.get(), sums_.get()};
}

void multiply(const Kernels& kernels, ThreadPool& pool, const Matrix& matrix, const PreparedRows& x,
              int64_t rows, float* out, bool add) {
  const Gemm gemm = gemm_for(kernels, matrix.format);
  const Activations activations = x.view();
  const int64_t tiles = matrix.tiles();
  const int64_t work = tiles * matrix.tile_bytes() * ((rows + 3) / 4);
  const int64_t tasks = std::clamp<int64_t>(work / kWorkPerTask, 1,
                                            std::min(tiles, kTasksPerThread * pool.threads()));
  const int64_t row_bytes = matrix.depth() * (matrix.format == WeightFormat::bf16 ? 4 : 1);
  const int64_t row_block = std::max<int64_t>(4, kRowBytes / row_bytes / 4 * 4);
  pool.run(tasks, [&](int64_t task) {
    const Range mine{tiles * task / tasks, tiles * (task + 1) / tasks};
    for (int64_t row = 0; row < rows; row += row_block)
      gemm(matrix, activations, {row, std::min(rows, row + row_block)}, mine, out, matrix.outputs,
           add);
  });
}

}  // namespace ingot
