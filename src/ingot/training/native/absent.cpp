// Where the CPU has no kernels: never called, for supported() is false then.
#include "attention_part.h"
#include "norm.h"

namespace ingot {

void attend_forward_part(const AttentionShape&, const AttentionInput&, const AttentionOutput&,
                         int64_t, int64_t) {}
void attend_backward_part(const AttentionShape&, const AttentionInput&, const float*,
                          const AttentionGradients&, int64_t, int64_t) {}

template <class Value>
void norm_forward(ThreadPool&, const NormShape&, const Value*, const float*, const Rotation&,
                  uint16_t*) {}
template <class Value>
void norm_backward(ThreadPool&, const NormShape&, const Value*, const float*, const Rotation&,
                   const uint16_t*, Value*, float*) {}

template void norm_forward(ThreadPool&, const NormShape&, const float*, const float*,
                           const Rotation&, uint16_t*);
template void norm_forward(ThreadPool&, const NormShape&, const uint16_t*, const float*,
                           const Rotation&, uint16_t*);
template void norm_backward(ThreadPool&, const NormShape&, const float*, const float*,
                            const Rotation&, const uint16_t*, float*, float*);
template void norm_backward(ThreadPool&, const NormShape&, const uint16_t*, const float*,
                            const Rotation&, const uint16_t*, uint16_t*, float*);

}  // namespace ingot
