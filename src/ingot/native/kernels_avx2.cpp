// Kernels for AVX2 with FMA.
//
// The byte product of AVX2, maddubs, adds two products of unsigned by signed bytes into 16 bits
// and saturates. Neither scheme below can reach that limit:
//   int8: |weight| times the activation with the weight's sign: 2 * 127 * 127 = 32258 < 32768.
//   int4: weight + 8 in [0, 15] times the activation: 2 * 15 * 127 = 3810, so the sum of
//         even 8 fits into 16 bits; 8 * sum(activations) is subtracted afterwards.
#include <immintrin.h>

#include "kernels.h"
#include "vector_attention.h"
#include "vector_kernels.h"

namespace ingot {
namespace {

struct Pair {  // 16 columns: columns 0-7 and 8-15
  __m256i low, high;
};

inline Pair load_pair(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}

inline __m256i four_codes(const int8_t* codes) {
  int32_t word;
  std::memcpy(&word, codes, sizeof(word));
  return _mm256_set1_epi32(word);
}

// total += float(exact) * scale, rounded once.
inline void add_group(__m256 (&total)[2], Pair exact, const float* scales) {
  total[0] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(exact.low), _mm256_loadu_ps(scales), total[0]);
  total[1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(exact.high), _mm256_loadu_ps(scales + 8), total[1]);
}

inline void finish_row(const __m256 (&total)[2], float scale, float* out, int64_t columns,
                       bool add) {
  F32x16 v;
  const __m256 by = _mm256_set1_ps(scale);
  const __m256 halves[2] = {_mm256_mul_ps(total[0], by), _mm256_mul_ps(total[1], by)};
  std::memcpy(&v, halves, sizeof(v));
  put(out, v, columns, add);
}

template <int kRows>
inline void int8_group(const uint8_t* weights, const int8_t* codes, int64_t depth, Range quads,
                       Pair (&exact)[kRows]) {
  const __m256i flip = _mm256_set1_epi8(static_cast<char>(0x80));
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t quad = quads.begin; quad < quads.end; ++quad) {
    const Pair raw = load_pair(weights + quad * 64);
    const Pair w{_mm256_xor_si256(raw.low, flip), _mm256_xor_si256(raw.high, flip)};
    const Pair size{_mm256_abs_epi8(w.low), _mm256_abs_epi8(w.high)};
    for (int r = 0; r < kRows; ++r) {
      const __m256i x = four_codes(codes + r * depth + quad * 4);
      const __m256i low = _mm256_maddubs_epi16(size.low, _mm256_sign_epi8(x, w.low));
      const __m256i high = _mm256_maddubs_epi16(size.high, _mm256_sign_epi8(x, w.high));
      exact[r].low = _mm256_add_epi32(exact[r].low, _mm256_madd_epi16(low, ones));
      exact[r].high = _mm256_add_epi32(exact[r].high, _mm256_madd_epi16(high, ones));
    }
  }
}

// 32 inputs: 4 octets of 8, summed in 16 bits (8 * 3810 = 30480), then widened.
template <int kRows>
inline void int4_group(const uint8_t* weights, const int8_t* codes, int64_t depth, Range units,
                       Pair (&exact)[kRows]) {
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t unit = units.begin; unit < units.end; ++unit) {
    Pair sums[kRows] = {};
    for (int64_t octet = unit * 4; octet < unit * 4 + 4; ++octet) {
      const Pair raw = load_pair(weights + octet * 64);
      const Pair first{_mm256_and_si256(raw.low, nibble), _mm256_and_si256(raw.high, nibble)};
      const Pair second{_mm256_and_si256(_mm256_srli_epi16(raw.low, 4), nibble),
                        _mm256_and_si256(_mm256_srli_epi16(raw.high, 4), nibble)};
      for (int r = 0; r < kRows; ++r) {
        const __m256i x0 = four_codes(codes + r * depth + octet * 8);
        const __m256i x1 = four_codes(codes + r * depth + octet * 8 + 4);
        sums[r].low = _mm256_add_epi16(sums[r].low, _mm256_maddubs_epi16(first.low, x0));
        sums[r].high = _mm256_add_epi16(sums[r].high, _mm256_maddubs_epi16(first.high, x0));
        sums[r].low = _mm256_add_epi16(sums[r].low, _mm256_maddubs_epi16(second.low, x1));
        sums[r].high = _mm256_add_epi16(sums[r].high, _mm256_maddubs_epi16(second.high, x1));
      }
    }
    for (int r = 0; r < kRows; ++r) {
      exact[r].low = _mm256_add_epi32(exact[r].low, _mm256_madd_epi16(sums[r].low, ones));
      exact[r].high = _mm256_add_epi32(exact[r].high, _mm256_madd_epi16(sums[r].high, ones));
    }
  }
}

// kRows rows against one tile.
template <WeightFormat kFormat, int kRows>
void quantized_block(const Matrix& m, const Activations& x, int64_t row, int64_t tile, float* out,
                     int64_t out_stride, bool add) {
  const int64_t depth = m.depth(), units = depth / kDepthUnit;
  const uint8_t* weights = m.tile(tile);
  const float* scales = m.tile_scales(tile);
  const int8_t* codes = x.codes + row * depth;
  __m256 total[kRows][2] = {};
  for (int64_t g = 0; g < m.groups(); ++g) {
    const int64_t end = std::min(depth, (g + 1) * m.group);
    Pair exact[kRows] = {};
    if constexpr (kFormat == WeightFormat::int8) {
      int8_group<kRows>(weights, codes, depth, {g * m.group / 4, end / 4}, exact);
    } else {
      const Range inside{g * m.group / kDepthUnit, end / kDepthUnit};
      for (int r = 0; r < kRows; ++r) {
        int32_t surplus = 0;
        for (int64_t u = inside.begin; u < inside.end; ++u)
          surplus += x.sums[(row + r) * units + u];
        exact[r].low = exact[r].high = _mm256_set1_epi32(-8 * surplus);
      }
      int4_group<kRows>(weights, codes, depth, inside, exact);
    }
    for (int r = 0; r < kRows; ++r) add_group(total[r], exact[r], scales + g * kTileColumns);
  }
  const int64_t column = tile * kTileColumns;
  for (int r = 0; r < kRows; ++r)
    finish_row(total[r], x.scales[row + r], out + (row + r) * out_stride + column,
               m.outputs - column, add);
}

template <WeightFormat kFormat>
void gemm_quantized(const Matrix& m, const Activations& x, Range rows, Range tiles, float* out,
                    int64_t out_stride, bool add) {
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    int64_t row = rows.begin;
    for (; row + 4 <= rows.end; row += 4)
      quantized_block<kFormat, 4>(m, x, row, tile, out, out_stride, add);
    const int64_t left = rows.end - row;
    if (left == 3) quantized_block<kFormat, 3>(m, x, row, tile, out, out_stride, add);
    if (left == 2) quantized_block<kFormat, 2>(m, x, row, tile, out, out_stride, add);
    if (left == 1) quantized_block<kFormat, 1>(m, x, row, tile, out, out_stride, add);
  }
}

// Hides values from the compiler, which would otherwise compute or remove the products.
inline __m256i opaque(__m256i v) {
  __asm__ volatile("" : "+x"(v));
  return v;
}

int64_t multiply_bytes(int64_t rounds) {
  constexpr int kSums = 8;
  const __m256i ones = _mm256_set1_epi16(1), w = opaque(_mm256_set1_epi8(3));
  __m256i sums[kSums] = {};
  for (int64_t i = 0; i < rounds; i += kSums)
    for (__m256i& sum : sums) {
      const __m256i x = opaque(w);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), ones));
    }
  for (__m256i& sum : sums) opaque(sum);
  return rounds * 32;
}

}  // namespace

const Kernels& avx2_kernels() {
  static const Kernels kernels{.name = "avx2",
                               .gemm_bf16 = gemm_bf16,
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
  return kernels;
}

}  // namespace ingot
