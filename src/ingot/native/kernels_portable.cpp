// Kernels in plain C++ for any CPU, with which the others are compared.
#include "kernels.h"
#include "vector_attention.h"
#include "vector_kernels.h"

namespace ingot {
namespace {

// One output: exact integer sums inside a group, then one fused float step for each group.
template <WeightFormat kFormat>
float dot_quantized(const Matrix& m, const int8_t* codes, int64_t tile, int64_t column) {
  const uint8_t* weights = m.tile(tile);
  const float* scales = m.tile_scales(tile);
  float total = 0;
  for (int64_t g = 0; g < m.groups(); ++g) {
    const int64_t end = std::min(m.depth(), (g + 1) * m.group);
    int32_t exact = 0;
    for (int64_t k = g * m.group; k < end; ++k) {
      if constexpr (kFormat == WeightFormat::int8) {
        const int weight = weights[(k / 4 * kTileColumns + column) * 4 + k % 4] - 128;
        exact += weight * codes[k];
      } else {
        const int byte = weights[(k / 8 * kTileColumns + column) * 4 + k % 4];
        exact += (((k / 4) % 2 ? byte >> 4 : byte & 15) - 8) * codes[k];
      }
    }
    total = fused(static_cast<float>(exact), scales[g * kTileColumns + column], total);
  }
  return total;
}

template <WeightFormat kFormat>
void gemm_quantized(const Matrix& m, const Activations& x, Range rows, Range tiles, float* out,
                    int64_t out_stride, bool add) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
      float* to = out + row * out_stride + tile * kTileColumns;
      const int64_t columns = std::min(kTileColumns, m.outputs - tile * kTileColumns);
      for (int64_t column = 0; column < columns; ++column) {
        const float dot = dot_quantized<kFormat>(m, x.codes + row * m.depth(), tile, column);
        const float value = dot * x.scales[row];
        to[column] = add ? to[column] + value : value;
      }
    }
}

int64_t multiply_bytes(int64_t rounds) {
  volatile int8_t source = 3;
  const int32_t w = source;
  volatile int32_t sum = 0;
  for (int64_t i = 0; i < rounds; i += 16) {
    I32x16 products = {};
    products += w * (static_cast<int32_t>(i) & 127);
    sum = sum + products[i & 15];
  }
  return rounds;
}

}  // namespace

const Kernels& portable_kernels() {
  static const Kernels kernels{.name = "portable",
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
