#include "rope.h"

#include <cmath>

namespace ingot {

Rope::Rope(int64_t head_dim, float theta) {
  for (int64_t i = 0; i < head_dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(head_dim);
    frequencies_.push_back(1.0f / std::pow(theta, exponent));
  }
}

void Rope::angles(int64_t position, float* cosines, float* sines) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const float angle = static_cast<float>(position) * frequencies_[i];
    cosines[i] = std::cos(angle);
    sines[i] = std::sin(angle);
  }
}

}  // namespace ingot
