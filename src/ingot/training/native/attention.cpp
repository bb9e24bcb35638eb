#include "attention.h"

#include <cstring>

#include "attention_part.h"
#include "isa.h"
#include "kernels.h"
#include "safe_run.h"

namespace ingot {
namespace {

template <class Act>
void for_each_part(ThreadPool& pool, const AttentionShape& shape, Act&& act) {
  run_safely(pool, shape.windows * shape.key_heads,
             [&](int64_t i) { act(i / shape.key_heads, i % shape.key_heads); });
}

}  // namespace

bool supported() {
  static const bool found = [] {
    for (const Kernels* kernels : runnable_kernels())
      if (std::strcmp(kernels->name, "avx512bf16") == 0) return true;
    return false;
  }();
  return found;
}

void attend_forward(ThreadPool& pool, const AttentionShape& shape, const AttentionInput& input,
                    const AttentionOutput& output) {
  for_each_part(pool, shape, [&](int64_t window, int64_t key_head) {
    attend_forward_part(shape, input, output, window, key_head);
  });
}

void attend_backward(ThreadPool& pool, const AttentionShape& shape, const AttentionInput& input,
                     const float* totals, const AttentionGradients& gradients) {
  for_each_part(pool, shape, [&](int64_t window, int64_t key_head) {
    attend_backward_part(shape, input, totals, gradients, window, key_head);
  });
}

}  // namespace ingot
