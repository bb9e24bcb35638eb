// A matrix product on all threads.
#pragma once

#include "buffer.h"
#include "kernels.h"
#include "thread_pool.h"

namespace ingot {

// Rows of activations prepared for a matrix, with their memory.
class PreparedRows {
 public:
  // Allocates `rows` rows of a matrix's inputs; set() fills them.
  void resize(const Matrix& matrix, int64_t rows);
  // Prepares one row from floats (inputs,). Threads may set different rows at the same time.
  void set(const Kernels& kernels, int64_t row, const float* x);
  Activations view() const;

 private:
  WeightFormat format_ = WeightFormat::bf16;
  int64_t inputs_ = 0, depth_ = 0;
  Buffer<float> values_, scales_;
  Buffer<int8_t> codes_;
  Buffer<int32_t> sums_;
};

// out (rows, outputs) = or += x times the matrix transposed.
void multiply(const Kernels& kernels, ThreadPool& pool, const Matrix& matrix, const PreparedRows& x,
              int64_t rows, float* out, bool add);

}  // namespace ingot
