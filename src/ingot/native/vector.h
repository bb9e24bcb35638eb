// Vectors of sixteen floats in the compiler's vector types: without intrinsics, so the same source
// is two AVX2 registers, one AVX-512 register or four of SSE2. Each kernels_*.cpp includes this and
// compiles it with its own flags; the unnamed namespace keeps the copies apart.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace ingot {
namespace {

using F32x16 = float __attribute__((vector_size(64)));
using I32x16 = int32_t __attribute__((vector_size(64)));
using U32x16 = uint32_t __attribute__((vector_size(64)));
using U16x16 = uint16_t __attribute__((vector_size(32)));
using I8x16 = int8_t __attribute__((vector_size(16)));

inline F32x16 splat(float x) { return F32x16{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

template <class Vector, class Value>
inline Vector read(const Value* p) {
  Vector v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

inline F32x16 load(const float* p) { return read<F32x16>(p); }
inline void store(float* p, F32x16 v) { std::memcpy(p, &v, sizeof(v)); }

// The first `count` (at most 16) floats; the rest are zero.
inline F32x16 load(const float* p, int64_t count) {
  if (count >= 16) return load(p);
  F32x16 v = {};
  std::memcpy(&v, p, static_cast<size_t>(count) * sizeof(float));
  return v;
}
inline void store(float* p, F32x16 v, int64_t count) {
  if (count >= 16) return store(p, v);
  std::memcpy(p, &v, static_cast<size_t>(count) * sizeof(float));
}

// Sixteen bfloat16 from memory.
inline F32x16 load_bf16(const uint16_t* p) {
  return (F32x16)(__builtin_convertvector(read<U16x16>(p), U32x16) << 16);
}
inline F32x16 load_cached(const float* p) { return load(p); }
inline F32x16 load_cached(const uint16_t* p) { return load_bf16(p); }
inline F32x16 load_cached(const int8_t* p) {
  return __builtin_convertvector(__builtin_convertvector(read<I8x16>(p), I32x16), F32x16);
}

inline float load_one(const float* p) { return *p; }
inline float load_one(const int8_t* p) { return *p; }
inline float load_one(const uint16_t* p) {
  const uint32_t word = static_cast<uint32_t>(*p) << 16;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}

// a * b + c. Rounded once where the CPU has the instruction; the portable kernels round twice,
// because a call of the library's fma takes fifty times as long.
inline F32x16 multiply_add(F32x16 a, F32x16 b, F32x16 c) {
#if (defined(__FMA__) || defined(__aarch64__)) && __has_builtin(__builtin_elementwise_fma)
  return __builtin_elementwise_fma(a, b, c);
#elif defined(__FMA__) || defined(__aarch64__)  // clang 16
  for (int i = 0; i < 16; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
#else
  return a * b + c;
#endif
}

// Rounded once on every CPU, for results that must be equal on all of them.
inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

inline F32x16 select(I32x16 mask, F32x16 yes, F32x16 no) {
  return (F32x16)((mask & (I32x16)yes) | (~mask & (I32x16)no));
}
inline F32x16 larger(F32x16 a, F32x16 b) { return select(a > b, a, b); }

// Sums in one fixed order: halves, quarters, eighths, pairs.
inline float sum(F32x16 v) {
  float a[16];
  store(a, v);
  for (int width = 8; width >= 1; width /= 2)
    for (int i = 0; i < width; ++i) a[i] += a[i + width];
  return a[0];
}
inline float maximum(F32x16 v) {
  float a[16];
  store(a, v);
  for (int width = 8; width >= 1; width /= 2)
    for (int i = 0; i < width; ++i) a[i] = a[i] > a[i + width] ? a[i] : a[i + width];
  return a[0];
}

// Adding 1.5 * 2^23 leaves the nearest whole number (ties to even) in the low bits of a float.
inline constexpr float kRounder = 12582912.0f;

// e^x to 2 ulp, for x up to 88; below -87 it is as good as 0 and stays finite.
// Cephes' expf: split off a power of two, then a polynomial on [-ln2/2, ln2/2].
inline F32x16 exponential(F32x16 x) {
  x = select(x > -87.0f, x, splat(-87.0f));
  x = select(x < 88.0f, x, splat(88.0f));
  const F32x16 shifted = multiply_add(x, splat(1.44269504f), splat(kRounder));
  const F32x16 n = shifted - kRounder;
  F32x16 r = multiply_add(n, splat(-0.693359375f), x);
  r = multiply_add(n, splat(2.12194440e-4f), r);
  F32x16 p = splat(1.9875691500e-4f);
  p = multiply_add(p, r, splat(1.3981999507e-3f));
  p = multiply_add(p, r, splat(8.3334519073e-3f));
  p = multiply_add(p, r, splat(4.1665795894e-2f));
  p = multiply_add(p, r, splat(1.6666665459e-1f));
  p = multiply_add(p, r, splat(5.0000001201e-1f));
  p = multiply_add(p, r * r, r) + 1.0f;
  const I32x16 power = ((I32x16)shifted - 0x4B400000 + 127) << 23;
  return p * (F32x16)power;
}

inline uint16_t round_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return 0x7FC0;  // NaN stays NaN
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

}  // namespace
}  // namespace ingot
