#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

namespace ingot {
namespace {

struct Candidate {
  int32_t token;
  double weight;
  double distance = 0;  // of its surprise from the entropy, for typical sampling
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
  std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(count),
                   candidates.end(), likelier);
  candidates.resize(count);
  std::sort(candidates.begin(), candidates.end(), by_token);
}

// Keeps the fewest, in the order of `before`, whose shares reach `goal`; ranks only as many as
// needed. `share` is what one holds.
template <class Before, class Share>
void keep_fewest(std::vector<Candidate>& candidates, double goal, Before before, Share share) {
  double held = 0;
  size_t ranked = 0, kept = 0;
  for (size_t want = 64; kept < candidates.size() && held < goal; want *= 8) {
    const size_t end = std::min(want, candidates.size());
    const auto begin = candidates.begin() + static_cast<std::ptrdiff_t>(ranked);
    const auto middle = candidates.begin() + static_cast<std::ptrdiff_t>(end);
    std::partial_sort(begin, middle, candidates.end(), before);
    for (ranked = end; kept < ranked && held < goal; ++kept) held += share(candidates[kept]);
  }
  candidates.resize(std::max<size_t>(kept, 1));
  std::sort(candidates.begin(), candidates.end(), by_token);
}

double total_of(const std::vector<Candidate>& candidates) {
  double total = 0;
  for (const Candidate& c : candidates) total += c.weight;
  return total;
}

// The likeliest that hold `top_p` of all weight (arXiv:1904.09751).
void keep_nucleus(std::vector<Candidate>& candidates, double top_p) {
  keep_fewest(candidates, top_p * total_of(candidates), likelier,
              [](const Candidate& c) { return c.weight; });
}

// Those whose surprise is nearest to the entropy and that hold `typical_p` (arXiv:2202.00666).
void keep_typical(std::vector<Candidate>& candidates, double typical_p) {
  const double total = total_of(candidates);
  double entropy = 0;
  for (Candidate& c : candidates) {
    const double chance = c.weight / total;
    c.distance = chance > 0 ? -std::log(chance) : std::numeric_limits<double>::infinity();
    if (chance > 0) entropy += chance * c.distance;
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
  return static_cast<float>(std::clamp(moved, -kLargest, kLargest));
}

bool allowed(const std::vector<uint32_t>& mask, int64_t token) {
  return mask.empty() || ((mask[static_cast<size_t>(token / 32)] >> (token % 32)) & 1);
}

// The tokens that may be drawn, with their adjusted scores, in order of token.
std::vector<Candidate> candidates_of(const float* scores, int64_t count, const Sampling& how) {
  std::vector<Candidate> candidates;
  candidates.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    if (allowed(how.mask, i)) candidates.push_back({static_cast<int32_t>(i), scores[i]});
  const auto find = [&](int32_t token) {
    return std::lower_bound(candidates.begin(), candidates.end(), Candidate{token, 0}, by_token);
  };
  const Adjustment& adjust = how.adjustment;
  for (size_t i = 0; i < adjust.ids.size(); ++i) {
    const auto found = find(adjust.ids[i]);
    if (found != candidates.end() && found->token == adjust.ids[i])
      found->weight = adjusted(scores[adjust.ids[i]], adjust.factors[i], adjust.shifts[i]);
  }
  return candidates;
}

// Draws from candidates whose weights are still scores; `highest` is the largest of them.
int32_t draw(std::vector<Candidate>& candidates, double highest, const Sampling& how) {
  for (Candidate& c : candidates) c.weight = (c.weight - highest) / how.temperature;
  if (how.top_k > 0) keep_largest(candidates, static_cast<size_t>(how.top_k));
  for (Candidate& c : candidates) c.weight = std::exp(c.weight);
  if (how.top_p < 1) keep_nucleus(candidates, how.top_p);
  if (how.min_p > 0)  // the likeliest weighs exp(0) = 1
    std::erase_if(candidates, [&](const Candidate& c) { return c.weight < how.min_p; });
  if (how.typical_p < 1) keep_typical(candidates, how.typical_p);
  const double total = total_of(candidates);
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

int32_t pick(const float* scores, int64_t count, const Sampling& how) {
  const bool plain = how.mask.empty() && how.adjustment.ids.empty();
  if (plain && how.temperature == 0)  // the first of equals
    return static_cast<int32_t>(std::max_element(scores, scores + count) - scores);
  std::vector<Candidate> candidates = candidates_of(scores, count, how);
  if (candidates.empty()) return kNoneAllowed;
  const auto best = std::min_element(candidates.begin(), candidates.end(), likelier);
  return how.temperature == 0 ? best->token : draw(candidates, best->weight, how);
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
    const uint64_t next[4] = {
        static_cast<uint64_t>(b >> 64) ^ c[1] ^ key[0], static_cast<uint64_t>(b),
        static_cast<uint64_t>(a >> 64) ^ c[3] ^ key[1], static_cast<uint64_t>(a)};
    std::copy(next, next + 4, c);
    key[0] += 0x9E3779B97F4A7C15u;
    key[1] += 0xBB67AE8584CAA73Bu;
  }
  return static_cast<double>(c[0] >> 11) * 0x1p-53;
}

Choice choose(const float* scores, int64_t count, const Sampling& how) {
  Choice choice;
  choice.token = kNotFinite;
  if (!all_finite(scores, count)) return choice;
  choice.token = how.given >= 0 ? static_cast<int32_t>(how.given) : pick(scores, count, how);
  if (how.logprobs >= 0 && choice.token >= 0)
    report(scores, count, *std::max_element(scores, scores + count), how.logprobs, choice);
  return choice;
}

}  // namespace ingot
