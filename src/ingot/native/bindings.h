// Declarations shared by the files of the Python module.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "matrix.h"

namespace ingot {

// A matrix over packed memory, which it keeps alive.
struct PackedMatrix {
  Matrix matrix;
  nanobind::object tiles, scales;
};

// Both throw std::invalid_argument for an unknown name or a number out of range.
CacheFormat cache_format(const std::string& name);
int checked_threads(int threads);

// An array (rows, columns) that owns its values.
nanobind::object to_numpy(std::unique_ptr<std::vector<float>> values, int64_t rows,
                          int64_t columns);

// Add Matrix and its functions, Model, the functions that benchmarks call, and tokenizing.
void bind_matrix(nanobind::module_& m);
void bind_model(nanobind::module_& m);
void bind_measures(nanobind::module_& m);
void bind_tokenizer(nanobind::module_& m);

}  // namespace ingot
