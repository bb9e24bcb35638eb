// Runs training's kernels without Python, to be built with sanitizers: sizes that fill no vector,
// block or cache evenly, in memory of exactly their size, beside plain arithmetic in double.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "attention.h"
#include "elementwise.h"
#include "norm.h"

namespace ingot {
namespace {

template <class Value>
using Values = std::vector<Value>;

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

void put(uint16_t& bits, float drawn) {
  uint32_t word;
  std::memcpy(&word, &drawn, sizeof(word));
  bits = static_cast<uint16_t>(word >> 16);
}
void put(float& value, float drawn) { value = drawn; }

template <class Value>
Values<Value> random_values(std::mt19937& random, int64_t count) {
  std::normal_distribution<float> normal;
  Values<Value> values(static_cast<size_t>(count));
  for (Value& value : values) put(value, normal(random));
  return values;
}

// Whether `found` is `right` to a share of its length, as a vector.
template <class Value>
bool close(const Values<Value>& found, const Values<double>& right, double share = 0.006) {
  double off = 0, length = 0;
  for (size_t i = 0; i < right.size(); ++i) {
    off += std::pow(number(found[i]) - right[i], 2);
    length += right[i] * right[i];
  }
  return std::sqrt(off) <= share * std::sqrt(length) + 1e-9;
}

template <class Value>
void test_attention(ThreadPool& pool, const AttentionShape& s, bool bounded) {
  std::mt19937 random(7);
  const int64_t q_size = s.windows * s.tokens * s.query_heads * s.width;
  const int64_t k_size = s.windows * s.tokens * s.key_heads * s.width;
  const auto draw = [&](int64_t count) { return random_values<Value>(random, count); };
  const Values<Value> q = draw(q_size), k = draw(k_size), v = draw(k_size), by = draw(q_size);
  std::vector<int32_t> starts(static_cast<size_t>(s.windows * s.tokens));
  if (bounded)
    for (size_t i = 0; i < starts.size(); ++i)
      starts[i] = static_cast<int32_t>(random() % (i % static_cast<size_t>(s.tokens) + 1));
  const AttentionInput<Value> input{q.data(), k.data(), v.data(),
                                    bounded ? starts.data() : nullptr};
  Values<Value> mixed(q.size()), grad_q(q.size()), grad_k(k.size()), grad_v(v.size());
  std::vector<float> totals(static_cast<size_t>(s.windows * s.query_heads * s.tokens));
  attend_forward<Value>(pool, s, input, {mixed.data(), totals.data()});
  attend_backward<Value>(pool, s, input, totals.data(),
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
        const auto dot = [&](const Values<Value>& x, size_t at, const Values<Value>& y,
                             size_t from) {
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
  const double share = sizeof(Value) == sizeof(float) ? 1e-5 : 0.006;
  demand(close(mixed, out, share), "what is mixed");
  demand(close(grad_v, dv, share), "the gradient by values");
  if (s.tokens == 1) return;  // there the other gradients are zero
  demand(close(grad_q, dq, share), "the gradient by queries");
  demand(close(grad_k, dk, share), "the gradient by keys");
}

template <class Out, class Value>
void test_norm(ThreadPool& pool, const Values<Value>& x, int64_t width, bool rotated) {
  const auto size = static_cast<int64_t>(x.size());
  const int64_t rows = size / width, half = width / 2, heads = 2, count = 2;
  std::mt19937 random(3);
  const Values<Out> by = random_values<Out>(random, size);
  const Values<float> weight = random_values<float>(random, width);
  std::vector<float> cosines, sines, grad_weight(static_cast<size_t>(width));
  for (int64_t i = 0; i < count * half; ++i) {
    cosines.push_back(std::cos(static_cast<float>(i)));
    sines.push_back(std::sin(static_cast<float>(i)));
  }
  const Rotation rotation{rotated ? cosines.data() : nullptr, sines.data(), count, heads};
  Values<Out> out(x.size());
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

void test_gate(ThreadPool& pool, int64_t count) {
  std::mt19937 random(5);
  const auto draw = [&] { return random_values<float>(random, count); };
  const Values<float> gate = draw(), up = draw(), by = draw();
  Values<float> out(gate.size()), grad_gate(gate.size()), grad_up(gate.size());
  gate_forward(pool, count, gate.data(), up.data(), out.data());
  gate_backward(pool, count, gate.data(), up.data(), by.data(), grad_gate.data(), grad_up.data());
  Values<double> y, dgate, dup;
  for (size_t i = 0; i < gate.size(); ++i) {
    const double g = gate[i], share = 1 / (1 + std::exp(-g));
    y.push_back(g * share * up[i]);
    dup.push_back(g * share * by[i]);
    dgate.push_back(by[i] * up[i] * share * (1 + g * (1 - share)));
  }
  demand(close(out, y, 1e-6), "what is gated");
  demand(close(grad_gate, dgate, 1e-6), "the gradient by the gate");
  demand(close(grad_up, dup, 1e-6), "the gradient by what is gated");
}

void test_cross_entropy(ThreadPool& pool, int64_t rows, int64_t width) {
  std::mt19937 random(6);
  Values<float> logits = random_values<float>(random, rows * width);
  std::vector<int64_t> targets;
  for (int64_t i = 0; i < rows; ++i) targets.push_back(static_cast<int64_t>(random()) % width);
  Values<double> wanted, gradient;
  for (int64_t i = 0; i < rows; ++i) {
    const auto at = [&](int64_t k) { return static_cast<size_t>(i * width + k); };
    const int64_t target = targets[static_cast<size_t>(i)];
    double total = 0;
    for (int64_t k = 0; k < width; ++k) total += std::exp(static_cast<double>(logits[at(k)]));
    wanted.push_back(std::log(total) - logits[at(target)]);
    for (int64_t k = 0; k < width; ++k)
      gradient.push_back(std::exp(static_cast<double>(logits[at(k)])) / total - (k == target));
  }
  Values<float> losses(static_cast<size_t>(rows));
  cross_entropy(pool, rows, width, targets.data(), logits.data(), losses.data());
  demand(width == 1 || close(losses, wanted, 1e-6), "the cross-entropy");
  demand(close(logits, gradient, 1e-6), "its gradient");
}

template <class Value>
void test_attentions(ThreadPool& pool) {
  for (const bool bounded : {false, true})
    for (const AttentionShape& shape :
         {AttentionShape{2, 1, 2, 1, 16}, AttentionShape{1, 2, 1, 1, 48},
          AttentionShape{3, 33, 4, 2, 32}, AttentionShape{1, 67, 3, 1, 80},
          AttentionShape{2, 64, 2, 2, 64}, AttentionShape{1, 31, 1, 1, 256}})
      test_attention<Value>(pool, shape, bounded);
}

template <class Out, class Value>
void test_norms(ThreadPool& pool) {
  std::mt19937 random(1);
  for (const int64_t width : {16, 32, 48, 96, 1056})
    for (const int64_t rows : {1, 8, 132}) {
      const Values<Value> x = random_values<Value>(random, rows * width);
      for (const bool rotated : {false, width % 32 == 0 && rows % 4 == 0})
        test_norm<Out>(pool, x, width, rotated);
    }
}

}  // namespace
}  // namespace ingot

int main() {
  using namespace ingot;
  ThreadPool pool(3);
  if (supported<uint16_t>()) {
    test_attentions<uint16_t>(pool);
    test_norms<uint16_t, uint16_t>(pool);
    test_norms<uint16_t, float>(pool);
    std::puts("training's kernels in bfloat16: ok");
  }
  if (supported<float>()) {
    test_attentions<float>(pool);
    test_norms<float, float>(pool);
    for (const int64_t count : {1, 15, 16, 8200, 20000}) test_gate(pool, count);
    for (const int64_t width : {1, 15, 16, 65, 4099}) test_cross_entropy(pool, 7, width);
    std::puts("training's kernels in float32: ok");
  }
}
