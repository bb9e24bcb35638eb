// The norm in vectors of sixteen floats. What includes this declares put(), which stores sixteen
// numbers, for every kind but float.
#pragma once

#include <algorithm>

#include "buffer.h"
#include "norm.h"
#include "safe_run.h"
#include "vector.h"

namespace ingot {
namespace {

inline void put(float* out, F32x16 x) { store(out, x); }

// Rows that one thread takes at a time and whose weight's gradients are added up first: so many
// numbers as fit into its second cache, fewer where small models are trained, in float32. It
// depends on the width alone, and so do the sums.
template <class Out>
int64_t rows_at_once(const NormShape& shape) {
  constexpr int64_t kNumbers = int64_t{1} << (sizeof(Out) == sizeof(float) ? 14 : 16);
  return std::max<int64_t>(1, kNumbers / shape.width);
}

template <class Act>
void for_rows(ThreadPool& pool, const NormShape& shape, int64_t step, Act&& act) {
  run_safely(pool, (shape.rows + step - 1) / step,
             [&](int64_t i) { act(i, i * step, std::min(shape.rows, (i + 1) * step)); });
}

// 1 / rms of a row.
template <class Value>
float inverse_rms(const NormShape& shape, const Value* x) {
  F32x16 squares = {};
  for (int64_t k = 0; k < shape.width; k += 16) {
    const F32x16 v = load_cached(x + k);
    squares = multiply_add(v, v, squares);
  }
  return 1.0f / std::sqrt(sum(squares) / static_cast<float>(shape.width) + shape.eps);
}

// Rotates the pairs (x[k], x[half + k]) of a row, back where `direction` is -1.
void rotate_pairs(const Rotation& rotation, int64_t row, int64_t half, float direction, float* x) {
  const int64_t angle = row / rotation.heads % rotation.count * half;
  for (int64_t k = 0; k < half; k += 16) {
    const F32x16 c = load(rotation.cosines + angle + k);
    const F32x16 s = load(rotation.sines + angle + k) * direction;
    const F32x16 first = load(x + k), second = load(x + half + k);
    store(x + k, first * c - second * s);
    store(x + half + k, second * c + first * s);
  }
}

}  // namespace

template <class Value, class Out>
void norm_forward(ThreadPool& pool, const NormShape& shape, const Value* x, const float* weight,
                  const Rotation& rotation, Out* out) {
  for_rows(pool, shape, rows_at_once<Out>(shape), [&](int64_t, int64_t begin, int64_t end) {
    thread_local Buffer<float> scratch;
    float* const y = scratch.at_least(shape.width);
    for (int64_t row = begin; row < end; ++row) {
      const Value* const from = x + row * shape.width;
      const float scale = inverse_rms(shape, from);
      for (int64_t k = 0; k < shape.width; k += 16)
        store(y + k, load_cached(from + k) * scale * load(weight + k));
      if (rotation.cosines) rotate_pairs(rotation, row, shape.width / 2, 1.0f, y);
      for (int64_t k = 0; k < shape.width; k += 16) put(out + row * shape.width + k, load(y + k));
    }
  });
}

template <class Value, class Out>
void norm_backward(ThreadPool& pool, const NormShape& shape, const Value* x, const float* weight,
                   const Rotation& rotation, const Out* grad_out, Value* grad_x,
                   float* grad_weight) {
  const int64_t width = shape.width, step = rows_at_once<Out>(shape);
  const int64_t parts = (shape.rows + step - 1) / step;
  Buffer<float> memory;
  float* const sums = memory.at_least(std::max<int64_t>(parts, 1) * width);
  for_rows(pool, shape, step, [&](int64_t part, int64_t begin, int64_t end) {
    thread_local Buffer<float> scratch;
    float* const g = scratch.at_least(width);
    float* const own = sums + part * width;
    std::fill_n(own, width, 0.0f);
    for (int64_t row = begin; row < end; ++row) {
      const Value* const from = x + row * width;
      for (int64_t k = 0; k < width; k += 16) store(g + k, load_cached(grad_out + row * width + k));
      if (rotation.cosines) rotate_pairs(rotation, row, width / 2, -1.0f, g);
      const float scale = inverse_rms(shape, from);
      F32x16 product = {};
      for (int64_t k = 0; k < width; k += 16) {
        const F32x16 normed = load_cached(from + k) * scale, grad = load(g + k);
        store(own + k, multiply_add(grad, normed, load(own + k)));
        const F32x16 scaled = grad * load(weight + k);
        product = multiply_add(scaled, normed, product);
        store(g + k, scaled);
      }
      const float mean = sum(product) / static_cast<float>(width);
      for (int64_t k = 0; k < width; k += 16) {
        const F32x16 normed = load_cached(from + k) * scale;
        put(grad_x + row * width + k, (load(g + k) - normed * mean) * scale);
      }
    }
  });
  std::fill_n(grad_weight, width, 0.0f);
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t k = 0; k < width; ++k) grad_weight[k] += sums[part * width + k];
}

}  // namespace ingot
