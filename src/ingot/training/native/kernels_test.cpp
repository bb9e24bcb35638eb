// Runs training's kernels without Python, to be built with sanitizers: sizes that fill no vector,
// block or cache evenly, in memory of exactly their size, beside plain arithmetic in double.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "attention.h"
#include "norm.h"

namespace ingot {
namespace {

using Bits = std::vector<uint16_t>;

void demand(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

double number(uint16_t bits) {
  const uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}
double number(float value) { return value; }

Bits random_bits(std::mt19937& random, int64_t count) {
  std::normal_distribution<float> normal;
  Bits bits(static_cast<size_t>(count));
  for (uint16_t& value : bits) {
    const float drawn = normal(random);
    uint32_t word;
    std::memcpy(&word, &drawn, sizeof(word));
    value = static_cast<uint16_t>(word >> 16);
  }
  return bits;
}

// Whether `found` is `right` to a share of its length, as a vector.
template <class Value>
bool close(const std::vector<Value>& found, const std::vector<double>& right) {
  double off = 0, length = 0;
  for (size_t i = 0; i < right.size(); ++i) {
    off += std::pow(number(found[i]) - right[i], 2);
    length += right[i] * right[i];
  }
  return std::sqrt(off) <= 0.006 * std::sqrt(length) + 1e-9;
}

void test_attention(ThreadPool& pool, const AttentionShape& s, bool bounded) {
  std::mt19937 random(7);
  const int64_t q_size = s.windows * s.tokens * s.query_heads * s.width;
  const int64_t k_size = s.windows * s.tokens * s.key_heads * s.width;
  const Bits q = random_bits(random, q_size), k = random_bits(random, k_size),
             v = random_bits(random, k_size), by = random_bits(random, q_size);
  std::vector<int32_t> starts(static_cast<size_t>(s.windows * s.tokens));
  if (bounded)
    for (size_t i = 0; i < starts.size(); ++i)
      starts[i] = static_cast<int32_t>(random() % (i % static_cast<size_t>(s.tokens) + 1));
  const AttentionInput input{q.data(), k.data(), v.data(), bounded ? starts.data() : nullptr};
  Bits mixed(q.size()), grad_q(q.size()), grad_k(k.size()), grad_v(v.size());
  std::vector<float> totals(static_cast<size_t>(s.windows * s.query_heads * s.tokens));
  attend_forward(pool, s, input, {mixed.data(), totals.data()});
  attend_backward(pool, s, input, totals.data(),
                  {by.data(), grad_q.data(), grad_k.data(), grad_v.data()});

  std::vector<double> out(q.size()), dq(q.size()), dk(k.size()), dv(v.size());
  const double scale = 1 / std::sqrt(static_cast<double>(s.width));
  for (int64_t b = 0; b < s.windows; ++b)
    for (int64_t h = 0; h < s.query_heads; ++h)
      for (int64_t i = 0; i < s.tokens; ++i) {
        const int64_t g = h / (s.query_heads / s.key_heads), w = s.width;
        const auto row = [&](int64_t t) {
          return static_cast<size_t>(((b * s.tokens + t) * s.query_heads + h) * w);
        };
        const auto key = [&](int64_t t) {
          return static_cast<size_t>(((b * s.tokens + t) * s.key_heads + g) * w);
        };
        const auto dot = [&](const Bits& x, size_t at, const Bits& y, size_t from) {
          double sum = 0;
          for (size_t d = 0; d < static_cast<size_t>(w); ++d)
            sum += number(x[at + d]) * number(y[from + d]);
          return sum;
        };
        const int64_t first = starts[static_cast<size_t>(b * s.tokens + i)];
        std::vector<double> p, grad_weights;
        double total = 0, mean = 0;
        for (int64_t t = first; t <= i; ++t)
          p.push_back(std::exp(dot(q, row(i), k, key(t)) * scale));
        for (const double weight : p) total += weight;
        for (double& weight : p) weight /= total;
        for (int64_t t = first; t <= i; ++t) {
          grad_weights.push_back(dot(by, row(i), v, key(t)));
          mean += grad_weights.back() * p[static_cast<size_t>(t - first)];
        }
        for (int64_t t = first; t <= i; ++t) {
          const double weight = p[static_cast<size_t>(t - first)];
          const double ds = weight * (grad_weights[static_cast<size_t>(t - first)] - mean) * scale;
          for (size_t d = 0; d < static_cast<size_t>(w); ++d) {
            out[row(i) + d] += weight * number(v[key(t) + d]);
            dv[key(t) + d] += weight * number(by[row(i) + d]);
            dq[row(i) + d] += ds * number(k[key(t) + d]);
            dk[key(t) + d] += ds * number(q[row(i) + d]);
          }
        }
      }
  demand(close(mixed, out), "what is mixed");
  demand(close(grad_v, dv), "the gradient by values");
  if (s.tokens == 1) return;  // there the other gradients are zero
  demand(close(grad_q, dq), "the gradient by queries");
  demand(close(grad_k, dk), "the gradient by keys");
}

template <class Value>
void test_norm(ThreadPool& pool, const std::vector<Value>& x, int64_t width, bool rotated) {
  const auto size = static_cast<int64_t>(x.size());
  const int64_t rows = size / width, half = width / 2, heads = 2, count = 2;
  std::mt19937 random(3);
  const Bits by = random_bits(random, size), drawn = random_bits(random, width);
  std::vector<float> weight, cosines, sines, grad_weight(static_cast<size_t>(width));
  for (const uint16_t bits : drawn) weight.push_back(static_cast<float>(number(bits)));
  for (int64_t i = 0; i < count * half; ++i) {
    cosines.push_back(std::cos(static_cast<float>(i)));
    sines.push_back(std::sin(static_cast<float>(i)));
  }
  const Rotation rotation{rotated ? cosines.data() : nullptr, sines.data(), count, heads};
  Bits out(x.size());
  std::vector<Value> grad_x(x.size());
  norm_forward(pool, {rows, width, 1e-6f}, x.data(), weight.data(), rotation, out.data());
  norm_backward(pool, {rows, width, 1e-6f}, x.data(), weight.data(), rotation, by.data(),
                grad_x.data(), grad_weight.data());

  std::vector<double> y(x.size()), dx(x.size()), dweight(static_cast<size_t>(width));
  for (int64_t row = 0; row < rows; ++row) {
    const auto at = [&](int64_t i) { return static_cast<size_t>(row * width + i); };
    double squares = 0, mean = 0;
    for (int64_t i = 0; i < width; ++i) squares += number(x[at(i)]) * number(x[at(i)]);
    const double r = 1 / std::sqrt(squares / static_cast<double>(width) + 1e-6);
    std::vector<double> g(static_cast<size_t>(width));
    for (int64_t i = 0; i < width; ++i) {
      const size_t one = static_cast<size_t>(i), other = static_cast<size_t>((i + half) % width);
      const auto angle = static_cast<size_t>(row / heads % count * half + i % half);
      const double c = rotated ? cosines[angle] : 1, s = rotated ? sines[angle] : 0;
      const double sign = i < half ? -1 : 1;
      y[at(i)] = r * (number(x[at(i)]) * weight[one] * c +
                      sign * number(x[at(static_cast<int64_t>(other))]) * weight[other] * s);
      g[one] = number(by[at(i)]) * c - sign * number(by[at(static_cast<int64_t>(other))]) * s;
    }
    for (int64_t i = 0; i < width; ++i) {
      const size_t one = static_cast<size_t>(i);
      dweight[one] += g[one] * number(x[at(i)]) * r;
      mean += g[one] * weight[one] * number(x[at(i)]) * r / static_cast<double>(width);
    }
    for (int64_t i = 0; i < width; ++i)
      dx[at(i)] = r * (g[static_cast<size_t>(i)] * weight[static_cast<size_t>(i)] -
                       number(x[at(i)]) * r * mean);
  }
  demand(close(out, y), "what is normalised");
  demand(close(grad_x, dx), "the gradient by what is normalised");
  demand(close(grad_weight, dweight), "the gradient by the weight");
}

}  // namespace
}  // namespace ingot

int main() {
  using namespace ingot;
  if (!supported()) return std::puts("no kernels for this CPU"), 0;
  ThreadPool pool(3);
  for (const bool bounded : {false, true})
    for (const AttentionShape& shape :
         {AttentionShape{2, 1, 2, 1, 16}, AttentionShape{1, 2, 1, 1, 48},
          AttentionShape{3, 33, 4, 2, 32}, AttentionShape{1, 67, 3, 1, 80},
          AttentionShape{2, 64, 2, 2, 64}, AttentionShape{1, 31, 1, 1, 256}})
      test_attention(pool, shape, bounded);
  std::mt19937 random(1);
  for (const int64_t width : {16, 32, 48, 96, 1056})
    for (const int64_t rows : {1, 8, 132}) {
      const Bits bits = random_bits(random, rows * width);
      std::vector<float> floats;
      for (const uint16_t value : bits) floats.push_back(static_cast<float>(number(value)));
      for (const bool rotated : {false, width % 32 == 0 && rows % 4 == 0}) {
        test_norm(pool, bits, width, rotated);
        test_norm(pool, floats, width, rotated);
      }
    }
  std::puts("training's kernels: ok");
}
