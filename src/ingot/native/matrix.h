// The packed form of a weight matrix, which the kernels read.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ingot {

enum class WeightFormat { bf16, int8, int4 };

inline constexpr int64_t kTileColumns = 16;  // adjacent outputs: one vector of floats
inline constexpr int64_t kDepthUnit = 32;    // inputs are padded with zeros to a multiple of this

inline int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// A matrix (outputs, inputs) in tiles of 16 outputs. A tile holds all inputs of its outputs, so a
// row of activations reads it as one stream. The layout of a tile:
//   bf16: [inputs/2][16 outputs][2 inputs] of bfloat16 bits
//   int8: [inputs/4][16 outputs][4 inputs] of weight + 128: unsigned bytes, which the byte products
//         of x86 take as one operand
//   int4: [inputs/8][16 outputs][4 inputs] of weight + 8; inputs 0-3 in the low half of each byte,
//         4-7 in the high half
// The quantized formats are symmetric, with one float scale for `group` inputs of one output:
// scales [tile][inputs/group][16 outputs]. ingot.artifact.quantization.packing writes the same.
struct Matrix {
  WeightFormat format = WeightFormat::bf16;
  int64_t outputs = 0, inputs = 0;
  int64_t group = 0;  // inputs that share a scale; 0 for bf16
  const float* scales = nullptr;
  const uint8_t* weights = nullptr;

  int64_t tiles() const { return round_up(outputs, kTileColumns) / kTileColumns; }
  int64_t depth() const { return round_up(inputs, kDepthUnit); }
  int64_t groups() const { return group ? (depth() + group - 1) / group : 0; }
  int64_t tile_bytes() const;
  const uint8_t* tile(int64_t index) const { return weights + index * tile_bytes(); }
  const float* tile_scales(int64_t index) const { return scales + index * groups() * kTileColumns; }
};

// The size of a packed matrix: bytes of weights, and number of scales.
struct PackedSizes {
  int64_t weights, scales;
};
PackedSizes packed_sizes(WeightFormat format, int64_t outputs, int64_t inputs, int64_t group);

// A view of packed memory as a matrix.
Matrix view_packed(WeightFormat format, int64_t outputs, int64_t inputs, int64_t group,
                   const uint8_t* weights, const float* scales);

// Writes the weights of one output, as floats (inputs,).
void unpack_row(const Matrix& matrix, int64_t output, float* row);

}  // namespace ingot
