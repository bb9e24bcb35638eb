#include "norm.h"
#include "pair_product.h"

namespace ingot {
namespace {

void put(uint16_t* out, F32x16 x) { store_rounded(out, x); }

}  // namespace
}  // namespace ingot

#include "norm_rows.h"

namespace ingot {

template void norm_forward(ThreadPool&, const NormShape&, const float*, const float*,
                           const Rotation&, uint16_t*);
template void norm_forward(ThreadPool&, const NormShape&, const uint16_t*, const float*,
                           const Rotation&, uint16_t*);
template void norm_backward(ThreadPool&, const NormShape&, const float*, const float*,
                            const Rotation&, const uint16_t*, float*, float*);
template void norm_backward(ThreadPool&, const NormShape&, const uint16_t*, const float*,
                            const Rotation&, const uint16_t*, uint16_t*, float*);

}  // namespace ingot
