// One key head of one window after the other; its queries a few rows at a time.
#include <algorithm>

#include "attention.h"
#include "attention_block.h"
#include "attention_part.h"
#include "buffer.h"
#include "pair_product.h"

namespace ingot {
namespace {

const Word* words(const uint16_t* p) { return reinterpret_cast<const Word*>(p); }

// Words of neighbouring dimensions, sixteen tokens side by side: [tokens / 16][width / 2][16].
// The right side of a product that sums over the width. Zero past the tokens.
void pack_tiles(const Rows<uint16_t>& rows, int64_t tokens, int64_t width, Word* out) {
  for (int64_t tile = 0; tile < up_to_16(tokens) / 16; ++tile, out += width * 8)
    for (int64_t lane = 0; lane < 16; ++lane) {
      const int64_t token = tile * 16 + lane;
      for (int64_t pair = 0; pair < width / 2; ++pair)
        out[pair * 16 + lane] = token < tokens ? words(rows.row(token))[pair] : 0;
    }
}

// Words of neighbouring tokens: [tokens / 2][width]. The right side of a product that sums over
// tokens. Zero past the tokens, which are made up to a multiple of 16.
void pack_pairs(const Rows<uint16_t>& rows, int64_t tokens, int64_t width, Word* out) {
  for (int64_t token = 0; token < up_to_16(tokens); token += 2, out += width)
    for (int64_t k = 0; k < width; k += 16) {
      const auto read_row = [&](int64_t t) {
        if (t >= tokens) return U32x16{};
        return __builtin_convertvector(read<U16x16>(rows.row(t) + k), U32x16);
      };
      const U32x16 pair = read_row(token) | (read_row(token + 1) << 16);
      std::memcpy(out + k, &pair, sizeof(pair));
    }
}

// scores (rows, tokens) = queries (rows, width) times keys, for the block's tokens.
void score(const Rows<uint16_t>& queries, const Block& block, const Word* key_tiles, int64_t width,
           float* scores, int64_t stride) {
  multiply({words(queries.row(block.first)), queries.stride / 2, 1},
           {key_tiles + block.begin * width / 2, 16, width * 8}, block.rows, block.tiles(),
           width / 2, {scores + block.begin, stride, false});
}

// Scratch memory of one thread.
struct Scratch {
  Buffer<Word> key_tiles, key_pairs, value_tiles, value_pairs;
  Buffer<Word> query_pairs, mixed_pairs, weight_pairs, grad_pairs;
  Buffer<float> scores, grad_scores, rows, key_sums, value_sums;
  Buffer<uint16_t> rounded;
};

Scratch& scratch() {
  thread_local Scratch own;
  return own;
}

struct Softened {
  float highest, total;
};

// Scales and masks a row's scores in place and writes the weights e^(score - highest), rounded;
// returns the highest score and the weights' sum.
Softened soften(const Block& block, int64_t r, float* scores, float scale, uint16_t* weights) {
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
    store_rounded(weights + t, weight);
  }
  return {highest, sum(total)};
}

void forward_block(const Part& part, const Block& block, const Rows<uint16_t>& queries,
                   Scratch& own, float scale, uint16_t* mixed, float* totals) {
  const int64_t width = part.shape.width, stride = up_to_16(part.shape.tokens);
  float* const scores = own.scores.at_least(kQueriesAtOnce * stride);
  uint16_t* const weights = own.rounded.at_least(kQueriesAtOnce * stride);
  float* const sums = own.rows.at_least(kQueriesAtOnce * width);
  score(queries, block, own.key_tiles.get(), width, scores, stride);
  float shares[kQueriesAtOnce];
  for (int64_t r = 0; r < block.rows; ++r) {
    const Softened s = soften(block, r, scores + r * stride, scale, weights + r * stride);
    shares[r] = 1.0f / s.total;
    totals[block.first + r] = s.highest + std::log(s.total);
  }
  multiply({words(weights + block.begin), stride / 2, 1},
           {own.value_pairs.get() + block.begin / 2 * width, width, 16}, block.rows, width / 16,
           (block.end - block.begin) / 2, {sums, width, false});
  for (int64_t r = 0; r < block.rows; ++r)
    for (int64_t k = 0; k < width; k += 16)
      store_rounded(mixed + (block.first + r) * queries.stride + k,
                    load(sums + r * width + k) * shares[r]);
}

// Turns scores and the weights' gradients of rows r and r + 1 into weights and the scores' own
// gradients; rows past the block's count as zero.
struct GradRows {
  const Block& block;
  float scale;
  const float* totals;  // of the block's first row
  int64_t stride;       // of all that follows
  float *scores, *grad_scores;
  uint16_t* rounded;
  Word *weight_pairs, *grad_pairs;

  // Weights into `scores`; returns the sum of weight times gradient.
  float weigh(int64_t r) const {
    float* const s = scores + r * stride;
    const float* const g = grad_scores + r * stride;
    F32x16 total = {};
    for (int64_t t = block.begin; t < block.end; t += 16) {
      const F32x16 raw = masked(block, r, t, s, scale);
      const F32x16 weight = select(raw > kLowest, exponential(raw - totals[r]), F32x16{});
      store(s + t, weight);
      total = multiply_add(weight, load(g + t), total);
    }
    return sum(total);
  }

  void differentiate(int64_t r) const {
    const bool both = r + 1 < block.rows;
    const float first = weigh(r), second = both ? weigh(r + 1) : 0.0f;
    for (int64_t t = block.begin; t < block.end; t += 16) {
      F32x16 weight[2] = {}, grad_score[2] = {};
      for (int i = 0; i < 1 + both; ++i) {
        const int64_t at = (r + i) * stride + t;
        weight[i] = load(scores + at);
        grad_score[i] = weight[i] * (load(grad_scores + at) - (i ? second : first)) * scale;
        store_rounded(rounded + at, grad_score[i]);
      }
      store_words(weight_pairs + r / 2 * stride + t, weight[0], weight[1]);
      store_words(grad_pairs + r / 2 * stride + t, grad_score[0], grad_score[1]);
    }
  }
};

void backward_block(const Part& part, const Block& block, const Rows<uint16_t>& queries,
                    const Rows<uint16_t>& mixed, Scratch& own, float scale, const float* totals,
                    uint16_t* query_gradients) {
  const int64_t width = part.shape.width, stride = up_to_16(part.shape.tokens);
  float* const scores = own.scores.at_least(kQueriesAtOnce * stride);
  float* const grad_scores = own.grad_scores.at_least(kQueriesAtOnce * stride);
  uint16_t* const rounded_grads = own.rounded.at_least(kQueriesAtOnce * stride);
  Word* const weight_pairs = own.weight_pairs.at_least(kQueriesAtOnce / 2 * stride);
  Word* const grad_pairs = own.grad_pairs.at_least(kQueriesAtOnce / 2 * stride);
  score(queries, block, own.key_tiles.get(), width, scores, stride);
  score(mixed, block, own.value_tiles.get(), width, grad_scores, stride);
  const GradRows rows{block,       scale,         totals + block.first, stride,    scores,
                      grad_scores, rounded_grads, weight_pairs,         grad_pairs};
  for (int64_t r = 0; r < block.rows; r += 2) rows.differentiate(r);

  Word* const query_pairs = own.query_pairs.at_least(kQueriesAtOnce / 2 * width);
  Word* const mixed_pairs = own.mixed_pairs.at_least(kQueriesAtOnce / 2 * width);
  pack_pairs({queries.row(block.first), queries.stride}, block.rows, width, query_pairs);
  pack_pairs({mixed.row(block.first), mixed.stride}, block.rows, width, mixed_pairs);
  const int64_t tokens = block.end - block.begin, pairs = (block.rows + 1) / 2;
  multiply({weight_pairs + block.begin, 1, stride}, {mixed_pairs, width, 16}, tokens, width / 16,
           pairs, {own.value_sums.get() + block.begin * width, width, true});
  multiply({grad_pairs + block.begin, 1, stride}, {query_pairs, width, 16}, tokens, width / 16,
           pairs, {own.key_sums.get() + block.begin * width, width, true});

  float* const sums = own.rows.at_least(kQueriesAtOnce * width);
  multiply({words(rounded_grads + block.begin), stride / 2, 1},
           {own.key_pairs.get() + block.begin / 2 * width, width, 16}, block.rows, width / 16,
           tokens / 2, {sums, width, false});
  for (int64_t r = 0; r < block.rows; ++r)
    for (int64_t k = 0; k < width; k += 16)
      store_rounded(query_gradients + (block.first + r) * queries.stride + k,
                    load(sums + r * width + k));
}

}  // namespace

void attend_forward_part(const AttentionShape& shape, const AttentionInput<uint16_t>& input,
                         const AttentionOutput<uint16_t>& output, int64_t window,
                         int64_t key_head) {
  const Part part{shape, window, key_head};
  Scratch& own = scratch();
  const int64_t most = up_to_16(shape.tokens) / 2 * shape.width;
  pack_tiles(part.of_key(input.keys), shape.tokens, shape.width, own.key_tiles.at_least(most));
  pack_pairs(part.of_key(input.values), shape.tokens, shape.width, own.value_pairs.at_least(most));
  for (int64_t i = 0; i < part.group(); ++i) {
    const int64_t head = key_head * part.group() + i;
    for (int64_t first = 0; first < shape.tokens; first += kQueriesAtOnce)
      forward_block(part, Block(part, input.starts, first), part.of_query(input.queries, head), own,
                    scale_of(shape), output.mixed + part.offset(head, shape.query_heads),
                    output.totals + (window * shape.query_heads + head) * shape.tokens);
  }
}

void attend_backward_part(const AttentionShape& shape, const AttentionInput<uint16_t>& input,
                          const float* totals, const AttentionGradients<uint16_t>& gradients,
                          int64_t window, int64_t key_head) {
  const Part part{shape, window, key_head};
  Scratch& own = scratch();
  const int64_t width = shape.width, padded = up_to_16(shape.tokens);
  const int64_t most = padded / 2 * width;
  const Rows<uint16_t> keys = part.of_key(input.keys), values = part.of_key(input.values);
  pack_tiles(keys, shape.tokens, width, own.key_tiles.at_least(most));
  pack_pairs(keys, shape.tokens, width, own.key_pairs.at_least(most));
  pack_tiles(values, shape.tokens, width, own.value_tiles.at_least(most));
  float* const key_sums = own.key_sums.at_least(padded * width);
  float* const value_sums = own.value_sums.at_least(padded * width);
  std::fill_n(key_sums, padded * width, 0.0f);
  std::fill_n(value_sums, padded * width, 0.0f);
  for (int64_t i = 0; i < part.group(); ++i) {
    const int64_t head = key_head * part.group() + i;
    for (int64_t first = 0; first < shape.tokens; first += kQueriesAtOnce)
      backward_block(part, Block(part, input.starts, first), part.of_query(input.queries, head),
                     part.of_query(gradients.mixed, head), own, scale_of(shape),
                     totals + (window * shape.query_heads + head) * shape.tokens,
                     gradients.queries + part.offset(head, shape.query_heads));
  }
  for (int64_t token = 0; token < shape.tokens; ++token)
    for (int64_t k = 0; k < width; k += 16) {
      const int64_t at =
          part.offset(key_head, shape.key_heads) + token * shape.key_heads * width + k;
      store_rounded(gradients.keys + at, load(key_sums + token * width + k));
      store_rounded(gradients.values + at, load(value_sums + token * width + k));
    }
}

}  // namespace ingot
