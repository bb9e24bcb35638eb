// The angles of the rotary position embedding.
#pragma once

#include <cstdint>
#include <vector>

namespace ingot {

class Rope {
 public:
  Rope(int64_t head_dim, float theta);
  int64_t half() const { return static_cast<int64_t>(frequencies_.size()); }
  // Cosines and sines (head_dim / 2,) of one position, in float32 as the PyTorch module has them.
  void angles(int64_t position, float* cosines, float* sines) const;

 private:
  std::vector<float> frequencies_;
};

}  // namespace ingot
