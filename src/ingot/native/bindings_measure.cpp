// The functions that benchmarks call.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <stdexcept>
#include <string>

#include "bindings.h"
#include "isa.h"
#include "measure.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {

namespace {

int checked_repeats(int repeats) {
  if (repeats < 1 || repeats > 100'000) throw std::invalid_argument("repeats out of range");
  return repeats;
}

double measure_read(int64_t bytes, int threads, int repeats) {
  if (bytes < 1 << 20 || bytes > int64_t{1} << 36)
    throw std::invalid_argument("bytes out of range");
  nb::gil_scoped_release released;
  return seconds_to_read(bytes, checked_threads(threads), checked_repeats(repeats));
}

double measure_multiply(const PackedMatrix& packed, int64_t rows, const std::string& kernels,
                        int threads, int repeats) {
  if (rows < 1 || rows > 1 << 20) throw std::invalid_argument("rows out of range");
  const Kernels& chosen = choose_kernels(kernels);
  nb::gil_scoped_release released;
  return seconds_to_multiply(packed.matrix, rows, chosen, checked_threads(threads),
                             checked_repeats(repeats));
}

double measure_attend(int64_t query_heads, int64_t key_heads, int64_t head_dim,
                      const std::string& cache, int64_t context, int64_t sequences,
                      const std::string& kernels, int threads, int repeats) {
  if (key_heads < 1 || query_heads < 1 || query_heads > 1 << 16 || query_heads % key_heads ||
      head_dim < 2 || head_dim > kWidestHead || context < 1 || context > 1 << 24 || sequences < 1 ||
      sequences > 4096)
    throw std::invalid_argument("a size of the attention is out of range");
  const Kernels& chosen = choose_kernels(kernels);
  const CacheFormat format = cache_format(cache);
  nb::gil_scoped_release released;
  return seconds_to_attend({query_heads, key_heads, head_dim}, format, context, sequences, chosen,
                           checked_threads(threads), checked_repeats(repeats));
}

double measure_peak(const std::string& kernels, int threads) {
  const Kernels& chosen = choose_kernels(kernels);
  nb::gil_scoped_release released;
  return most_byte_products(chosen, checked_threads(threads));
}

}  // namespace

void bind_measures(nb::module_& m) {
  m.def("measure_read", &measure_read, "bytes"_a, "threads"_a, "repeats"_a);
  m.def("measure_multiply", &measure_multiply, "matrix"_a, "rows"_a, "kernels"_a, "threads"_a,
        "repeats"_a);
  m.def("measure_attend", &measure_attend, nb::kw_only(), "query_heads"_a, "key_heads"_a,
        "head_dim"_a, "cache"_a, "context"_a, "sequences"_a, "kernels"_a, "threads"_a, "repeats"_a);
  m.def("measure_peak", &measure_peak, "kernels"_a, "threads"_a);
}

}  // namespace ingot
