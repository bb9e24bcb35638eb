#include "norm_rows.h"

namespace ingot {

template void norm_forward(ThreadPool&, const NormShape&, const float*, const float*,
                           const Rotation&, float*);
template void norm_backward(ThreadPool&, const NormShape&, const float*, const float*,
                            const Rotation&, const float*, float*, float*);

}  // namespace ingot
