// What the files of the Python module share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

#include "kernels.h"
#include "matrix.h"

namespace ingot {

// A matrix over packed memory, which it keeps alive.
struct PackedMatrix {
  Matrix matrix;
  nanobind::object tiles, scales;
};

// Throws std::invalid_argument where there is none of that name.
CacheKind cache_kind(const std::string& name);

// Adds the functions that benchmarks call.
void bind_measures(nanobind::module_& m);

}  // namespace ingot
