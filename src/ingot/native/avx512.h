// AVX-512's intrinsics; those that tests emulate with SIMDe (INGOT_SIMDE) on CPUs without it.
#pragma once

#if defined(INGOT_SIMDE)
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#else
#include <immintrin.h>
#endif
