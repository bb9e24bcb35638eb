#include "isa.h"

#include <cstdint>
#include <stdexcept>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace ingot {
namespace {

#if defined(__x86_64__)
// The compiler's own __builtin_cpu_supports() answers 0 to everything under ziglang: ask the CPU.
struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, 0, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

bool bit(uint32_t word, int index) { return (word >> index) & 1; }

// Which register files the operating system saves on a context switch.
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
#endif

}  // namespace

std::vector<const Kernels*> runnable_kernels() {
  std::vector<const Kernels*> found;
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
