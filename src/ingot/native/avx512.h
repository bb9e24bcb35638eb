// AVX-512's intrinsics; those that tests emulate with SIMDe (INGOT_SIMDE) on CPUs without it.
#pragma once

#if defined(INGOT_SIMDE)
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include "bf16_emulation.h"
// SIMDe rounds the sum of both products at once and has no conversion.
#undef _mm512_dpbf16_ps
#undef _mm512_cvtneps_pbh
#define _mm512_dpbf16_ps(sums, a, b)                                                             \
  __builtin_bit_cast(__m512, ::ingot::emulated_dpbf16(__builtin_bit_cast(::ingot::F32x16, sums), \
                                                      __builtin_bit_cast(::ingot::U32x16, a),    \
                                                      __builtin_bit_cast(::ingot::U32x16, b)))
#define _mm512_cvtneps_pbh(x) ::ingot::emulated_cvtneps(__builtin_bit_cast(::ingot::F32x16, x))
#else
#include <immintrin.h>
#endif
