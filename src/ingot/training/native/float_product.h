// The matrix product that attention in float32 is made of, in vectors of sixteen floats.
//
// A number of the left side, in every lane, times sixteen of the right, added to sixteen sums. The
// sums of a block of rows stay in registers, of which AVX2 has sixteen for eight floats each.
#pragma once

#include "vector.h"

namespace ingot {
namespace {

// left[row * row_stride + inner * inner_stride]
struct FloatLeft {
  const float* floats;
  int64_t row_stride, inner_stride;
};

// Sixteen floats at right[inner * inner_stride + tile * tile_stride].
struct FloatRight {
  const float* floats;
  int64_t inner_stride, tile_stride;
};

// Sixteen floats at out[row * row_stride + tile * 16].
struct FloatSums {
  float* floats;
  int64_t row_stride;
  bool add;  // to what is there
};

template <int kRows>
inline void multiply_tile(const FloatLeft& left, const FloatRight& right, int64_t inner,
                          const FloatSums& out) {
  F32x16 sums[kRows];
  for (int r = 0; r < kRows; ++r)
    sums[r] = out.add ? load(out.floats + r * out.row_stride) : F32x16{};
  for (int64_t i = 0; i < inner; ++i) {
    const F32x16 side = load(right.floats + i * right.inner_stride);
    for (int r = 0; r < kRows; ++r)
      sums[r] = multiply_add(splat(left.floats[r * left.row_stride + i * left.inner_stride]), side,
                             sums[r]);
  }
  for (int r = 0; r < kRows; ++r) store(out.floats + r * out.row_stride, sums[r]);
}

template <int kRows>
inline void multiply_tiles(const FloatLeft& left, const FloatRight& right, int64_t rows,
                           int64_t tiles, int64_t inner, const FloatSums& out) {
  for (int64_t tile = 0; tile < tiles; ++tile)
    for (int64_t row = 0; row < rows; row += kRows)
      multiply_tile<kRows>(
          {left.floats + row * left.row_stride, left.row_stride, left.inner_stride},
          {right.floats + tile * right.tile_stride, right.inner_stride, right.tile_stride}, inner,
          {out.floats + row * out.row_stride + tile * 16, out.row_stride, out.add});
}

// out (rows, 16 tiles) = or += left (rows, inner) times right (inner, 16 tiles).
inline void multiply(const FloatLeft& left, const FloatRight& right, int64_t rows, int64_t tiles,
                     int64_t inner, const FloatSums& out) {
  constexpr int kMost = 6;  // what the registers hold
  const int64_t whole = rows / kMost * kMost;
  multiply_tiles<kMost>(left, right, whole, tiles, inner, out);
  const FloatLeft rest{left.floats + whole * left.row_stride, left.row_stride, left.inner_stride};
  const FloatSums below{out.floats + whole * out.row_stride, out.row_stride, out.add};
  switch (rows - whole) {
    case 5:
      return multiply_tiles<5>(rest, right, 5, tiles, inner, below);
    case 4:
      return multiply_tiles<4>(rest, right, 4, tiles, inner, below);
    case 3:
      return multiply_tiles<3>(rest, right, 3, tiles, inner, below);
    case 2:
      return multiply_tiles<2>(rest, right, 2, tiles, inner, below);
    case 1:
      return multiply_tiles<1>(rest, right, 1, tiles, inner, below);
    default:
      return;
  }
}

}  // namespace
}  // namespace ingot
