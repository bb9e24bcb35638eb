// Compares the emulation of AVX-512 BF16 with the instructions, on a CPU that has them.
#include "bf16_emulation.h"

#include <immintrin.h>

#include <cstdio>
#include <random>

#include "isa.h"
#include "kernels.h"

namespace {

using namespace ingot;

struct Operands {
  float sums[16];
  uint32_t left[16], right[16];
};

struct Results {
  uint32_t sums[16];
  uint16_t rounded[16];
};

__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) void run_hardware(
    const Operands& in, Results& out) {
  const __m512 sums = _mm512_loadu_ps(in.sums);
  const auto left = __builtin_bit_cast(__m512bh, _mm512_loadu_si512(in.left));
  const auto right = __builtin_bit_cast(__m512bh, _mm512_loadu_si512(in.right));
  _mm512_storeu_ps(out.sums, _mm512_dpbf16_ps(sums, left, right));
  const auto rounded = _mm512_cvtneps_pbh(sums);
  std::memcpy(out.rounded, &rounded, sizeof(out.rounded));
}

void run_emulation(const Operands& in, Results& out) {
  const F32x16 sums = emulated_dpbf16(load(in.sums), read<U32x16>(in.left), read<U32x16>(in.right));
  std::memcpy(out.sums, &sums, sizeof(out.sums));
  const U16x16 rounded = emulated_cvtneps(load(in.sums));
  std::memcpy(out.rounded, &rounded, sizeof(out.rounded));
}

// Bits of a float: any, of a middling or the least exponents, or a value at the edge of a class.
uint32_t draw_bits(std::mt19937& random, unsigned format) {
  constexpr uint32_t kEdges[] = {0,          0x80000000, 0x7F800000, 0xFF800000,
                                 0x7FC00000, 0x7F810000, 0x00800000, 0x80800000,
                                 0x007F0000, 0x00810000, 0x007FFFFF, 0x00800001};
  const uint32_t bits = random();
  if (format == 1) return (bits & 0x807FFFFF) | (100 + random() % 50) << 23;
  if (format == 2) return (bits & 0x807FFFFF) | (random() % 4) << 23;
  if (format == 3) return (bits & 0x807FFFFF) | (56 + random() % 16) << 23;
  if (format == 4) return kEdges[bits % std::size(kEdges)];
  return bits;
}

Operands draw(std::mt19937& random) {
  const unsigned sum_kind = random() % 5, product_kind = random() % 6;
  Operands drawn;
  const auto word = [&] {
    const auto half = [&] {
      return draw_bits(random, product_kind == 5 ? random() % 5 : product_kind) >> 16;
    };
    return half() << 16 | half();
  };
  for (int i = 0; i < 16; ++i) {
    const uint32_t bits = draw_bits(random, sum_kind);
    std::memcpy(&drawn.sums[i], &bits, sizeof(bits));
    drawn.left[i] = word(), drawn.right[i] = word();
  }
  return drawn;
}

bool report(const char* what, int lane, const Operands& in, uint32_t expected, uint32_t found) {
  std::fprintf(stderr, "%s of %a, %08x, %08x: the CPU has %08x, the emulation %08x\n", what,
               static_cast<double>(in.sums[lane]), in.left[lane], in.right[lane], expected, found);
  return false;
}

bool agree(const Operands& in) {
  Results expected, found;
  run_hardware(in, expected);
  run_emulation(in, found);
  for (int i = 0; i < 16; ++i) {
    if (expected.sums[i] != found.sums[i])
      return report("VDPBF16PS", i, in, expected.sums[i], found.sums[i]);
    if (expected.rounded[i] != found.rounded[i])
      return report("VCVTNEPS2BF16", i, in, expected.rounded[i], found.rounded[i]);
  }
  return true;
}

}  // namespace

int main() {
  if (std::strcmp(choose_kernels("").name, "avx512bf16") != 0)
    return std::puts("the emulation of BF16: this CPU has nothing to compare it with"), 0;
  std::mt19937 random(1);
  for (int i = 0; i < 300'000; ++i)
    if (!agree(draw(random))) return 1;
  std::puts("the emulation of BF16: ok");
}
