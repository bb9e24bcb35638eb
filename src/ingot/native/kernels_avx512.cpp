// Kernels for AVX-512 with VNNI, and with BF16 where the CPU has it.
//
// VNNI's dpbusd adds four products of unsigned by signed bytes to 32 bits, exactly. Weights are the
// unsigned operand (code + 128 or + 8), one register for 16 outputs by 4 inputs, in the
// tile's layout; activations are the signed one, four of a row in every lane. Sums begin at minus
// 128 or 8 times the sum of the activations. Registers hold the sums of 4 rows by 3 tiles twice:
// exact for the current group, and scaled for the groups before it; or those of 8 by 3 for
// bfloat16.
#include "avx512.h"
#include "buffer.h"
#include "kernels.h"
#include "vector_attention.h"
#include "vector_kernels.h"

namespace ingot {
namespace {

constexpr int kMostRows = 8, kMostQuantizedRows = 4, kMostTiles = 3;

inline __m512i load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }

// Prefetches weights: hardware prefetching stops at the end of each page.
inline void look_ahead(const uint8_t* weights) {
  constexpr int64_t kBytes = 2048;
  __builtin_prefetch(weights + kBytes, 0, 2);
}

inline __m512i four_everywhere(const void* p) {
  int32_t word;
  std::memcpy(&word, p, sizeof(word));
  return _mm512_set1_epi32(word);
}

// The sums so far of a block of rows and tiles.
template <int kRows, int kTiles>
struct Totals {
  F32x16 values[kRows][kTiles] = {};

  // += float(exact) * scale, rounded once.
  void add(const __m512i (&exact)[kRows][kTiles], const float* const (&scales)[kTiles]) {
    for (int t = 0; t < kTiles; ++t) {
      const F32x16 scale = load(scales[t]);
      for (int r = 0; r < kRows; ++r) {
        const auto whole = __builtin_bit_cast(I32x16, exact[r][t]);
        values[r][t] = multiply_add(__builtin_convertvector(whole, F32x16), scale, values[r][t]);
      }
    }
  }
};

template <int kRows, int kTiles>
inline void add_int8(const uint8_t* const (&weights)[kTiles], const int8_t* codes, int64_t depth,
                     Range quads, __m512i (&exact)[kRows][kTiles]) {
  for (int64_t quad = quads.begin; quad < quads.end; ++quad) {
    __m512i w[kTiles];
    for (int t = 0; t < kTiles; ++t) w[t] = load_bytes(weights[t] + quad * 64);
    for (int t = 0; t < kTiles; ++t) look_ahead(weights[t] + quad * 64);
    for (int r = 0; r < kRows; ++r) {
      const __m512i x = four_everywhere(codes + r * depth + quad * 4);
      for (int t = 0; t < kTiles; ++t) exact[r][t] = _mm512_dpbusd_epi32(exact[r][t], w[t], x);
    }
  }
}

template <int kRows, int kTiles>
inline void add_int4(const uint8_t* const (&weights)[kTiles], const int8_t* codes, int64_t depth,
                     Range octets, __m512i (&exact)[kRows][kTiles]) {
  const __m512i nibble = _mm512_set1_epi8(15);
  for (int64_t octet = octets.begin; octet < octets.end; ++octet) {
    __m512i low[kTiles], high[kTiles];
    for (int t = 0; t < kTiles; ++t) {
      const __m512i raw = load_bytes(weights[t] + octet * 64);
      look_ahead(weights[t] + octet * 64);
      low[t] = _mm512_and_si512(raw, nibble);
      high[t] = _mm512_and_si512(_mm512_srli_epi16(raw, 4), nibble);
    }
    for (int r = 0; r < kRows; ++r) {
      const int8_t* const from = codes + r * depth + octet * 8;
      const __m512i first = four_everywhere(from), second = four_everywhere(from + 4);
      for (int t = 0; t < kTiles; ++t) {
        exact[r][t] = _mm512_dpbusd_epi32(exact[r][t], low[t], first);
        exact[r][t] = _mm512_dpbusd_epi32(exact[r][t], high[t], second);
      }
    }
  }
}

// Prefetches the lines that a block will write, while it computes its sums.
template <int kRows, int kTiles>
inline void prefetch_out(const float* out, int64_t out_stride) {
  for (int r = 0; r < kRows; ++r)
    for (int t = 0; t < kTiles; ++t) __builtin_prefetch(out + r * out_stride + t * kTileColumns, 1);
}

template <WeightFormat kFormat, int kRows, int kTiles>
void quantized_block(const Matrix& m, const Activations& x, int64_t row, int64_t tile, float* out,
                     int64_t out_stride, bool add) {
  constexpr int32_t kOffset = kFormat == WeightFormat::int8 ? 128 : 8;
  constexpr int64_t kInputs = kFormat == WeightFormat::int8 ? 4 : 8;  // of one output in 4 bytes
  const int64_t depth = m.depth(), units = depth / kSumUnit;
  const int8_t* const codes = x.codes + row * depth;
  prefetch_out<kRows, kTiles>(out + row * out_stride + tile * kTileColumns, out_stride);
  const uint8_t* weights[kTiles];
  for (int t = 0; t < kTiles; ++t) weights[t] = m.tile(tile + t);
  Totals<kRows, kTiles> totals;
  for (int64_t g = 0; g < m.groups(); ++g) {
    const int64_t begin = g * m.group, end = std::min(depth, begin + m.group);
    __m512i exact[kRows][kTiles];
    for (int r = 0; r < kRows; ++r) {
      int32_t sum = 0;
      for (int64_t u = begin / kSumUnit; u < end / kSumUnit; ++u)
        sum += x.sums[(row + r) * units + u];
      for (int t = 0; t < kTiles; ++t) exact[r][t] = _mm512_set1_epi32(-kOffset * sum);
    }
    const Range words{begin / kInputs, end / kInputs};
    if constexpr (kFormat == WeightFormat::int8) {
      add_int8<kRows, kTiles>(weights, codes, depth, words, exact);
    } else {
      add_int4<kRows, kTiles>(weights, codes, depth, words, exact);
    }
    const float* scales[kTiles];
    for (int t = 0; t < kTiles; ++t) scales[t] = m.tile_scales(tile + t) + g * kTileColumns;
    totals.add(exact, scales);
  }
  for (int r = 0; r < kRows; ++r)
    for (int t = 0; t < kTiles; ++t) {
      const int64_t column = (tile + t) * kTileColumns;
      put(out + (row + r) * out_stride + column, totals.values[r][t] * x.scales[row + r],
          m.outputs - column, add);
    }
}

// Pairs of bfloat16 activations, (rows, depth / 2) words.
void round_pairs(const float* x, int64_t count, uint16_t* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const U32x16 bits = (U32x16)load(x + i);
    const U32x16 rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    // Rounding would carry a NaN into infinity or zero.
    const U32x16 is_nan = (U32x16)((bits & 0x7FFFFFFFu) > 0x7F800000u);
    const U16x16 narrow = __builtin_convertvector((rounded & ~is_nan) | (is_nan & 0x7FC0u), U16x16);
    std::memcpy(out + i, &narrow, sizeof(narrow));
  }
}

// dpbf16 adds two products of bfloat16 to each float.
template <int kRows, int kTiles>
void bf16_block(const Matrix& m, const uint16_t* x, int64_t row, int64_t tile, float* out,
                int64_t out_stride, bool add) {
  const int64_t depth = m.depth();
  prefetch_out<kRows, kTiles>(out + row * out_stride + tile * kTileColumns, out_stride);
  const uint8_t* weights[kTiles];
  for (int t = 0; t < kTiles; ++t) weights[t] = m.tile(tile + t);
  __m512 sums[kRows][kTiles];
  for (auto& row_sums : sums)
    for (__m512& sum : row_sums) sum = _mm512_setzero_ps();
  for (int64_t k = 0; k < depth; k += 2) {
    __m512i w[kTiles];
    for (int t = 0; t < kTiles; ++t) {
      w[t] = load_bytes(weights[t] + k * kTileColumns * 2);
      look_ahead(weights[t] + k * kTileColumns * 2);
    }
    for (int r = 0; r < kRows; ++r) {
      const __m512i pair = four_everywhere(x + r * depth + k);
      for (int t = 0; t < kTiles; ++t)
        sums[r][t] = _mm512_dpbf16_ps(sums[r][t], __builtin_bit_cast(__m512bh, pair),
                                      __builtin_bit_cast(__m512bh, w[t]));
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int t = 0; t < kTiles; ++t) {
      const int64_t column = (tile + t) * kTileColumns;
      put(out + (row + r) * out_stride + column, __builtin_bit_cast(F32x16, sums[r][t]),
          m.outputs - column, add);
    }
}

// Calls block(rows, tiles, row, tile) until all of both ranges are covered; `rows` and `tiles` are
// constants, from as many as the registers hold down to one.
template <int kRows, class Block>
void cover_rows(Range rows, Range tiles, Block&& block) {
  int64_t row = rows.begin;
  for (; row + kRows <= rows.end; row += kRows) {
    int64_t tile = tiles.begin;
    for (; tile + kMostTiles <= tiles.end; tile += kMostTiles)
      block.template operator()<kRows, kMostTiles>(row, tile);
    for (; tile < tiles.end; ++tile) block.template operator()<kRows, 1>(row, tile);
  }
  if constexpr (kRows > 1) cover_rows<kRows / 2>({row, rows.end}, tiles, block);
}

// Prefetches one block's share of the tiles [tile, tile + kMostTiles), which are computed next; the
// blocks of `count` rows together prefetch all of them.
inline void prefetch_tiles(const Matrix& m, Range tiles, int64_t tile, int64_t row, int64_t rows,
                           int64_t count) {
  const int64_t last = std::min(tiles.end, tile + kMostTiles);
  if (tile >= last) return;
  const int64_t bytes = (last - tile) * m.tile_bytes();
  const uint8_t* const from = m.tile(tile);
  for (int64_t at = bytes * row / count / 64 * 64; at < bytes * (row + rows) / count; at += 64)
    __builtin_prefetch(from + at, 0, 2);
}

template <WeightFormat kFormat>
void gemm_quantized(const Matrix& m, const Activations& x, Range rows, Range tiles, float* out,
                    int64_t out_stride, bool add) {
  // Three tiles stay in the L1 cache for all rows.
  for (int64_t tile = tiles.begin; tile < tiles.end; tile += kMostTiles)
    cover_rows<kMostQuantizedRows>(
        rows, {tile, std::min(tiles.end, tile + kMostTiles)},
        [&]<int kRows, int kTiles>(int64_t row, int64_t at) {
          // With fewer rows there is no time for more than look_ahead() prefetches.
          if (at == tile && rows.end - rows.begin > 2 * kMostQuantizedRows)
            prefetch_tiles(m, tiles, tile + kMostTiles, row - rows.begin, kRows,
                           rows.end - rows.begin);
          quantized_block<kFormat, kRows, kTiles>(m, x, row, at, out, out_stride, add);
        });
}

void gemm_rounded(const Matrix& m, const Activations& x, Range rows, Range tiles, float* out,
                  int64_t out_stride, bool add) {
  const int64_t depth = m.depth();
  thread_local Buffer<uint16_t> pairs;
  uint16_t* const rounded = pairs.at_least((rows.end - rows.begin) * depth);
  round_pairs(x.values + rows.begin * depth, (rows.end - rows.begin) * depth, rounded);
  float* const first = out + rows.begin * out_stride;
  for (int64_t tile = tiles.begin; tile < tiles.end; tile += kMostTiles)
    cover_rows<kMostRows>(
        {0, rows.end - rows.begin}, {tile, std::min(tiles.end, tile + kMostTiles)},
        [&]<int kRows, int kTiles>(int64_t row, int64_t at) {
          bf16_block<kRows, kTiles>(m, rounded + row * depth, row, at, first, out_stride, add);
        });
}

// Hides values from the compiler, which would otherwise compute or remove the products.
inline __m512i opaque(__m512i v) {
#if !defined(INGOT_SIMDE)
  __asm__ volatile("" : "+v"(v));
#endif
  return v;
}

int64_t multiply_bytes(int64_t rounds) {
  constexpr int kSums = 16;
  const __m512i w = opaque(_mm512_set1_epi8(3));
  __m512i sums[kSums];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < rounds; i += kSums)
    for (__m512i& sum : sums) sum = opaque(_mm512_dpbusd_epi32(sum, w, w));
  return rounds * 64;
}

Kernels table(const char* name, Gemm gemm_for_bf16) {
  return {.name = name,
          .gemm_bf16 = gemm_for_bf16,
          .gemm_int8 = gemm_quantized<WeightFormat::int8>,
          .gemm_int4 = gemm_quantized<WeightFormat::int4>,
          .quantize = quantize,
          .rms_norm = rms_norm,
          .layer_norm = layer_norm,
          .rotate = rotate,
          .activate = activate,
          .store_key = store_key,
          .store_value = store_value,
          .attend = attend,
          .multiply_bytes = multiply_bytes};
}

}  // namespace

const Kernels& avx512_kernels() {
  static const Kernels kernels = table("avx512", gemm_bf16);
  return kernels;
}

const Kernels& avx512_bf16_kernels() {
  static const Kernels kernels = table("avx512bf16", gemm_rounded);
  return kernels;
}

}  // namespace ingot
