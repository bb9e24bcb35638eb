// Where the CPU has no kernels: never called, for supported() is false then.
#include "attention_part.h"
#include "elementwise.h"
#include "norm.h"

namespace ingot {

void attend_forward_part(const AttentionShape&, const AttentionInput<float>&,
                         const AttentionOutput<float>&, int64_t, int64_t) {}
void attend_forward_part(const AttentionShape&, const AttentionInput<uint16_t>&,
                         const AttentionOutput<uint16_t>&, int64_t, int64_t) {}
void attend_backward_part(const AttentionShape&, const AttentionInput<float>&, const float*,
                          const AttentionGradients<float>&, int64_t, int64_t) {}
void attend_backward_part(const AttentionShape&, const AttentionInput<uint16_t>&, const float*,
                          const AttentionGradients<uint16_t>&, int64_t, int64_t) {}

void gate_forward(ThreadPool&, int64_t, const float*, const float*, float*) {}
void gate_backward(ThreadPool&, int64_t, const float*, const float*, const float*, float*, float*) {
}
void cross_entropy(ThreadPool&, int64_t, int64_t, const int64_t*, float*, float*) {}

template <class Value, class Out>
void norm_forward(ThreadPool&, const NormShape&, const Value*, const float*, const Rotation&,
                  Out*) {}
template <class Value, class Out>
void norm_backward(ThreadPool&, const NormShape&, const Value*, const float*, const Rotation&,
                   const Out*, Value*, float*) {}

template void norm_forward(ThreadPool&, const NormShape&, const float*, const float*,
                           const Rotation&, float*);
template void norm_forward(ThreadPool&, const NormShape&, const float*, const float*,
                           const Rotation&, uint16_t*);
template void norm_forward(ThreadPool&, const NormShape&, const uint16_t*, const float*,
                           const Rotation&, uint16_t*);
template void norm_backward(ThreadPool&, const NormShape&, const float*, const float*,
                            const Rotation&, const float*, float*, float*);
template void norm_backward(ThreadPool&, const NormShape&, const float*, const float*,
                            const Rotation&, const uint16_t*, float*, float*);
template void norm_backward(ThreadPool&, const NormShape&, const uint16_t*, const float*,
                            const Rotation&, const uint16_t*, uint16_t*, float*);

}  // namespace ingot
