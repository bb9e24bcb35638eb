// Paged attention with an online softmax (arXiv:2205.14135, arXiv:2309.06180), over vector.h.
#pragma once

#include <algorithm>

#include "kernels.h"
#include "vector.h"

namespace ingot {
namespace {

// Tokens between two rescalings. Spans begin at fixed positions, so a query's sums have one order
// whatever chunk or batch it came in.
inline constexpr int64_t kSpan = 64;
inline constexpr float kLowest = -3.0e38f;

template <class Value>
Value* row_of(uint8_t* memory, int64_t index) {
  return reinterpret_cast<Value*>(memory) + index;
}

void store_key(const float* key, int64_t head_dim, CacheKind kind, int64_t token, uint8_t* keys) {
  const int64_t first = token / kKeyTile * head_dim * kKeyTile + token % kKeyTile;
  for (int64_t k = 0; k < head_dim; ++k) {
    if (kind == CacheKind::f32) {
      *row_of<float>(keys, first + k * kKeyTile) = key[k];
    } else {
      *row_of<uint16_t>(keys, first + k * kKeyTile) = round_bf16(key[k]);
    }
  }
}

void store_value(const float* value, int64_t head_dim, CacheKind kind, int64_t token,
                 uint8_t* values) {
  if (kind == CacheKind::f32) {
    std::copy_n(value, head_dim, row_of<float>(values, token * head_dim));
    return;
  }
  for (int64_t k = 0; k < head_dim; ++k)
    *row_of<uint16_t>(values, token * head_dim + k) = round_bf16(value[k]);
}

// Scores of kCount queries against 16 keys that lie side by side.
template <int kCount, class Value>
void score_tile(const Query* queries, const Value* keys, int64_t head_dim, float* scores) {
  F32x16 sums[kCount] = {};
  for (int64_t k = 0; k < head_dim; ++k) {
    const F32x16 key = load_cached(keys + k * kKeyTile);
    for (int i = 0; i < kCount; ++i) sums[i] = multiply_add(splat(queries[i].q[k]), key, sums[i]);
  }
  for (int i = 0; i < kCount; ++i) store(scores + i * kSpan, sums[i]);
}

// Adds weight x value over the span's tokens, 16 dimensions at a time.
template <int kCount, class Value>
void add_values(const Query* queries, const float* weights, const float* rescale,
                const Value* const* values, int64_t tokens, int64_t head_dim) {
  for (int64_t k = 0; k + 16 <= head_dim; k += 16) {
    F32x16 sums[kCount];
    for (int i = 0; i < kCount; ++i) sums[i] = load(queries[i].out + k) * rescale[i];
    for (int64_t t = 0; t < tokens; ++t) {
      const F32x16 value = load_cached(values[t] + k);
      for (int i = 0; i < kCount; ++i)
        sums[i] = multiply_add(splat(weights[i * kSpan + t]), value, sums[i]);
    }
    for (int i = 0; i < kCount; ++i) store(queries[i].out + k, sums[i]);
  }
  for (int64_t k = head_dim / 16 * 16; k < head_dim; ++k) {  // a width that 16 does not divide
    for (int i = 0; i < kCount; ++i) {
      float total = queries[i].out[k] * rescale[i];
      for (int64_t t = 0; t < tokens; ++t)
        total += weights[i * kSpan + t] * load_one(values[t] + k);
      queries[i].out[k] = total;
    }
  }
}

// Turns a span's scores into weights; updates the running maximum and total, and returns the
// factor by which what was added before must shrink.
inline float soften(float* scores, int64_t first, int64_t position, float& highest, float& total) {
  static_assert(kSpan == 64);
  const I32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  F32x16 s[4];
  F32x16 top = splat(kLowest);
  for (int j = 0; j < 4; ++j) {
    const int64_t seen = std::clamp<int64_t>(position + 1 - first - 16 * j, 0, 16);
    s[j] = select(lane < static_cast<int32_t>(seen), load(scores + 16 * j), splat(kLowest));
    top = larger(s[j], top);
  }
  const float now = std::max(highest, maximum(top));
  const float factor = exponential(splat(highest - now))[0];
  F32x16 added = {};
  for (int j = 0; j < 4; ++j) {
    const F32x16 weight = select(s[j] > kLowest, exponential(s[j] - now), F32x16{});
    store(scores + 16 * j, weight);
    added += weight;
  }
  total = total * factor + sum(added);
  highest = now;
  return factor;
}

template <int kCount, class Value>
void attend_queries(const Attention& job, const Query* queries) {
  alignas(64) float scores[kCount * kSpan];
  const Value* values[kSpan];
  float highest[kCount], total[kCount] = {}, rescale[kCount];
  int64_t last = 0;
  for (int i = 0; i < kCount; ++i) {
    highest[i] = kLowest;
    last = std::max(last, queries[i].position);
    std::fill_n(queries[i].out, job.head_dim, 0.0f);
  }
  for (int64_t first = 0; first <= last; first += kSpan) {
    const int64_t tokens = std::min(kSpan, last + 1 - first);
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t token = first + t, inside = token % job.block_size;
      const int64_t offset = job.blocks[token / job.block_size] * job.block_bytes;
      values[t] = reinterpret_cast<const Value*>(job.values + offset) + inside * job.head_dim;
      if (t % kKeyTile == 0) {
        const auto* keys = reinterpret_cast<const Value*>(job.keys + offset);
        score_tile<kCount>(queries, keys + inside * job.head_dim, job.head_dim, scores + t);
      }
    }
    for (int i = 0; i < kCount; ++i)
      rescale[i] =
          soften(scores + i * kSpan, first, queries[i].position, highest[i], total[i]);
    add_values<kCount>(queries, scores, rescale, values, tokens, job.head_dim);
  }
  for (int i = 0; i < kCount; ++i)
    for (int64_t k = 0; k < job.head_dim; ++k) queries[i].out[k] /= total[i];
}

template <class Value>
void attend_as(const Attention& job) {
  int i = 0;
  for (; i + 4 <= job.count; i += 4) attend_queries<4, Value>(job, job.queries + i);
  for (; i + 2 <= job.count; i += 2) attend_queries<2, Value>(job, job.queries + i);
  for (; i < job.count; ++i) attend_queries<1, Value>(job, job.queries + i);
}

void attend(const Attention& job) {
  if (job.kind == CacheKind::f32) return attend_as<float>(job);
  attend_as<uint16_t>(job);
}

}  // namespace
}  // namespace ingot
