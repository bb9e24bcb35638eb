// What attention.cpp shares out among threads: one key head of one window.
#pragma once

#include "attention.h"

namespace ingot {

void attend_forward_part(const AttentionShape& shape, const AttentionInput& input,
                         const AttentionOutput& output, int64_t window, int64_t key_head);
void attend_backward_part(const AttentionShape& shape, const AttentionInput& input,
                          const float* totals, const AttentionGradients& gradients, int64_t window,
                          int64_t key_head);

}  // namespace ingot
