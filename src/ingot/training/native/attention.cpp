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

bool runs(const char* name) {
  for (const Kernels* kernels : runnable_kernels())
    if (std::strcmp(kernels->name, name) == 0) return true;
  return false;
}

#if defined(INGOT_SIMDE)
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

}  // namespace

template <>
bool supported<uint16_t>() {
  static const bool found = runs("avx512bf16");
  return found;
}

template <>
bool supported<float>() {
  static const bool found = runs("avx2") && (kEmulated || !runs("avx512"));
  return found;
}

template <class Value>
void attend_forward(ThreadPool& pool, const AttentionShape& shape,
                    const AttentionInput<Value>& input, const AttentionOutput<Value>& output) {
  for_each_part(pool, shape, [&](int64_t window, int64_t key_head) {
    attend_forward_part(shape, input, output, window, key_head);
  });
}

template <class Value>
void attend_backward(ThreadPool& pool, const AttentionShape& shape,
                     const AttentionInput<Value>& input, const float* totals,
                     const AttentionGradients<Value>& gradients) {
  for_each_part(pool, shape, [&](int64_t window, int64_t key_head) {
    attend_backward_part(shape, input, totals, gradients, window, key_head);
  });
}

template void attend_forward(ThreadPool&, const AttentionShape&, const AttentionInput<float>&,
                             const AttentionOutput<float>&);
template void attend_forward(ThreadPool&, const AttentionShape&, const AttentionInput<uint16_t>&,
                             const AttentionOutput<uint16_t>&);
template void attend_backward(ThreadPool&, const AttentionShape&, const AttentionInput<float>&,
                              const float*, const AttentionGradients<float>&);
template void attend_backward(ThreadPool&, const AttentionShape&, const AttentionInput<uint16_t>&,
                              const float*, const AttentionGradients<uint16_t>&);

}  // namespace ingot
