// The sizes and weights of a transformer, and the switches in which model families differ.
#pragma once

#include <cstdint>
#include <vector>

#include "attention.h"
#include "kernels.h"
#include "matrix.h"
#include "rope.h"

namespace ingot {

enum class NormKind { rms, layer };  // layer: with mean and bias (arXiv:1607.06450)

// What the norms of queries and keys, always RMS norms, run over: the heads one by one, or all
// heads of a token at once.
enum class HeadNorm { none, head, projection };

struct LayerShape {
  int64_t window;      // tokens that each token attends to, itself included; 0 for all
  int64_t rope_table;  // index of its rotary embedding; -1 for none
};

struct ModelShape {
  int64_t vocabulary, hidden, feed_forward, positions;
  HeadShape heads;
  float norm_eps;
  int64_t sampled_vocabulary;  // only tokens below this are sampled: embeddings may be padded
  NormKind norm = NormKind::rms;
  HeadNorm head_norm = HeadNorm::head;
  Activation activation = Activation::silu;
  bool gated = true;  // a gate that multiplies; else the feed-forward layer has ups alone
  std::vector<RopeTable> rope_tables = {};
  std::vector<LayerShape> layers = {};
};

// Both are (hidden,) in float; no weight: no norm. Only layer norms have a bias.
struct NormWeights {
  const float* weight = nullptr;
  const float* bias = nullptr;
};

// Each matrix may have another format. Biases are in float, one for each output; null: none.
struct LayerWeights {
  Matrix qkv;  // query heads, key heads, value heads
  Matrix output;
  Matrix gate_up;  // gates, then ups; ups alone without a gate
  Matrix down;
  // Of the input of attention and of what it adds to the residual stream; likewise feed-forward.
  NormWeights attention_norm = {}, attention_output_norm = {};
  NormWeights feed_forward_norm = {}, feed_forward_output_norm = {};
  const float *query_norm = nullptr, *key_norm = nullptr;  // as HeadNorm says
  const float *query_bias = nullptr, *key_bias = nullptr, *value_bias = nullptr;
  const float* output_bias = nullptr;
  const float *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
};

struct ModelWeights {
  Matrix embedding, head;
  Matrix positions = {};  // a learned embedding of each position; without outputs: none
  NormWeights final_norm = {};
  std::vector<LayerWeights> layers = {};
};

struct CacheShape {
  CacheFormat format;
  int64_t blocks, block_size;
};

// Throws std::invalid_argument where a size is out of range or does not fit the others.
void check_shapes(const ModelShape& shape, const ModelWeights& weights, const CacheShape& cache);

}  // namespace ingot
