#include "matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace ingot {
namespace {

float widen(uint16_t bits) {
  const uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}

int largest_code(WeightKind kind) { return kind == WeightKind::int8 ? 127 : 7; }

// The place of one weight: its byte in the tile and, for int4, which half.
struct Place {
  int64_t byte;
  int shift;
};

Place place_of(WeightKind kind, int64_t column, int64_t k) {
  if (kind == WeightKind::bf16) return {((k / 2) * kTileColumns + column) * 4 + (k % 2) * 2, 0};
  if (kind == WeightKind::int8) return {((k / 4) * kTileColumns + column) * 4 + k % 4, 0};
  return {((k / 8) * kTileColumns + column) * 4 + k % 4, static_cast<int>((k / 4) % 2) * 4};
}

// Quantizes one row into codes (depth,), zero past the end, and its scales (groups,).
void quantize_weights(const Matrix& m, const uint16_t* source, std::vector<int>& codes,
                      std::vector<float>& scales) {
  const int most = largest_code(m.kind);
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
  if (kind == WeightKind::bf16) return values * 2;
  return kind == WeightKind::int8 ? values : values / 2;
}

Matrix view_packed(WeightKind kind, int64_t outputs, int64_t inputs, int64_t group,
                   const uint8_t* weights, const float* scales) {
  return {kind, outputs, inputs, kind == WeightKind::bf16 ? 0 : group, scales, weights};
}

PackedSizes packed_sizes(WeightKind kind, int64_t outputs, int64_t inputs, int64_t group) {
  const Matrix m = view_packed(kind, outputs, inputs, group, nullptr, nullptr);
  return {m.tiles() * m.tile_bytes(), m.tiles() * m.groups() * kTileColumns};
}

void pack(WeightKind kind, const uint16_t* source, int64_t outputs, int64_t inputs, int64_t group,
          uint8_t* weights, float* scales) {
  const Matrix m = view_packed(kind, outputs, inputs, group, weights, scales);
  if (kind == WeightKind::bf16) {
    std::memset(weights, 0, static_cast<size_t>(m.tiles() * m.tile_bytes()));
    for (int64_t n = 0; n < outputs; ++n) {
      uint8_t* tile = weights + n / kTileColumns * m.tile_bytes();
      for (int64_t k = 0; k < inputs; ++k) {
        const Place place = place_of(kind, n % kTileColumns, k);
        std::memcpy(tile + place.byte, &source[n * inputs + k], 2);
      }
    }
    return;
  }
  const int offset = largest_code(kind) + 1;
  std::fill_n(scales, m.tiles() * m.groups() * kTileColumns, 0.0f);
  std::memset(weights, kind == WeightKind::int8 ? 0x80 : 0x88,
              static_cast<size_t>(m.tiles() * m.tile_bytes()));
  std::vector<int> codes(m.depth());
  std::vector<float> row_scales(m.groups());
  for (int64_t n = 0; n < outputs; ++n) {
    quantize_weights(m, source + n * inputs, codes, row_scales);
    const int64_t tile = n / kTileColumns, column = n % kTileColumns;
    for (int64_t g = 0; g < m.groups(); ++g)
      scales[(tile * m.groups() + g) * kTileColumns + column] = row_scales[g];
    const int mask = kind == WeightKind::int8 ? 0xFF : 0x0F;
    for (int64_t k = 0; k < m.depth(); ++k) {
      const Place place = place_of(kind, column, k);
      uint8_t& byte = weights[tile * m.tile_bytes() + place.byte];
      byte = static_cast<uint8_t>((byte & ~(mask << place.shift)) |
                                  ((codes[k] + offset) << place.shift));
    }
  }
}

void unpack_row(const Matrix& m, int64_t output, float* row) {
  const int64_t column = output % kTileColumns;
  const uint8_t* tile = m.tile(output / kTileColumns);
  if (m.kind == WeightKind::bf16) {
    for (int64_t k = 0; k < m.inputs; ++k) {
      uint16_t bits;
      std::memcpy(&bits, tile + place_of(m.kind, column, k).byte, 2);
      row[k] = widen(bits);
    }
    return;
  }
  const float* scales = m.tile_scales(output / kTileColumns);
  const int mask = m.kind == WeightKind::int8 ? 0xFF : 0x0F;
  const int offset = largest_code(m.kind) + 1;
  for (int64_t k = 0; k < m.inputs; ++k) {
    const Place place = place_of(m.kind, column, k);
    const int code = ((tile[place.byte] >> place.shift) & mask) - offset;
    row[k] = static_cast<float>(code) * scales[k / m.group * kTileColumns + column];
  }
}

}  // namespace ingot
