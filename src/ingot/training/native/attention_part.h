// What attention.cpp shares out among threads: one key head of one window.
#pragma once

#include "attention.h"

namespace ingot {

void attend_forward_part(const AttentionShape& shape, const AttentionInput<float>& input,
                         const AttentionOutput<float>& output, int64_t window, int64_t key_head);
void attend_forward_part(const AttentionShape& shape, const AttentionInput<uint16_t>& input,
                         const AttentionOutput<uint16_t>& output, int64_t window, int64_t key_head);
void attend_backward_part(const AttentionShape& shape, const AttentionInput<float>& input,
                          const float* totals, const AttentionGradients<float>& gradients,
                          int64_t window, int64_t key_head);
void attend_backward_part(const AttentionShape& shape, const AttentionInput<uint16_t>& input,
                          const float* totals, const AttentionGradients<uint16_t>& gradients,
                          int64_t window, int64_t key_head);

}  // namespace ingot
