#include "matrix.h"

#include <cstring>

namespace ingot {
namespace {

float widen(uint16_t bits) {
  const uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}

int largest_code(WeightFormat format) { return format == WeightFormat::int8 ? 127 : 7; }

// Where one weight lies: its byte in the tile and, for int4, the bits of that byte.
struct CodeOffset {
  int64_t byte;
  int shift;
};

CodeOffset code_offset(WeightFormat format, int64_t column, int64_t k) {
  if (format == WeightFormat::bf16) return {((k / 2) * kTileColumns + column) * 4 + (k % 2) * 2, 0};
  if (format == WeightFormat::int8) return {((k / 4) * kTileColumns + column) * 4 + k % 4, 0};
  return {((k / 8) * kTileColumns + column) * 4 + k % 4, static_cast<int>((k / 4) % 2) * 4};
}

}  // namespace

int64_t Matrix::tile_bytes() const {
  const int64_t values = depth() * kTileColumns;
  if (format == WeightFormat::bf16) return values * 2;
  return format == WeightFormat::int8 ? values : values / 2;
}

Matrix view_packed(WeightFormat format, int64_t outputs, int64_t inputs, int64_t group,
                   const uint8_t* weights, const float* scales) {
  return {format, outputs, inputs, format == WeightFormat::bf16 ? 0 : group, scales, weights};
}

PackedSizes packed_sizes(WeightFormat format, int64_t outputs, int64_t inputs, int64_t group) {
  const Matrix m = view_packed(format, outputs, inputs, group, nullptr, nullptr);
  return {m.tiles() * m.tile_bytes(), m.tiles() * m.groups() * kTileColumns};
}

void unpack_row(const Matrix& m, int64_t output, float* row) {
  const int64_t column = output % kTileColumns;
  const uint8_t* tile = m.tile(output / kTileColumns);
  if (m.format == WeightFormat::bf16) {
    for (int64_t k = 0; k < m.inputs; ++k) {
      uint16_t bits;
      std::memcpy(&bits, tile + code_offset(m.format, column, k).byte, 2);
      row[k] = widen(bits);
    }
    return;
  }
  const float* scales = m.tile_scales(output / kTileColumns);
  const int mask = m.format == WeightFormat::int8 ? 0xFF : 0x0F;
  const int zero = largest_code(m.format) + 1;
  for (int64_t k = 0; k < m.inputs; ++k) {
    const CodeOffset at = code_offset(m.format, column, k);
    const int code = ((tile[at.byte] >> at.shift) & mask) - zero;
    row[k] = static_cast<float>(code) * scales[k / m.group * kTileColumns + column];
  }
}

}  // namespace ingot
