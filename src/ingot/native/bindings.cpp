// The Python module `ingot.native._core`. Everything that crosses is checked before it is used.
#include "bindings.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "isa.h"
#include "sampling.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {

CacheFormat cache_format(const std::string& name) {
  if (name == "bf16") return CacheFormat::bf16;
  if (name == "f32") return CacheFormat::f32;
  if (name == "int8") return CacheFormat::int8;
  throw std::invalid_argument("'" + name + "' is not a format of the cache; use bf16, f32 or int8");
}

int checked_threads(int threads) {
  if (threads < 0 || threads > 1024) throw std::invalid_argument("threads must be 0 to 1024");
  return threads;
}

namespace {

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const Kernels* kernels : runnable_kernels()) names.emplace_back(kernels->name);
  return names;
}

}  // namespace
}  // namespace ingot

NB_MODULE(_core, m) {
  using namespace ingot;
  m.def("kernels", &kernel_names);
  m.def("uniform", &uniform, "seed"_a, "position"_a);
  bind_matrix(m);
  bind_model(m);
  bind_measures(m);
  bind_tokenizer(m);
}
