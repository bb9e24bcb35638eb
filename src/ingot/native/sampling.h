// Sampling of the next token: the steps and random numbers of ingot.inference.executors.sampling.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace ingot {

// What penalties and bias do to the scores of some tokens: score / factor where positive,
// score * factor where not, then + shift; in double, rounded to float.
struct Adjustment {
  std::vector<int32_t> ids;
  std::vector<double> factors, shifts;
};

inline constexpr int32_t kNoToken = -1;

// How to sample the token after one position.
struct SamplingRow {
  double temperature = 0;  // 0 is greedy
  double top_p = 1;
  double min_p = 0;
  double typical_p = 1;
  int64_t top_k = 0;  // 0 keeps all
  uint64_t seed = 0;
  uint64_t position = 0;            // of the token to sample; with `seed`, the random stream's key
  int32_t logprobs = -1;            // how many of the likeliest to report; -1: report nothing
  int64_t forced_token = kNoToken;  // report on this known token instead of sampling one
  Adjustment adjustment = {};
  std::vector<uint32_t> mask = {};  // bit i % 32 of word i / 32: token i is allowed; empty: all
};

enum class SampleError { none, not_finite, none_allowed };

struct SampledToken {
  int32_t token_id = kNoToken;  // kNoToken where there is an error
  double logprob = 0;
  std::vector<std::pair<int32_t, double>> top;  // the likeliest tokens with theirs, in order
  SampleError error = SampleError::none;
};

// The number in [0, 1) that belongs to (seed, position): Philox 4x64-10 with that key, first
// word of the first block (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
double uniform(uint64_t seed, uint64_t position);

// Samples from scores (count,). Log-probabilities are those of the scores as they come.
SampledToken sample(const float* scores, int64_t count, const SamplingRow& row);

}  // namespace ingot
