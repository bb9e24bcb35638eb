// RMSNorm of training (arXiv:1910.07467), with the rotation that follows it for queries and keys
// (arXiv:2104.09864), forward and backward. Numbers come as float or bfloat16; sums are float.
#pragma once

#include <cstdint>

#include "thread_pool.h"

namespace ingot {

// Rows of `width` numbers, a multiple of 16; of 32 where they are rotated.
struct NormShape {
  int64_t rows, width;
  float eps;
};

// Angles for every `heads` rows, from the first again after `count`; none where `cosines` is null.
struct Rotation {
  const float *cosines, *sines;  // (count, width / 2)
  int64_t count, heads;
};

// out (rows, width): bfloat16, or float of float.
template <class Value, class Out>
void norm_forward(ThreadPool& pool, const NormShape& shape, const Value* x, const float* weight,
                  const Rotation& rotation, Out* out);

// The gradients by x, of its kind, and by the weight, from the one by `out`. The same bits whatever
// the number of threads.
template <class Value, class Out>
void norm_backward(ThreadPool& pool, const NormShape& shape, const Value* x, const float* weight,
                   const Rotation& rotation, const Out* grad_out, Value* grad_x,
                   float* grad_weight);

}  // namespace ingot
