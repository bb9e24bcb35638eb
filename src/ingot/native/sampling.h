// Choosing the next token; the same steps and the same random numbers as ingot.inference.sampling.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace ingot {

struct Sampling {
  double temperature = 0;  // 0 is greedy
  double top_p = 1;
  double min_p = 0;
  int64_t top_k = 0;  // 0 keeps all
  uint64_t seed = 0;
  uint64_t position = 0;
  int32_t logprobs = -1;  // how many of the likeliest to report; -1 for none at all
};

struct Choice {
  int32_t token = -1;  // -1: a score was not finite
  double logprob = 0;
  std::vector<std::pair<int32_t, double>> top;
};

// The number in [0, 1) that belongs to (seed, position): Philox 4x64-10 with that key, first
// word of the first block (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
double uniform(uint64_t seed, uint64_t position);

// Chooses from scores (count,).
Choice choose(const float* scores, int64_t count, const Sampling& how);

}  // namespace ingot
