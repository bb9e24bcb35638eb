// Choosing the next token; the same steps and the same random numbers as ingot.inference.sampling.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace ingot {

// What penalties and bias do to some tokens' scores: score / factor where positive, score * factor
// where not, then + shift; in double, rounded to float.
struct Adjustment {
  std::vector<int32_t> ids;
  std::vector<double> factors, shifts;
};

struct Sampling {
  double temperature = 0;  // 0 is greedy
  double top_p = 1;
  double min_p = 0;
  double typical_p = 1;
  int64_t top_k = 0;  // 0 keeps all
  uint64_t seed = 0;
  uint64_t position = 0;
  int32_t logprobs = -1;  // how many of the likeliest to report; -1 for none at all
  int64_t given = -1;     // a token that is known: report on it, draw nothing
  Adjustment adjustment = {};
  std::vector<uint32_t> mask = {};  // bit i % 32 of word i / 32: token i may be drawn; empty: all
};

struct Choice {
  int32_t token = -1;  // kNotFinite or kNoneAllowed where nothing was drawn
  double logprob = 0;
  std::vector<std::pair<int32_t, double>> top;
};

inline constexpr int32_t kNotFinite = -1, kNoneAllowed = -2;

// The number in [0, 1) that belongs to (seed, position): Philox 4x64-10 with that key, first
// word of the first block (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
double uniform(uint64_t seed, uint64_t position);

// Chooses from scores (count,). Log-probabilities are those of the scores as they come.
Choice choose(const float* scores, int64_t count, const Sampling& how);

}  // namespace ingot
