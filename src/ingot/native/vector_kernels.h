// The float kernels, written once over vector.h and compiled for each instruction set.
#pragma once

#include <algorithm>
#include <limits>

#include "kernels.h"
#include "vector.h"

namespace ingot {
namespace {

inline void put(float* out, F32x16 v, int64_t count, bool add) {
  store(out, add ? load(out, count) + v : v, count);
}

// A block of kRows x kTiles in registers. Each output sums its inputs in order, whatever the
// block, so a row's bits do not depend on the rows beside it.
template <int kRows, int kTiles>
void gemm_bf16_block(const Matrix& m, const float* x, int64_t tile, float* out, int64_t out_stride,
                     bool add) {
  F32x16 sums[kRows][kTiles] = {};
  const int64_t depth = m.depth();
  const uint8_t* weights[kTiles];
  for (int t = 0; t < kTiles; ++t) weights[t] = m.tile(tile + t);
  for (int64_t k = 0; k < depth; k += 2) {
    F32x16 first[kTiles], second[kTiles];
    for (int t = 0; t < kTiles; ++t) {
      const U32x16 pair = read<U32x16>(weights[t] + k * kTileColumns * 2);
      first[t] = (F32x16)(pair << 16);
      second[t] = (F32x16)(pair & 0xFFFF0000u);
    }
    for (int r = 0; r < kRows; ++r) {
      const F32x16 a = splat(x[r * depth + k]), b = splat(x[r * depth + k + 1]);
      for (int t = 0; t < kTiles; ++t) sums[r][t] = multiply_add(a, first[t], sums[r][t]);
      for (int t = 0; t < kTiles; ++t) sums[r][t] = multiply_add(b, second[t], sums[r][t]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int t = 0; t < kTiles; ++t) {
      const int64_t column = (tile + t) * kTileColumns;
      put(out + r * out_stride + column, sums[r][t], m.outputs - column, add);
    }
}

// All tiles of the range for kRows rows: several tiles at once keep enough sums in flight.
template <int kRows, int kTiles>
void gemm_bf16_rows(const Matrix& m, const float* x, Range tiles, float* out, int64_t out_stride,
                    bool add) {
  int64_t tile = tiles.begin;
  for (; tile + kTiles <= tiles.end; tile += kTiles)
    gemm_bf16_block<kRows, kTiles>(m, x, tile, out, out_stride, add);
  for (; tile < tiles.end; ++tile) gemm_bf16_block<kRows, 1>(m, x, tile, out, out_stride, add);
}

void gemm_bf16(const Matrix& m, const Activations& x, Range rows, Range tiles, float* out,
               int64_t out_stride, bool add) {
  const int64_t depth = m.depth();
  if (rows.end - rows.begin == 1) {
    return gemm_bf16_rows<1, 4>(m, x.values + rows.begin * depth, tiles,
                                out + rows.begin * out_stride, out_stride, add);
  }
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const Range one{tile, tile + 1};
    int64_t row = rows.begin;
    for (; row + 4 <= rows.end; row += 4)
      gemm_bf16_rows<4, 1>(m, x.values + row * depth, one, out + row * out_stride, out_stride, add);
    for (; row < rows.end; ++row)
      gemm_bf16_rows<1, 1>(m, x.values + row * depth, one, out + row * out_stride, out_stride, add);
  }
}

void quantize(const float* x, int64_t inputs, int64_t depth, int8_t* codes, float* scale,
              int32_t* sums) {
  // Compared as integers, in which infinities and NaN are the largest; a maximum of floats would
  // drop a NaN.
  I32x16 top = {};
  for (int64_t k = 0; k < inputs; k += 16) {
    const I32x16 bits = (I32x16)load(x + k, inputs - k) & 0x7FFFFFFF;
    const I32x16 above = bits > top;
    top = (above & bits) | (~above & top);
  }
  int32_t highest = 0;
  for (int i = 0; i < 16; ++i) highest = std::max(highest, top[i]);
  float largest;
  std::memcpy(&largest, &highest, sizeof(largest));
  const bool finite = highest < 0x7F800000, usable = finite && largest > 1e-30f;
  *scale = finite ? (usable ? largest / 127.0f : 0.0f) : std::numeric_limits<float>::quiet_NaN();
  const float inverse = usable ? 127.0f / largest : 0.0f;
  for (int64_t k = 0; k < depth; k += kSumUnit) {
    I32x16 total = {};
    for (int64_t i = k; i < k + kSumUnit; i += 16) {
      I32x16 code = {};
      if (usable && i < inputs)
        code = (I32x16)(load(x + i, inputs - i) * inverse + kRounder) - 0x4B400000;
      total += code;
      const I8x16 narrow = __builtin_convertvector(code, I8x16);
      std::memcpy(codes + i, &narrow, sizeof(narrow));
    }
    int32_t added = 0;
    for (int i = 0; i < 16; ++i) added += total[i];
    sums[k / kSumUnit] = added;
  }
}

void rms_norm(const float* x, const float* weight, int64_t width, float eps, float* out) {
  F32x16 squares = {};
  for (int64_t i = 0; i < width; i += 16) {
    const F32x16 v = load(x + i, width - i);
    squares = multiply_add(v, v, squares);
  }
  const float factor = 1.0f / std::sqrt(sum(squares) / static_cast<float>(width) + eps);
  for (int64_t i = 0; i < width; i += 16)
    store(out + i, load(x + i, width - i) * factor * load(weight + i, width - i), width - i);
}

// x - mean in the first `count` lanes, zero in the others.
inline F32x16 centered(const float* x, float mean, int64_t count) {
  const I32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const auto inside = static_cast<int32_t>(std::min<int64_t>(count, 16));
  return select(lane < inside, load(x, count) - mean, F32x16{});
}

void layer_norm(const float* x, const float* weight, const float* bias, int64_t width, float eps,
                float* out) {
  F32x16 values = {}, squares = {};
  for (int64_t i = 0; i < width; i += 16) values += load(x + i, width - i);
  const float mean = sum(values) / static_cast<float>(width);
  for (int64_t i = 0; i < width; i += 16) {
    const F32x16 v = centered(x + i, mean, width - i);
    squares = multiply_add(v, v, squares);
  }
  const float factor = 1.0f / std::sqrt(sum(squares) / static_cast<float>(width) + eps);
  for (int64_t i = 0; i < width; i += 16) {
    const F32x16 v = centered(x + i, mean, width - i) * factor;
    store(out + i, multiply_add(v, load(weight + i, width - i), load(bias + i, width - i)),
          width - i);
  }
}

void rotate(float* x, const float* cosines, const float* sines, int64_t half) {
  for (int64_t i = 0; i < half; i += 16) {
    const int64_t n = half - i;
    const F32x16 first = load(x + i, n), second = load(x + half + i, n);
    const F32x16 c = load(cosines + i, n), s = load(sines + i, n);
    store(x + i, first * c - second * s, n);
    store(x + half + i, second * c + first * s, n);
  }
}

// x / (1 + e^-x), and the same of a polynomial: x / (1 + e^-2u) = x (1 + tanh u) / 2.
template <Activation kActivation>
inline F32x16 activated(F32x16 x) {
  F32x16 to = x;
  if constexpr (kActivation == Activation::gelu_tanh)
    to = multiply_add(x * x * 0.044715f, x, x) * 1.59576912f;  // 2 sqrt(2 / pi)
  return x / (exponential(-to) + 1.0f);
}

template <Activation kActivation>
void activate_as(const float* x, const float* factors, int64_t width, float* out) {
  for (int64_t i = 0; i < width; i += 16) {
    F32x16 value = activated<kActivation>(load(x + i, width - i));
    if (factors) value *= load(factors + i, width - i);
    store(out + i, value, width - i);
  }
}

void activate(Activation activation, const float* x, const float* factors, int64_t width,
              float* out) {
  if (activation == Activation::silu) return activate_as<Activation::silu>(x, factors, width, out);
  activate_as<Activation::gelu_tanh>(x, factors, width, out);
}

}  // namespace
}  // namespace ingot
