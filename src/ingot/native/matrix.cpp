#include "matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

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

// Quantizes one row into codes (depth,), zero past the end, and its scales (groups,).
void quantize_weights(const Matrix& m, const uint16_t* source, std::vector<int>& codes,
                      std::vector<float>& scales) {
  const int most = largest_code(m.format);
  std::fill(codes.begin(), codes.end(), 0);
  for (int64_t g = 0; g < m.groups(); ++g) {
    const int64_t begin = g * m.group, end = std::min(m.inputs, begin + m.group);
    float highest = 0;
    for (int64_t k = begin; k < end; ++k) highest = std::max(highest, std::fabs(widen(source[k])));
    // A group of zeros, or of values too small to divide by, has the scale 0.
    const bool usable = highest > 1e-30f && std::isfinite(highest);
    scales[g] = usable ? highest / static_cast<float>(most) : 0.0f;
    if (!usable) continue;
    for (int64_t k = begin; k < end; ++k) {
      const float code = std::nearbyint(widen(source[k]) / scales[g]);
      codes[k] = std::clamp(static_cast<int>(code), -most, most);
    }
  }
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

void pack(WeightFormat format, const uint16_t* source, int64_t outputs, int64_t inputs,
          int64_t group, uint8_t* weights, float* scales) {
  const Matrix m = view_packed(format, outputs, inputs, group, weights, scales);
  if (format == WeightFormat::bf16) {
    std::memset(weights, 0, static_cast<size_t>(m.tiles() * m.tile_bytes()));
    for (int64_t n = 0; n < outputs; ++n) {
      uint8_t* tile = weights + n / kTileColumns * m.tile_bytes();
      for (int64_t k = 0; k < inputs; ++k) {
        const CodeOffset at = code_offset(format, n % kTileColumns, k);
        std::memcpy(tile + at.byte, &source[n * inputs + k], 2);
      }
    }
    return;
  }
  for (int64_t i = 0; i < outputs * inputs; ++i)
    if (!std::isfinite(widen(source[i])))  // it would become a code like any other
      throw std::invalid_argument("a weight is not finite and cannot be quantized");
  const int zero = largest_code(format) + 1;  // the stored code of a weight of zero
  std::fill_n(scales, m.tiles() * m.groups() * kTileColumns, 0.0f);
  std::memset(weights, format == WeightFormat::int8 ? 0x80 : 0x88,
              static_cast<size_t>(m.tiles() * m.tile_bytes()));
  std::vector<int> codes(m.depth());
  std::vector<float> row_scales(m.groups());
  for (int64_t n = 0; n < outputs; ++n) {
    quantize_weights(m, source + n * inputs, codes, row_scales);
    const int64_t tile = n / kTileColumns, column = n % kTileColumns;
    for (int64_t g = 0; g < m.groups(); ++g)
      scales[(tile * m.groups() + g) * kTileColumns + column] = row_scales[g];
    const int mask = format == WeightFormat::int8 ? 0xFF : 0x0F;
    for (int64_t k = 0; k < m.depth(); ++k) {
      const CodeOffset at = code_offset(format, column, k);
      uint8_t& byte = weights[tile * m.tile_bytes() + at.byte];
      byte = static_cast<uint8_t>((byte & ~(mask << at.shift)) | ((codes[k] + zero) << at.shift));
    }
  }
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
