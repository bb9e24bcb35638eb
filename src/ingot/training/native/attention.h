// Causal attention of training, forward and backward, in bfloat16 with sums in float32, or all in
// float32.
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
template <class Value>
struct AttentionInput {
  const Value* queries;   // (windows, tokens, query_heads, width)
  const Value* keys;      // (windows, tokens, key_heads, width)
  const Value* values;    // likewise
  const int32_t* starts;  // (windows, tokens)
};

template <class Value>
struct AttentionOutput {
  Value* mixed;   // (windows, tokens, query_heads, width)
  float* totals;  // (windows, query_heads, tokens): logarithm of the sum of e^score
};

template <class Value>
struct AttentionGradients {
  const Value* mixed;              // of the loss, by AttentionOutput::mixed
  Value *queries, *keys, *values;  // as in AttentionInput
};

// Whether this CPU has what the kernels need: those in bfloat16 AVX-512 with BF16; those in float32
// AVX2 and no AVX-512, where they were measured.
template <class Value>
bool supported();

// Value is float or uint16_t, the bits of bfloat16. Both give the same bits whatever the number of
// threads.
template <class Value>
void attend_forward(ThreadPool& pool, const AttentionShape& shape,
                    const AttentionInput<Value>& input, const AttentionOutput<Value>& output);
template <class Value>
void attend_backward(ThreadPool& pool, const AttentionShape& shape,
                     const AttentionInput<Value>& input, const float* totals,
                     const AttentionGradients<Value>& gradients);

}  // namespace ingot
