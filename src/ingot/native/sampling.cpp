#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ingot {
namespace {

struct Candidate {
  int32_t token;
  double weight;
};

// Likelier first; the first of equals wins.
bool likelier(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

bool by_token(const Candidate& a, const Candidate& b) { return a.token < b.token; }

// Infinity minus itself and NaN are the only values whose product with zero is not zero.
bool all_finite(const float* scores, int64_t count) {
  float poison = 0;
  for (int64_t i = 0; i < count; ++i) poison += scores[i] * 0.0f;
  return poison == 0.0f;
}

// Keeps the `count` likeliest, in order of token.
void keep_largest(std::vector<Candidate>& candidates, size_t count) {
  if (count >= candidates.size()) return;
  std::nth_element(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(count),
                   candidates.end(), likelier);
  candidates.resize(count);
  std::sort(candidates.begin(), candidates.end(), by_token);
}

// Keeps the fewest of the likeliest that hold `top_p` of all weight, ranking only as many as needed.
void keep_nucleus(std::vector<Candidate>& candidates, double top_p) {
  double total = 0;
  for (const Candidate& c : candidates) total += c.weight;
  const double goal = top_p * total;
  double held = 0;
  size_t ranked = 0, kept = 0;
  for (size_t want = 64; kept < candidates.size() && held < goal; want *= 8) {
    const size_t end = std::min(want, candidates.size());
    const auto begin = candidates.begin() + static_cast<ptrdiff_t>(ranked);
    const auto middle = candidates.begin() + static_cast<ptrdiff_t>(end);
    std::partial_sort(begin, middle, candidates.end(), likelier);
    for (ranked = end; kept < ranked && held < goal; ++kept) held += candidates[kept].weight;
  }
  candidates.resize(std::max<size_t>(kept, 1));
  std::sort(candidates.begin(), candidates.end(), by_token);
}

int32_t draw(const float* scores, int64_t count, float highest, const Sampling& how) {
  std::vector<Candidate> candidates(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    candidates[i] = {static_cast<int32_t>(i),
                     (static_cast<double>(scores[i]) - highest) / how.temperature};
  if (how.top_k > 0) keep_largest(candidates, static_cast<size_t>(how.top_k));
  for (Candidate& c : candidates) c.weight = std::exp(c.weight);
  if (how.top_p < 1) keep_nucleus(candidates, how.top_p);
  if (how.min_p > 0)  // the likeliest weighs exp(0) = 1
    std::erase_if(candidates, [&](const Candidate& c) { return c.weight < how.min_p; });
  double total = 0;
  for (const Candidate& c : candidates) total += c.weight;
  // Rounding must not carry the target to the total, past the last token with any weight.
  const double target =
      std::min(uniform(how.seed, how.position) * total, std::nextafter(total, 0.0));
  double cumulative = 0;
  for (const Candidate& c : candidates) {
    cumulative += c.weight;
    if (cumulative > target) return c.token;
  }
  return candidates.back().token;
}

void report(const float* scores, int64_t count, float highest, int32_t wanted, Choice& choice) {
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += std::exp(static_cast<double>(scores[i] - highest));
  const double scale = static_cast<double>(highest) + std::log(total);
  choice.logprob = scores[choice.token] - scale;
  std::vector<int32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const auto middle = order.begin() + std::min<int64_t>(wanted, count);
  std::partial_sort(order.begin(), middle, order.end(), [&](int32_t a, int32_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
  for (auto it = order.begin(); it != middle; ++it)
    choice.top.emplace_back(*it, scores[*it] - scale);
}

}  // namespace

double uniform(uint64_t seed, uint64_t position) {
  // NumPy counts up before it draws, so its first block has the counter 1.
  uint64_t c[4] = {1, 0, 0, 0};
  uint64_t key[2] = {seed, position};
  for (int round = 0; round < 10; ++round) {
    const auto a = static_cast<unsigned __int128>(c[0]) * 0xD2E7470EE14C6C93u;
    const auto b = static_cast<unsigned __int128>(c[2]) * 0xCA5A826395121157u;
    const uint64_t next[4] = {static_cast<uint64_t>(b >> 64) ^ c[1] ^ key[0],
                              static_cast<uint64_t>(b),
                              static_cast<uint64_t>(a >> 64) ^ c[3] ^ key[1],
                              static_cast<uint64_t>(a)};
    std::copy(next, next + 4, c);
    key[0] += 0x9E3779B97F4A7C15u;
    key[1] += 0xBB67AE8584CAA73Bu;
  }
  return static_cast<double>(c[0] >> 11) * 0x1p-53;
}

Choice choose(const float* scores, int64_t count, const Sampling& how) {
  Choice choice;
  if (!all_finite(scores, count)) return choice;
  const float* best = std::max_element(scores, scores + count);  // the first of equals
  choice.token = how.temperature == 0 ? static_cast<int32_t>(best - scores)
                                      : draw(scores, count, *best, how);
  if (how.logprobs >= 0) report(scores, count, *best, how.logprobs, choice);
  return choice;
}

}  // namespace ingot
