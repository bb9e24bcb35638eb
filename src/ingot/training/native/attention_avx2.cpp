// Attention in float32: one key head of one window after the other, its queries a few rows at a
// time, as in attention_avx512.cpp. Values lie as their products read them; keys are turned round.
#include <algorithm>

#include "attention.h"
#include "attention_block.h"
#include "attention_part.h"
#include "buffer.h"
#include "float_product.h"

namespace ingot {
namespace {

// Sixteen tokens side by side: [tokens / 16][width][16], zero past the tokens. The right side of a
// product that sums over the width.
void pack_tiles(const Rows<float>& rows, int64_t tokens, int64_t width, float* out) {
  for (int64_t token = 0; token < up_to_16(tokens); token += 16, out += width * 16) {
    const int64_t count = std::min<int64_t>(16, tokens - token);
    for (int64_t k = 0; k < width; ++k) {
      for (int64_t lane = 0; lane < count; ++lane) out[k * 16 + lane] = rows.row(token + lane)[k];
      for (int64_t lane = count; lane < 16; ++lane) out[k * 16 + lane] = 0.0f;
    }
  }
}

// Scratch memory of one thread.
struct Scratch {
  Buffer<float> key_tiles, value_tiles, scores, grad_scores, key_sums, value_sums;
};

Scratch& scratch() {
  thread_local Scratch own;
  return own;
}

// The tokens of a block that exist; products over tokens stop there.
int64_t tokens_of(const Part& part, const Block& block) {
  return std::min(block.end, part.shape.tokens) - block.begin;
}

// scores (rows, tokens) = queries (rows, width) times keys, for the block's tokens.
void score(const Rows<float>& queries, const Block& block, const float* key_tiles, int64_t width,
           float* scores, int64_t stride) {
  multiply({queries.row(block.first), queries.stride, 1},
           {key_tiles + block.begin * width, 16, width * 16}, block.rows, block.tiles(), width,
           {scores + block.begin, stride, false});
}

// Turns a row's scores into weights that sum to one; returns the logarithm of the sum of e^score.
float soften(const Block& block, int64_t r, float* scores, float scale) {
  F32x16 top = splat(kLowest);
  for (int64_t t = block.begin; t < block.end; t += 16) {
    const F32x16 s = masked(block, r, t, scores, scale);
    store(scores + t, s);
    top = larger(s, top);
  }
  const float highest = maximum(top);
  F32x16 total = {};
  for (int64_t t = block.begin; t < block.end; t += 16) {
    const F32x16 s = load(scores + t);
    const F32x16 weight = select(s > kLowest, exponential(s - highest), F32x16{});
    // Not a number where a score is none: the weights alone would hide it.
    total = multiply_add(s, F32x16{}, total + weight);
    store(scores + t, weight);
  }
  const float whole = sum(total), share = 1.0f / whole;
  for (int64_t t = block.begin; t < block.end; t += 16) store(scores + t, load(scores + t) * share);
  return highest + std::log(whole);
}

// Turns a row's scores into weights, and the weights' gradients into those of the scores.
void differentiate(const Block& block, int64_t r, float total, float scale, float* scores,
                   float* grad_scores) {
  F32x16 product = {};
  for (int64_t t = block.begin; t < block.end; t += 16) {
    const F32x16 raw = masked(block, r, t, scores, scale);
    const F32x16 weight = select(raw > kLowest, exponential(raw - total), F32x16{});
    store(scores + t, weight);
    product = multiply_add(weight, load(grad_scores + t), product);
  }
  const float mean = sum(product);
  for (int64_t t = block.begin; t < block.end; t += 16)
    store(grad_scores + t, load(scores + t) * (load(grad_scores + t) - mean) * scale);
}

}  // namespace

void attend_forward_part(const AttentionShape& shape, const AttentionInput<float>& input,
                         const AttentionOutput<float>& output, int64_t window, int64_t key_head) {
  const Part part{shape, window, key_head};
  const int64_t width = shape.width, stride = up_to_16(shape.tokens);
  const Rows<float> values = part.of_key(input.values);
  Scratch& own = scratch();
  float* const key_tiles = own.key_tiles.at_least(stride * width);
  float* const scores = own.scores.at_least(kQueriesAtOnce * stride);
  pack_tiles(part.of_key(input.keys), shape.tokens, width, key_tiles);
  for (int64_t i = 0; i < part.group(); ++i) {
    const int64_t head = key_head * part.group() + i;
    const Rows<float> queries = part.of_query(input.queries, head);
    float* const mixed = output.mixed + part.offset(head, shape.query_heads);
    float* const totals = output.totals + (window * shape.query_heads + head) * shape.tokens;
    for (int64_t first = 0; first < shape.tokens; first += kQueriesAtOnce) {
      const Block block(part, input.starts, first);
      score(queries, block, key_tiles, width, scores, stride);
      for (int64_t r = 0; r < block.rows; ++r)
        totals[first + r] = soften(block, r, scores + r * stride, scale_of(shape));
      multiply({scores + block.begin, stride, 1}, {values.row(block.begin), values.stride, 16},
               block.rows, width / 16, tokens_of(part, block),
               {mixed + first * queries.stride, queries.stride, false});
    }
  }
}

void attend_backward_part(const AttentionShape& shape, const AttentionInput<float>& input,
                          const float* totals, const AttentionGradients<float>& gradients,
                          int64_t window, int64_t key_head) {
  const Part part{shape, window, key_head};
  const int64_t width = shape.width, stride = up_to_16(shape.tokens);
  const Rows<float> keys = part.of_key(input.keys), values = part.of_key(input.values);
  Scratch& own = scratch();
  float* const key_tiles = own.key_tiles.at_least(stride * width);
  float* const value_tiles = own.value_tiles.at_least(stride * width);
  float* const scores = own.scores.at_least(kQueriesAtOnce * stride);
  float* const grad_scores = own.grad_scores.at_least(kQueriesAtOnce * stride);
  float* const key_sums = own.key_sums.at_least(shape.tokens * width);
  float* const value_sums = own.value_sums.at_least(shape.tokens * width);
  pack_tiles(keys, shape.tokens, width, key_tiles);
  pack_tiles(values, shape.tokens, width, value_tiles);
  std::fill_n(key_sums, shape.tokens * width, 0.0f);
  std::fill_n(value_sums, shape.tokens * width, 0.0f);
  for (int64_t i = 0; i < part.group(); ++i) {
    const int64_t head = key_head * part.group() + i;
    const Rows<float> queries = part.of_query(input.queries, head);
    const Rows<float> mixed = part.of_query(gradients.mixed, head);
    float* const grad_queries = gradients.queries + part.offset(head, shape.query_heads);
    const float* const own_totals = totals + (window * shape.query_heads + head) * shape.tokens;
    for (int64_t first = 0; first < shape.tokens; first += kQueriesAtOnce) {
      const Block block(part, input.starts, first);
      const int64_t tokens = tokens_of(part, block);
      score(queries, block, key_tiles, width, scores, stride);
      score(mixed, block, value_tiles, width, grad_scores, stride);
      for (int64_t r = 0; r < block.rows; ++r)
        differentiate(block, r, own_totals[first + r], scale_of(shape), scores + r * stride,
                      grad_scores + r * stride);
      multiply({scores + block.begin, 1, stride}, {mixed.row(first), mixed.stride, 16}, tokens,
               width / 16, block.rows, {value_sums + block.begin * width, width, true});
      multiply({grad_scores + block.begin, 1, stride}, {queries.row(first), queries.stride, 16},
               tokens, width / 16, block.rows, {key_sums + block.begin * width, width, true});
      multiply({grad_scores + block.begin, stride, 1}, {keys.row(block.begin), keys.stride, 16},
               block.rows, width / 16, tokens,
               {grad_queries + first * queries.stride, queries.stride, false});
    }
  }
  const int64_t at = part.offset(key_head, shape.key_heads);
  for (int64_t token = 0; token < shape.tokens; ++token) {
    std::copy_n(key_sums + token * width, width, gradients.keys + at + token * keys.stride);
    std::copy_n(value_sums + token * width, width, gradients.values + at + token * keys.stride);
  }
}

}  // namespace ingot
