// Kernels for 64-bit Arm with the dot product of Armv8.2.
//
// sdot adds four products of signed bytes to each of four 32-bit sums, exactly; a tile's 16 outputs
// are four registers. Stored weights are unsigned (code + 128 or + 8): flipping the top bit makes
// int8 signed, subtracting 8 makes int4 signed.
#include <arm_neon.h>

#include "kernels.h"
#include "vector_attention.h"
#include "vector_kernels.h"

namespace ingot {
namespace {

constexpr int kParts = 4;  // registers for a tile's 16 outputs

struct Sums {
  int32x4_t part[kParts];
};

inline int8x16_t four_everywhere(const int8_t* p) {
  int32_t word;
  std::memcpy(&word, p, sizeof(word));
  return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

template <int kRows>
inline void add_int8(const uint8_t* weights, const int8_t* codes, int64_t depth, Range quads,
                     Sums (&exact)[kRows]) {
  const uint8x16_t flip = vdupq_n_u8(0x80);
  for (int64_t quad = quads.begin; quad < quads.end; ++quad) {
    int8x16_t w[kParts];
    for (int p = 0; p < kParts; ++p)
      w[p] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(weights + quad * 64 + p * 16), flip));
    for (int r = 0; r < kRows; ++r) {
      const int8x16_t x = four_everywhere(codes + r * depth + quad * 4);
      for (int p = 0; p < kParts; ++p) exact[r].part[p] = vdotq_s32(exact[r].part[p], w[p], x);
    }
  }
}

template <int kRows>
inline void add_int4(const uint8_t* weights, const int8_t* codes, int64_t depth, Range octets,
                     Sums (&exact)[kRows]) {
  const uint8x16_t nibble = vdupq_n_u8(15);
  const int8x16_t eight = vdupq_n_s8(8);
  for (int64_t octet = octets.begin; octet < octets.end; ++octet) {
    int8x16_t low[kParts], high[kParts];
    for (int p = 0; p < kParts; ++p) {
      const uint8x16_t raw = vld1q_u8(weights + octet * 64 + p * 16);
      low[p] = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(raw, nibble)), eight);
      high[p] = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(raw, 4)), eight);
    }
    for (int r = 0; r < kRows; ++r) {
      const int8_t* const from = codes + r * depth + octet * 8;
      const int8x16_t first = four_everywhere(from), second = four_everywhere(from + 4);
      for (int p = 0; p < kParts; ++p) {
        exact[r].part[p] = vdotq_s32(exact[r].part[p], low[p], first);
        exact[r].part[p] = vdotq_s32(exact[r].part[p], high[p], second);
      }
    }
  }
}

template <WeightFormat kFormat, int kRows>
void quantized_block(const Matrix& m, const Activations& x, int64_t row, int64_t tile, float* out,
                     int64_t out_stride, bool add) {
  constexpr int64_t kInputs = kFormat == WeightFormat::int8 ? 4 : 8;  // of one output in 4 bytes
  const int64_t depth = m.depth();
  const uint8_t* weights = m.tile(tile);
  const float* scales = m.tile_scales(tile);
  const int8_t* codes = x.codes + row * depth;
  float32x4_t total[kRows][kParts] = {};
  for (int64_t g = 0; g < m.groups(); ++g) {
    const int64_t begin = g * m.group, end = std::min(depth, begin + m.group);
    Sums exact[kRows] = {};
    if constexpr (kFormat == WeightFormat::int8) {
      add_int8<kRows>(weights, codes, depth, {begin / kInputs, end / kInputs}, exact);
    } else {
      add_int4<kRows>(weights, codes, depth, {begin / kInputs, end / kInputs}, exact);
    }
    for (int p = 0; p < kParts; ++p) {
      const float32x4_t scale = vld1q_f32(scales + g * kTileColumns + p * 4);
      for (int r = 0; r < kRows; ++r)
        total[r][p] = vfmaq_f32(total[r][p], vcvtq_f32_s32(exact[r].part[p]), scale);
    }
  }
  const int64_t column = tile * kTileColumns;
  for (int r = 0; r < kRows; ++r) {
    F32x16 v;
    static_assert(sizeof(v) == sizeof(total[r]));
    std::memcpy(&v, total[r], sizeof(v));
    put(out + (row + r) * out_stride + column, v * x.scales[row + r], m.outputs - column, add);
  }
}

template <WeightFormat kFormat>
void gemm_quantized(const Matrix& m, const Activations& x, Range rows, Range tiles, float* out,
                    int64_t out_stride, bool add) {
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    int64_t row = rows.begin;
    for (; row + 4 <= rows.end; row += 4)
      quantized_block<kFormat, 4>(m, x, row, tile, out, out_stride, add);
    for (; row < rows.end; ++row)
      quantized_block<kFormat, 1>(m, x, row, tile, out, out_stride, add);
  }
}

int64_t multiply_bytes(int64_t rounds) {
  constexpr int kSums = 16;
  const int8x16_t w = vdupq_n_s8(3);
  int32x4_t sums[kSums] = {};
  for (int64_t i = 0; i < rounds; i += kSums)
    for (int32x4_t& sum : sums) {
      sum = vdotq_s32(sum, w, w);
      __asm__ volatile("" : "+w"(sum));  // keeps the compiler from removing the products
    }
  return rounds * 16;
}

}  // namespace

const Kernels& neon_kernels() {
  static const Kernels kernels{.name = "neon",
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
