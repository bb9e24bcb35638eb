#include <algorithm>

#include "elementwise.h"
#include "vector.h"

namespace ingot {
namespace {

constexpr int64_t kAtOnce = 1 << 13;  // numbers that a thread takes at a time

template <class Act>
void for_sixteens(ThreadPool& pool, int64_t count, Act&& act) {
  pool.run((count + kAtOnce - 1) / kAtOnce, [&](int64_t part) {
    const int64_t end = std::min(count, (part + 1) * kAtOnce);
    for (int64_t i = part * kAtOnce; i < end; i += 16) act(i, end - i);
  });
}

F32x16 sigmoid(F32x16 x) { return 1.0f / (1.0f + exponential(-x)); }

}  // namespace

void gate_forward(ThreadPool& pool, int64_t count, const float* gate, const float* up, float* out) {
  for_sixteens(pool, count, [&](int64_t i, int64_t left) {
    const F32x16 g = load(gate + i, left);
    store(out + i, g * sigmoid(g) * load(up + i, left), left);
  });
}

void gate_backward(ThreadPool& pool, int64_t count, const float* gate, const float* up,
                   const float* grad_out, float* grad_gate, float* grad_up) {
  for_sixteens(pool, count, [&](int64_t i, int64_t left) {
    const F32x16 g = load(gate + i, left), grad = load(grad_out + i, left);
    const F32x16 share = sigmoid(g), silu = g * share;
    store(grad_up + i, grad * silu, left);
    store(grad_gate + i, grad * load(up + i, left) * (share + silu * (1.0f - share)), left);
  });
}

void cross_entropy(ThreadPool& pool, int64_t rows, int64_t width, const int64_t* targets,
                   float* logits, float* losses) {
  const int64_t step = std::max<int64_t>(1, kAtOnce / width);
  pool.run((rows + step - 1) / step, [&](int64_t part) {
    const I32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const F32x16 lowest = splat(-3.0e38f);
    for (int64_t row = part * step; row < std::min(rows, (part + 1) * step); ++row) {
      float* const x = logits + row * width;
      const auto read_at = [&](int64_t i) {
        if (i + 16 <= width) return load(x + i);
        return select(lane < static_cast<int32_t>(width - i), load(x + i, width - i), lowest);
      };
      F32x16 top = lowest;
      for (int64_t i = 0; i < width; i += 16) top = larger(read_at(i), top);
      const float highest = maximum(top), chosen = x[targets[row]];
      F32x16 sums = {};
      for (int64_t i = 0; i < width; i += 16) {
        const F32x16 s = read_at(i), power = exponential(s - highest);
        // Not a number where a logit is none: the powers alone would hide it.
        sums = multiply_add(s, F32x16{}, sums + power);
        store(x + i, power, width - i);
      }
      const float total = sum(sums), share = 1.0f / total;
      for (int64_t i = 0; i < width; i += 16)
        store(x + i, load(x + i, width - i) * share, width - i);
      x[targets[row]] -= 1.0f;
      losses[row] = std::log(total) + (highest - chosen);
    }
  });
}

}  // namespace ingot
