// The kernels that each instruction set provides, as a table. The rest of the core knows only it.
#pragma once

#include <cstdint>

#include "matrix.h"

namespace ingot {

inline constexpr int64_t kKeyTile = 16;  // tokens whose keys are interleaved in the cache
inline constexpr int kMostQueries = 16;  // queries that one call of `attend` takes
inline constexpr int64_t kSumUnit = 32;  // activations that share one entry of `sums`

struct Range {
  int64_t begin, end;
};

// Rows of activations, prepared for one format of matrix: float for bf16, else int8 with one scale
// a row and the sum of each 32 codes.
struct Activations {
  const float* values = nullptr;  // (rows, depth), zero past the inputs
  const int8_t* codes = nullptr;  // (rows, depth), in [-127, 127], zero past the inputs
  const float* scales = nullptr;  // (rows,)
  const int32_t* sums = nullptr;  // (rows, depth / 32)
};

// out[row, output] = (or += where `add`) dot(activations[row], matrix[output]), for a range of
// rows and a range of tiles. The sum over inputs has one order, whatever the ranges.
using Gemm = void (*)(const Matrix& matrix, const Activations& x, Range rows, Range tiles,
                      float* out, int64_t out_stride, bool add);

enum class Activation { silu, gelu_tanh };

enum class CacheFormat { bf16, f32, int8 };  // int8: codes with one scale a token and head

inline constexpr int64_t kWidestHead = 1024;

// One query vector, already divided by the square root of the head width.
struct Query {
  const float* q;
  float* out;
  int64_t position;  // it attends to tokens 0 to position
};

// Up to 16 queries of one sequence that share a key-value head.
struct Attention {
  const Query* queries;
  int count;
  int64_t head_dim;
  CacheFormat format;
  const int32_t* blocks;      // the sequence's blocks, in order
  int64_t block_size;         // tokens in a block, a multiple of 16
  const uint8_t* keys;        // of this layer and head in block 0: [tokens/16][head_dim][16]
  const uint8_t* values;      // likewise: [tokens][head_dim]
  const uint8_t* key_scales;  // likewise, for int8: floats [tokens]
  const uint8_t* value_scales;
  int64_t block_bytes;  // distance from one block to the next
  int64_t window;       // tokens that a query attends to, itself included; 0 for all
};

struct Kernels {
  const char* name;
  Gemm gemm_bf16, gemm_int8, gemm_int4;
  // Quantizes x (inputs,) to codes (depth,), one scale, and sums (depth / 32,). A value that is not
  // finite makes the scale NaN, and so every output of the row.
  void (*quantize)(const float* x, int64_t inputs, int64_t depth, int8_t* codes, float* scale,
                   int32_t* sums);
  // out = x / rms(x) * weight (arXiv:1910.07467); x and out may be the same.
  void (*rms_norm)(const float* x, const float* weight, int64_t width, float eps, float* out);
  // out = (x - mean) / standard deviation * weight + bias (arXiv:1607.06450); x and out may be the
  // same.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t width,
                     float eps, float* out);
  // Rotates each pair (x[i], x[half + i]) by an angle given as cosine and sine (arXiv:2104.09864).
  void (*rotate)(float* x, const float* cosines, const float* sines, int64_t half);
  // out = activation(x) * factors (arXiv:2002.05202), or activation(x) where `factors` is null;
  // out may be x. gelu_tanh is the approximation by tanh of arXiv:1606.08415.
  void (*activate)(Activation activation, const float* x, const float* factors, int64_t width,
                   float* out);
  // Store one key, interleaved with those of 15 other tokens, and one value; `scales` for int8
  // alone.
  void (*store_key)(const float* key, int64_t head_dim, CacheFormat format, int64_t token,
                    uint8_t* keys, uint8_t* scales);
  void (*store_value)(const float* value, int64_t head_dim, CacheFormat format, int64_t token,
                      uint8_t* values, uint8_t* scales);
  void (*attend)(const Attention& job);
  // Multiplies bytes in registers for `rounds` rounds; returns the number of multiply-adds. For
  // benchmarks.
  int64_t (*multiply_bytes)(int64_t rounds);
};

inline Gemm gemm_for(const Kernels& kernels, WeightFormat format) {
  if (format == WeightFormat::bf16) return kernels.gemm_bf16;
  return format == WeightFormat::int8 ? kernels.gemm_int8 : kernels.gemm_int4;
}

const Kernels& portable_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
const Kernels& avx512_bf16_kernels();  // rounds the activations of bf16 matrices to bf16
const Kernels& neon_kernels();

}  // namespace ingot
