// Packed matrices in Python: views of packed memory.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "bindings_fields.h"
#include "isa.h"
#include "linear.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ingot {
namespace {

WeightFormat weight_format(const std::string& name) {
  if (name == "bf16") return WeightFormat::bf16;
  if (name == "int8") return WeightFormat::int8;
  if (name == "int4") return WeightFormat::int4;
  throw std::invalid_argument("'" + name + "' is not a format of weights; use bf16, int8 or int4");
}

PackedSizes checked_sizes(const std::string& name, int64_t outputs, int64_t inputs, int64_t group) {
  constexpr int64_t kMaxSize = int64_t{1} << 26;  // so that products of two stay within 64 bits
  const WeightFormat format = weight_format(name);
  if (outputs < 1 || inputs < 1 || outputs > kMaxSize || inputs > kMaxSize)
    throw std::invalid_argument("a size of the matrix is out of range");
  if (format != WeightFormat::bf16 && group != 32 && group != 64 && group != 128)
    throw std::invalid_argument("group " + std::to_string(group) + " is not 32, 64 or 128");
  return packed_sizes(format, outputs, inputs, group);
}

template <class Tiles, class Scales>
void check_memory(const PackedSizes& sizes, const Tiles& tiles, const Scales& scales) {
  if (static_cast<int64_t>(tiles.size()) != sizes.weights ||
      static_cast<int64_t>(scales.size()) != sizes.scales)
    throw std::invalid_argument("the packed memory has the wrong size");
  check_aligned(scales, "the packed memory");
}

PackedMatrix make_matrix(const std::string& format, int64_t outputs, int64_t inputs, int64_t group,
                         Array<uint8_t, nb::ndim<1>> tiles, Array<float, nb::ndim<1>> scales) {
  check_memory(checked_sizes(format, outputs, inputs, group), tiles, scales);
  return {view_packed(weight_format(format), outputs, inputs, group, tiles.data(), scales.data()),
          nb::cast(tiles), nb::cast(scales)};
}

std::pair<int64_t, int64_t> sizes_for_python(const std::string& format, int64_t outputs,
                                             int64_t inputs, int64_t group) {
  const PackedSizes sizes = checked_sizes(format, outputs, inputs, group);
  return {sizes.weights, sizes.scales};
}

nb::object multiply_rows(const PackedMatrix& packed, Array<float, nb::ndim<2>> x,
                         const std::string& kernels_name, int threads) {
  const Matrix& m = packed.matrix;
  if (static_cast<int64_t>(x.shape(1)) != m.inputs)
    throw std::invalid_argument("the rows do not have the matrix's number of inputs");
  check_aligned(x, "x");
  const Kernels& kernels = choose_kernels(kernels_name);
  const auto rows = static_cast<int64_t>(x.shape(0));
  auto out = std::make_unique<std::vector<float>>(static_cast<size_t>(rows * m.outputs));
  {
    nb::gil_scoped_release released;
    ThreadPool pool(checked_threads(threads));
    PreparedRows prepared;
    prepared.resize(m, rows);
    for (int64_t row = 0; row < rows; ++row) prepared.set(kernels, row, x.data() + row * m.inputs);
    multiply(kernels, pool, m, prepared, rows, out->data(), false);
  }
  return to_numpy(std::move(out), rows, m.outputs);
}

}  // namespace

nb::object to_numpy(std::unique_ptr<std::vector<float>> values, int64_t rows, int64_t columns) {
  float* const data = values->data();
  const size_t shape[2] = {static_cast<size_t>(rows), static_cast<size_t>(columns)};
  nb::capsule owner(values.get(),
                    [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  values.release();  // only now does the capsule own them
  return nb::cast(nb::ndarray<nb::numpy, float>(data, 2, shape, owner));
}

void bind_matrix(nb::module_& m) {
  m.def("packed_sizes", &sizes_for_python, "weight_format"_a, "outputs"_a, "inputs"_a, "group"_a);
  nb::class_<PackedMatrix>(m, "Matrix")
      .def(nb::new_(&make_matrix), nb::kw_only(), "weight_format"_a, "outputs"_a, "inputs"_a,
           "group"_a, nb::arg("tiles").noconvert(), nb::arg("scales").noconvert())
      .def("multiply", &multiply_rows, nb::arg("x").noconvert(), "kernels"_a = "", "threads"_a = 1);
}

}  // namespace ingot
