// A weight matrix as the kernels read it: packed once, read-only for ever after.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ingot {

enum class WeightKind { bf16, int8, int4 };

inline constexpr int64_t kTileColumns = 16;  // outputs that lie side by side: one vector of float
inline constexpr int64_t kDepthUnit = 32;    // inputs are padded with zeros to a multiple of this

inline int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// A matrix (outputs, inputs) in tiles of 16 outputs. A tile runs through all inputs, so one row of
// activations reads it as one stream. What lies inside a tile, from the outside in:
//   bf16: [inputs/2][16 outputs][2 inputs] of bfloat16 bits
//   int8: [inputs/4][16 outputs][4 inputs] of weight + 128, so that the bytes are unsigned
//   int4: [inputs/8][16 outputs][4 inputs] of weight + 8; inputs 0-3 in the low half, 4-7 in the
//   high
// The quantized kinds are symmetric, with one float scale for `group` inputs of one output:
// scales [tile][inputs/group][16 outputs]. Python's ingot.artifact.packing writes the same layout.
struct Matrix {
  WeightKind kind = WeightKind::bf16;
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

// What the packed matrix takes: bytes of weights, and scales.
struct PackedSizes {
  int64_t weights, scales;
};
PackedSizes packed_sizes(WeightKind kind, int64_t outputs, int64_t inputs, int64_t group);

// Packs `source` (outputs, inputs) of bfloat16 bits, quantizing by plain rounding.
void pack(WeightKind kind, const uint16_t* source, int64_t outputs, int64_t inputs, int64_t group,
          uint8_t* weights, float* scales);

// Looks at packed memory as a matrix; nothing is copied.
Matrix view_packed(WeightKind kind, int64_t outputs, int64_t inputs, int64_t group,
                   const uint8_t* weights, const float* scales);

// Writes the weights of one output, as floats (inputs,).
void unpack_row(const Matrix& matrix, int64_t output, float* row);

}  // namespace ingot
