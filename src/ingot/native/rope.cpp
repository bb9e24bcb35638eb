#include "rope.h"

#include <cmath>

namespace ingot {

void Rope::resize(int64_t rows) {
  cosines_.at_least(rows * half());
  sines_.at_least(rows * half());
}

void Rope::set(int64_t row, int64_t position) {
  float* const cosines = cosines_.get() + row * half();
  float* const sines = sines_.get() + row * half();
  for (int64_t i = 0; i < half(); ++i) {
    const float angle = static_cast<float>(position) * table_.frequencies[static_cast<size_t>(i)];
    cosines[i] = std::cos(angle) * table_.factor;
    sines[i] = std::sin(angle) * table_.factor;
  }
}

}  // namespace ingot
