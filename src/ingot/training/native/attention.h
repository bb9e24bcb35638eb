// Causal attention of training, forward and backward, in bfloat16 with sums in float32.
//
// FlashAttention's method (arXiv:2205.14135, arXiv:2307.08691): the scores of a few rows at a time,
// never the whole matrix, and in the backward pass again from the logarithms of their sums. Rows of
// scores are short enough for the cache here, so that each is softened whole.
#pragma once

#include <cstdint>

#include "thread_pool.h"

namespace ingot {

inline constexpr int64_t kWidestTrainedHead = 256;

// Heads of queries share heads of keys in equal groups. A width is a multiple of 16.
struct AttentionShape {
  int64_t windows, tokens, query_heads, key_heads, width;
};

// Row i of a window sees tokens starts[i] to i; from its first where `starts` is null.
struct AttentionInput {
  const uint16_t* queries;  // (windows, tokens, query_heads, width)
  const uint16_t* keys;     // (windows, tokens, key_heads, width)
  const uint16_t* values;   // likewise
  const int32_t* starts;    // (windows, tokens)
};

struct AttentionOutput {
  uint16_t* mixed;  // (windows, tokens, query_heads, width)
  float* totals;    // (windows, query_heads, tokens): logarithm of the sum of e^score
};

struct AttentionGradients {
  const uint16_t* mixed;              // of the loss, by AttentionOutput::mixed
  uint16_t *queries, *keys, *values;  // as in AttentionInput
};

// Whether this CPU has what these need: AVX-512 with BF16.
bool supported();

// Both give the same bits whatever the number of threads.
void attend_forward(ThreadPool& pool, const AttentionShape& shape, const AttentionInput& input,
                    const AttentionOutput& output);
void attend_backward(ThreadPool& pool, const AttentionShape& shape, const AttentionInput& input,
                     const float* totals, const AttentionGradients& gradients);

}  // namespace ingot
