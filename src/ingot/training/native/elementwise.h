// What of training in float32 reads and writes each number once: the gated activation, and
// cross-entropy with its gradient.
#pragma once

#include <cstdint>

#include "thread_pool.h"

namespace ingot {

// out = silu(gate) * up (arXiv:2002.05202), `count` numbers each.
void gate_forward(ThreadPool& pool, int64_t count, const float* gate, const float* up, float* out);

// The gradients by gate and up from the one by out.
void gate_backward(ThreadPool& pool, int64_t count, const float* gate, const float* up,
                   const float* grad_out, float* grad_gate, float* grad_up);

// Turns finite logits (rows, width) into the gradient by them of the summed cross-entropy, and
// writes each row's own. A target is below `width`.
void cross_entropy(ThreadPool& pool, int64_t rows, int64_t width, const int64_t* targets,
                   float* logits, float* losses);

}  // namespace ingot
