// Detection of the instruction sets that this CPU and its operating system can run.
#pragma once

#include <string>
#include <vector>

namespace ingot {

struct Kernels;

// The kernels this machine can run, best first; portable is always among them.
std::vector<const Kernels*> runnable_kernels();

// The kernels to use: `name` if given ("portable", "avx2", "avx512", "avx512bf16", "neon"), else
// the best. Throws std::invalid_argument where the name is unknown or this machine cannot run it.
const Kernels& choose_kernels(const std::string& name);

}  // namespace ingot
