#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

#include "finite.h"

namespace ingot {
namespace {

struct Candidate {
  int32_t token;
  double weight;
  double distance = 0;  // between its surprise and the entropy, for typical sampling
};

// Likelier first; the first of equals wins.
bool likelier(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

bool by_token(const Candidate& a, const Candidate& b) { return a.token < b.token; }

// Keeps the `count` likeliest, in order of token id.
void keep_largest(std::vector<Candidate>& candidates, size_t count) {
  if (count >= candidates.size()) return;
  std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(count),
                   candidates.end(), likelier);
  candidates.resize(count);
  std::sort(candidates.begin(), candidates.end(), by_token);
}

// Keeps the fewest first ones, in the order of `before`, whose shares sum to `goal`. Sorts only as
// many as needed: usually a few dozen of a vocabulary hold nearly all probability.
template <class Before, class Share>
void keep_fewest(std::vector<Candidate>& candidates, double goal, Before before, Share share) {
  double sum = 0;
  size_t sorted = 0, kept = 0;
  for (size_t limit = 64; kept < candidates.size() && sum < goal; limit *= 8) {
    const size_t end = std::min(limit, candidates.size());
    const auto begin = candidates.begin() + static_cast<std::ptrdiff_t>(sorted);
    const auto middle = candidates.begin() + static_cast<std::ptrdiff_t>(end);
    std::partial_sort(begin, middle, candidates.end(), before);
    for (sorted = end; kept < sorted && sum < goal; ++kept) sum += share(candidates[kept]);
  }
  // One must remain where all shares round to zero.
  candidates.resize(std::max<size_t>(kept, 1));
  std::sort(candidates.begin(), candidates.end(), by_token);
}

double total_of(const std::vector<Candidate>& candidates) {
  double total = 0;
  for (const Candidate& c : candidates) total += c.weight;
  return total;
}

// Keeps the likeliest that hold `top_p` of the total weight (arXiv:1904.09751).
void keep_nucleus(std::vector<Candidate>& candidates, double top_p) {
  keep_fewest(candidates, top_p * total_of(candidates), likelier,
              [](const Candidate& c) { return c.weight; });
}

// Keeps those whose surprise is nearest to the entropy and that hold `typical_p` of the total
// weight (arXiv:2202.00666).
void keep_typical(std::vector<Candidate>& candidates, double typical_p) {
  const double total = total_of(candidates);
  double entropy = 0;
  for (Candidate& c : candidates) {
    const double probability = c.weight / total;
    c.distance = probability > 0 ? -std::log(probability) : std::numeric_limits<double>::infinity();
    if (probability > 0) entropy += probability * c.distance;
  }
  for (Candidate& c : candidates) c.distance = std::fabs(c.distance - entropy);
  const auto nearer = [](const Candidate& a, const Candidate& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.token < b.token;
  };
  keep_fewest(candidates, typical_p, nearer, [&](const Candidate& c) { return c.weight / total; });
}

float adjusted(float score, double factor, double shift) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  const double wide = score;
  const double moved = (wide > 0 ? wide / factor : wide * factor) + shift;
  // The division may overflow to infinity; adding a finite shift to that never makes a NaN.
  return static_cast<float>(std::clamp(moved, -kLargest, kLargest));
}

bool allowed(const std::vector<uint32_t>& mask, int64_t token) {
  return mask.empty() || ((mask[static_cast<size_t>(token / 32)] >> (token % 32)) & 1);
}

// The tokens that the mask allows, with their adjusted scores, in order of token id.
std::vector<Candidate> candidates_of(const float* scores, int64_t count, const SamplingRow& row) {
  std::vector<Candidate> candidates;
  candidates.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    if (allowed(row.mask, i)) candidates.push_back({static_cast<int32_t>(i), scores[i]});
  // Binary search rather than an index by token, because the mask leaves gaps.
  const auto find = [&](int32_t token) {
    return std::lower_bound(candidates.begin(), candidates.end(), Candidate{token, 0}, by_token);
  };
  const Adjustment& adjust = row.adjustment;
  for (size_t i = 0; i < adjust.ids.size(); ++i) {
    const auto found = find(adjust.ids[i]);
    if (found != candidates.end() && found->token == adjust.ids[i])
      found->weight = adjusted(scores[adjust.ids[i]], adjust.factors[i], adjust.shifts[i]);
  }
  return candidates;
}

// Draws one of the candidates, whose weights are still scores; `highest` is the largest of them.
int32_t draw(std::vector<Candidate>& candidates, double highest, const SamplingRow& row) {
  for (Candidate& c : candidates) c.weight = (c.weight - highest) / row.temperature;
  if (row.top_k > 0) keep_largest(candidates, static_cast<size_t>(row.top_k));
  for (Candidate& c : candidates) c.weight = std::exp(c.weight);
  if (row.top_p < 1) keep_nucleus(candidates, row.top_p);
  if (row.min_p > 0)  // the likeliest has the weight exp(0) = 1
    std::erase_if(candidates, [&](const Candidate& c) { return c.weight < row.min_p; });
  if (row.typical_p < 1) keep_typical(candidates, row.typical_p);
  const double total = total_of(candidates);
  // Rounding must not carry the target to the total, past the last token with any weight.
  const double target =
      std::min(uniform(row.seed, row.position) * total, std::nextafter(total, 0.0));
  double cumulative = 0;
  for (const Candidate& c : candidates) {
    cumulative += c.weight;
    if (cumulative > target) return c.token;
  }
  return candidates.back().token;
}

// Returns kNoToken where the mask allows none.
int32_t sample_token(const float* scores, int64_t count, const SamplingRow& row) {
  const bool plain = row.mask.empty() && row.adjustment.ids.empty();
  if (plain && row.temperature == 0)  // max_element returns the first of equals
    return static_cast<int32_t>(std::max_element(scores, scores + count) - scores);
  std::vector<Candidate> candidates = candidates_of(scores, count, row);
  if (candidates.empty()) return kNoToken;
  const auto best = std::min_element(candidates.begin(), candidates.end(), likelier);
  return row.temperature == 0 ? best->token : draw(candidates, best->weight, row);
}

// Adds the log-probabilities of the sampled token and of the `wanted` likeliest.
void report(const float* scores, int64_t count, int32_t wanted, SampledToken& sampled) {
  const float highest = *std::max_element(scores, scores + count);
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += std::exp(static_cast<double>(scores[i] - highest));
  const double log_total = static_cast<double>(highest) + std::log(total);
  sampled.logprob = scores[sampled.token_id] - log_total;
  std::vector<int32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const auto middle = order.begin() + std::min<int64_t>(wanted, count);
  std::partial_sort(order.begin(), middle, order.end(), [&](int32_t a, int32_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
  for (auto it = order.begin(); it != middle; ++it)
    sampled.top.emplace_back(*it, scores[*it] - log_total);
}

}  // namespace

double uniform(uint64_t seed, uint64_t position) {
  // NumPy counts up before it draws, so its first block has the counter 1.
  uint64_t c[4] = {1, 0, 0, 0};
  uint64_t key[2] = {seed, position};
  for (int round = 0; round < 10; ++round) {
    const auto a = static_cast<unsigned __int128>(c[0]) * 0xD2E7470EE14C6C93u;
    const auto b = static_cast<unsigned __int128>(c[2]) * 0xCA5A826395121157u;
    const uint64_t next[4] = {
        static_cast<uint64_t>(b >> 64) ^ c[1] ^ key[0], static_cast<uint64_t>(b),
        static_cast<uint64_t>(a >> 64) ^ c[3] ^ key[1], static_cast<uint64_t>(a)};
    std::copy(next, next + 4, c);
    key[0] += 0x9E3779B97F4A7C15u;
    key[1] += 0xBB67AE8584CAA73Bu;
  }
  return static_cast<double>(c[0] >> 11) * 0x1p-53;
}

SampledToken sample(const float* scores, int64_t count, const SamplingRow& row) {
  SampledToken sampled;
  if (!all_finite(scores, count)) {
    sampled.error = SampleError::not_finite;
    return sampled;
  }
  sampled.token_id = row.forced_token == kNoToken ? sample_token(scores, count, row)
                                                  : static_cast<int32_t>(row.forced_token);
  if (sampled.token_id == kNoToken) {
    sampled.error = SampleError::none_allowed;
  } else if (row.logprobs >= 0) {
    report(scores, count, row.logprobs, sampled);
  }
  return sampled;
}

}  // namespace ingot
