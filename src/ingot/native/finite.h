// A test for infinities and NaN that compilers turn into vector instructions.
#pragma once

#include <cstdint>
#include <cstring>

namespace ingot {

// Whether none of `values` (count,) is infinite or NaN.
inline bool all_finite(const float* values, int64_t count) {
  // Only an exponent of all ones carries into the sign bit. A sum of floats would be as short, but
  // its order is fixed, so that it runs one addition after another.
  uint32_t carried = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof(bits));
    carried |= (bits & 0x7F800000u) + 0x00800000u;
  }
  return carried < 0x80000000u;
}

}  // namespace ingot
