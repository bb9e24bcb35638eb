#include "isa.h"

#include <cstdint>
#include <stdexcept>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace ingot {
namespace {

#if defined(__x86_64__)
// Under ziglang __builtin_cpu_supports() always returns 0, so the CPU itself is asked.
struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t part = 0) {
  Registers r;
  if (!__get_cpuid_count(leaf, part, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

bool bit(uint32_t word, int index) { return (word >> index) & 1; }

// The register files that the operating system saves on a context switch, as bits.
uint32_t saved_state() {
  if (!bit(cpuid(1).ecx, 27)) return 0;  // OSXSAVE
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

bool has_avx2() {
  const Registers one = cpuid(1), seven = cpuid(7);
  const bool saves_ymm = (saved_state() & 0x6) == 0x6;
  return saves_ymm && bit(one.ecx, 12) /* FMA */ && bit(seven.ebx, 5) /* AVX2 */;
}

[[maybe_unused]] bool has_avx512() {
  const Registers seven = cpuid(7);
  const bool saves_zmm = (saved_state() & 0xE6) == 0xE6;
  return saves_zmm && has_avx2() && bit(seven.ebx, 16) /* F */ && bit(seven.ebx, 17) /* DQ */ &&
         bit(seven.ebx, 30) /* BW */ && bit(seven.ebx, 31) /* VL */ &&
         bit(seven.ecx, 11) /* VNNI */;
}

[[maybe_unused]] bool has_avx512_bf16() { return has_avx512() && bit(cpuid(7, 1).eax, 5); }
#endif

#if defined(__aarch64__)
bool has_dot_product() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#endif

}  // namespace

std::vector<const Kernels*> runnable_kernels() {
  std::vector<const Kernels*> found;
#if defined(INGOT_SIMDE)
  found.push_back(&avx512_bf16_kernels());
  found.push_back(&avx512_kernels());
#elif defined(__x86_64__)
  if (has_avx512_bf16()) found.push_back(&avx512_bf16_kernels());
  if (has_avx512()) found.push_back(&avx512_kernels());
#endif
#if defined(__aarch64__)
  if (has_dot_product()) found.push_back(&neon_kernels());
#endif
#if defined(__x86_64__)
  if (has_avx2()) found.push_back(&avx2_kernels());
#endif
  found.push_back(&portable_kernels());
  return found;
}

const Kernels& choose_kernels(const std::string& name) {
  const auto found = runnable_kernels();
  if (name.empty()) return *found.front();
  std::string known;
  for (const Kernels* kernels : found) {
    if (name == kernels->name) return *kernels;
    known += known.empty() ? kernels->name : std::string(", ") + kernels->name;
  }
  throw std::invalid_argument("this machine cannot run the kernels '" + name + "'; it can run " +
                              known);
}

}  // namespace ingot
