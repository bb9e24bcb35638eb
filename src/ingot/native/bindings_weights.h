// The shape and the weights of a model, from Python's records.
#pragma once

#include <nanobind/nanobind.h>

#include <vector>

#include "model_shape.h"

namespace ingot {

// Both throw std::invalid_argument that names a field of another type. What does not fit together
// is found by check_shapes().
ModelShape read_shape(nanobind::handle shape);  // without the vocabulary, which the weights tell

// Adds the objects that the weights point into to `kept_alive`.
ModelWeights read_weights(nanobind::handle weights, const ModelShape& shape,
                          std::vector<nanobind::object>& kept_alive);

}  // namespace ingot
