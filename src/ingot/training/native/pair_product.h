// The one matrix product that attention is made of, on AVX-512 with BF16.
//
// A word is two bfloat16 that are neighbours along the dimension summed over. dpbf16 multiplies a
// word of the left side, in every lane, with sixteen of the right and adds both products to sixteen
// floats. Every product of attention is of this kind; only the strides differ.
#pragma once

#include "avx512.h"
#include "vector.h"

namespace ingot {
namespace {

using Word = uint32_t;

// left[row * row_stride + pair * pair_stride]
struct Left {
  const Word* words;
  int64_t row_stride, pair_stride;
};

// Sixteen words at right[pair * pair_stride + tile * tile_stride].
struct Right {
  const Word* words;
  int64_t pair_stride, tile_stride;
};

// Sixteen floats at out[row * row_stride + tile * 16].
struct Sums {
  float* floats;
  int64_t row_stride;
  bool add;  // to what is there
};

template <int kRows, int kTiles>
inline void multiply_block(const Left& left, const Right& right, int64_t pairs, const Sums& out) {
  __m512 sums[kRows][kTiles];
  for (int r = 0; r < kRows; ++r)
    for (int t = 0; t < kTiles; ++t)
      sums[r][t] =
          out.add ? _mm512_loadu_ps(out.floats + r * out.row_stride + t * 16) : _mm512_setzero_ps();
  for (int64_t p = 0; p < pairs; ++p) {
    __m512i side[kTiles];
    for (int t = 0; t < kTiles; ++t)
      side[t] = _mm512_loadu_si512(right.words + p * right.pair_stride + t * right.tile_stride);
    for (int r = 0; r < kRows; ++r) {
      const __m512i word = _mm512_set1_epi32(
          static_cast<int32_t>(left.words[r * left.row_stride + p * left.pair_stride]));
      for (int t = 0; t < kTiles; ++t)
        sums[r][t] = _mm512_dpbf16_ps(sums[r][t], __builtin_bit_cast(__m512bh, word),
                                      __builtin_bit_cast(__m512bh, side[t]));
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int t = 0; t < kTiles; ++t)
      _mm512_storeu_ps(out.floats + r * out.row_stride + t * 16, sums[r][t]);
}

template <int kRows, int kTiles>
inline void multiply_rows(const Left& left, const Right& right, int64_t rows, int64_t tiles,
                          int64_t pairs, const Sums& out) {
  int64_t tile = 0;
  for (; tile + kTiles <= tiles; tile += kTiles) {
    const Right side{right.words + tile * right.tile_stride, right.pair_stride, right.tile_stride};
    for (int64_t row = 0; row + kRows <= rows; row += kRows)
      multiply_block<kRows, kTiles>(
          {left.words + row * left.row_stride, left.row_stride, left.pair_stride}, side, pairs,
          {out.floats + row * out.row_stride + tile * 16, out.row_stride, out.add});
  }
  if constexpr (kTiles > 1)
    if (tile < tiles)
      multiply_rows<kRows, kTiles / 2>(
          left, {right.words + tile * right.tile_stride, right.pair_stride, right.tile_stride},
          rows, tiles - tile, pairs, {out.floats + tile * 16, out.row_stride, out.add});
}

// out (rows, 16 tiles) = or += left (rows, 2 pairs) times right (2 pairs, 16 tiles).
inline void multiply(const Left& left, const Right& right, int64_t rows, int64_t tiles,
                     int64_t pairs, const Sums& out) {
  constexpr int kMost = 6, kTiles = 4;  // what the registers hold
  const int64_t whole = rows / kMost * kMost;
  multiply_rows<kMost, kTiles>(left, right, whole, tiles, pairs, out);
  const Left rest{left.words + whole * left.row_stride, left.row_stride, left.pair_stride};
  const Sums below{out.floats + whole * out.row_stride, out.row_stride, out.add};
  switch (rows - whole) {
    case 5:
      return multiply_rows<5, kTiles>(rest, right, 5, tiles, pairs, below);
    case 4:
      return multiply_rows<4, kTiles>(rest, right, 4, tiles, pairs, below);
    case 3:
      return multiply_rows<3, kTiles>(rest, right, 3, tiles, pairs, below);
    case 2:
      return multiply_rows<2, kTiles>(rest, right, 2, tiles, pairs, below);
    case 1:
      return multiply_rows<1, kTiles>(rest, right, 1, tiles, pairs, below);
    default:
      return;
  }
}

// Sixteen floats rounded to bfloat16; a NaN stays one.
inline U16x16 rounded(F32x16 x) {
  return __builtin_bit_cast(U16x16, _mm512_cvtneps_pbh(__builtin_bit_cast(__m512, x)));
}

inline void store_rounded(uint16_t* out, F32x16 x) {
  const U16x16 narrow = rounded(x);
  std::memcpy(out, &narrow, sizeof(narrow));
}

// Words of one row's numbers with those of the next.
inline void store_words(Word* out, F32x16 first, F32x16 second) {
  const U32x16 low = __builtin_convertvector(rounded(first), U32x16);
  const U32x16 both = low | (__builtin_convertvector(rounded(second), U32x16) << 16);
  std::memcpy(out, &both, sizeof(both));
}

}  // namespace
}  // namespace ingot
