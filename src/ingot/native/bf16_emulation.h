// The two instructions of AVX-512 BF16 in plain C++, bit for bit, for tests on CPUs without them.
//
// Intel's manual (Software Developer's Manual, VDPBF16PS and VCVTNEPS2BF16): every product is added
// with one rounding to nearest even, the odd elements of a pair before the even ones; subnormal
// numbers count as zeros of their sign before and after; MXCSR is neither read nor written.
#pragma once

#include "vector.h"

namespace ingot {
namespace {

inline F32x16 flush_subnormals(F32x16 x) {
  const auto bits = (U32x16)x;
  const auto subnormal = (U32x16)((bits & 0x7F800000u) == 0u);
  return (F32x16)(bits & ~(subnormal & 0x7FFFFFFFu));
}

// a * b + c, rounded once.
inline F32x16 emulated_fma(F32x16 a, F32x16 b, F32x16 c) {
  constexpr float kLeastNormal = 0x1p-126f;
  a = flush_subnormals(a), b = flush_subnormals(b), c = flush_subnormals(c);
  F32x16 sum = multiply_add(a, b, c);
  for (int i = 0; i < 16; ++i) {
    if (std::fabs(sum[i]) != kLeastNormal) continue;
    // The CPU tests for a subnormal result after rounding to 24 bits with an unbounded exponent.
    // Sums this small are exact in double precision.
    const double exact = static_cast<double>(a[i]) * b[i] + c[i];
    if (std::fabs(exact) < 0x1p-126 - 0x1p-151) sum[i] = std::copysign(0.0f, sum[i]);
  }
  return flush_subnormals(sum);
}

// VDPBF16PS: adds the products of sixteen pairs of bfloat16 to sixteen floats.
inline F32x16 emulated_dpbf16(F32x16 sums, U32x16 a, U32x16 b) {
  sums = emulated_fma((F32x16)(a & 0xFFFF0000u), (F32x16)(b & 0xFFFF0000u), sums);
  return emulated_fma((F32x16)(a << 16), (F32x16)(b << 16), sums);
}

// VCVTNEPS2BF16: rounds sixteen floats to bfloat16; a NaN keeps its upper bits and becomes quiet.
inline U16x16 emulated_cvtneps(F32x16 x) {
  const auto bits = (U32x16)flush_subnormals(x);
  const auto is_nan = (U32x16)((bits & 0x7FFFFFFFu) > 0x7F800000u);
  const U32x16 nearest = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  const U32x16 quiet = (bits >> 16) | 0x40u;
  return __builtin_convertvector((is_nan & quiet) | (~is_nan & nearest), U16x16);
}

}  // namespace
}  // namespace ingot
