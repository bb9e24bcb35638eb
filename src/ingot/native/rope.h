// The angles of a rotary position embedding (arXiv:2104.09864).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "buffer.h"

namespace ingot {

// Pair i of a head, (x[i], x[half + i]), turns by frequencies[i] radians a position; what is past
// the pairs stays. Cosines and sines are multiplied by the factor.
struct RopeTable {
  std::vector<float> frequencies;  // (half,)
  float factor;
};

// The cosines and sines of a table for the rows of a step.
class Rope {
 public:
  explicit Rope(RopeTable table) : table_(std::move(table)) {}
  int64_t half() const { return static_cast<int64_t>(table_.frequencies.size()); }
  // Allocates `rows` rows; set() fills them. Threads may set different rows at the same time.
  void resize(int64_t rows);
  // In float32, as the PyTorch module has them.
  void set(int64_t row, int64_t position);
  const float* cosines(int64_t row) const { return cosines_.get() + row * half(); }
  const float* sines(int64_t row) const { return sines_.get() + row * half(); }

 private:
  RopeTable table_;
  Buffer<float> cosines_, sines_;
};

}  // namespace ingot
