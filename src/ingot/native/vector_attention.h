// Paged attention with an online softmax (arXiv:2205.14135, arXiv:2309.06180), over vector.h.
#pragma once

#include <algorithm>
#include <type_traits>

#include "kernels.h"
#include "vector.h"
#include "vector_kernels.h"

namespace ingot {
namespace {

// Tokens between two rescalings. Spans begin at fixed positions, so a query's sums have one order,
// whatever the chunk or batch.
inline constexpr int64_t kSpan = 64;
inline constexpr float kLowest = -3.0e38f;

template <class Value>
Value* row_of(uint8_t* memory, int64_t index) {
  return reinterpret_cast<Value*>(memory) + index;
}

// The quantized vector of a head; its scale is stored at once.
struct HeadCodes {
  HeadCodes(const float* x, int64_t head_dim, int64_t token, uint8_t* scales) {
    int32_t sums[kWidestHead / kSumUnit];
    float scale;
    quantize(x, head_dim, round_up(head_dim, kDepthUnit), codes, &scale, sums);
    *row_of<float>(scales, token) = scale;
  }
  int8_t codes[kWidestHead];
};

void store_key(const float* key, int64_t head_dim, CacheFormat format, int64_t token, uint8_t* keys,
               uint8_t* scales) {
  const int64_t first = token / kKeyTile * head_dim * kKeyTile + token % kKeyTile;
  if (format == CacheFormat::int8) {
    const HeadCodes quantized(key, head_dim, token, scales);
    for (int64_t k = 0; k < head_dim; ++k)
      *row_of<int8_t>(keys, first + k * kKeyTile) = quantized.codes[k];
    return;
  }
  for (int64_t k = 0; k < head_dim; ++k) {
    if (format == CacheFormat::f32) {
      *row_of<float>(keys, first + k * kKeyTile) = key[k];
    } else {
      *row_of<uint16_t>(keys, first + k * kKeyTile) = round_bf16(key[k]);
    }
  }
}

void store_value(const float* value, int64_t head_dim, CacheFormat format, int64_t token,
                 uint8_t* values, uint8_t* scales) {
  if (format == CacheFormat::f32) {
    std::copy_n(value, head_dim, row_of<float>(values, token * head_dim));
    return;
  }
  if (format == CacheFormat::int8) {
    const HeadCodes quantized(value, head_dim, token, scales);
    std::copy_n(quantized.codes, head_dim, row_of<int8_t>(values, token * head_dim));
    return;
  }
  for (int64_t k = 0; k < head_dim; ++k)
    *row_of<uint16_t>(values, token * head_dim + k) = round_bf16(value[k]);
}

// Vectors of 16 that a query works on at a time: enough sums in flight to hide the latency of an
// addition, few enough to stay in registers. Their number changes no sum.
#if defined(__AVX512F__)
template <int kCount>
inline constexpr int kVectors = 4;
#else
template <int kCount>
inline constexpr int kVectors = kCount <= 2 ? 2 : 1;
#endif

// The start of 16 interleaved keys, and their scales for int8.
template <class Value>
struct KeyTile {
  const Value* keys;
  const float* scales;
};

// The addresses of the keys and values of at most kSpan tokens.
template <class Value>
struct Span {
  void find(const Attention& job, int64_t first, int64_t last) {
    tokens = std::clamp<int64_t>(last + 1 - first, 0, kSpan);
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t token = first + t, inside = token % job.block_size;
      const int64_t offset = job.blocks[token / job.block_size] * job.block_bytes;
      values[t] = reinterpret_cast<const Value*>(job.values + offset) + inside * job.head_dim;
      if (t % kKeyTile != 0) continue;
      tiles[t / kKeyTile].keys =
          reinterpret_cast<const Value*>(job.keys + offset) + inside * job.head_dim;
      if constexpr (std::is_same_v<Value, int8_t>) {
        tiles[t / kKeyTile].scales =
            reinterpret_cast<const float*>(job.key_scales + offset) + inside;
        const auto* from = reinterpret_cast<const float*>(job.value_scales + offset) + inside;
        store(value_scales + t, load(from));
      }
    }
  }

  int64_t tokens = 0;
  const Value* values[kSpan];
  KeyTile<Value> tiles[kSpan / kKeyTile];
  [[maybe_unused]] float value_scales[kSpan];
};

// Prefetches a cache line of the next span. Blocks lie anywhere in memory, and hardware prefetching
// stops at the end of each page. One line is requested for each that is read, which spreads the
// requests evenly.
template <class Value>
inline void prefetch(const Value* next) {
  __builtin_prefetch(next, 0, 2);
}

// Scores of kCount queries against kTiles tiles of keys.
template <int kCount, int kTiles, class Value>
void score_tiles(const Query* queries, const KeyTile<Value>* tiles, const KeyTile<Value>* next,
                 int64_t head_dim, float* scores) {
  constexpr int64_t kLine = 64 / (kKeyTile * static_cast<int64_t>(sizeof(Value)));
  F32x16 sums[kCount][kTiles] = {};
  for (int64_t k = 0; k < head_dim; ++k) {
    F32x16 key[kTiles];
    for (int t = 0; t < kTiles; ++t) key[t] = load_cached(tiles[t].keys + k * kKeyTile);
    if (next && k % std::max<int64_t>(kLine, 1) == 0)
      for (int t = 0; t < kTiles; ++t) prefetch(next[t].keys + k * kKeyTile);
    for (int i = 0; i < kCount; ++i)
      for (int t = 0; t < kTiles; ++t)
        sums[i][t] = multiply_add(splat(queries[i].q[k]), key[t], sums[i][t]);
  }
  for (int i = 0; i < kCount; ++i)
    for (int t = 0; t < kTiles; ++t) {
      if constexpr (std::is_same_v<Value, int8_t>) sums[i][t] *= load(tiles[t].scales);
      store(scores + i * kSpan + t * kKeyTile, sums[i][t]);
    }
}

template <int kCount, class Value>
void score_span(const Query* queries, const Span<Value>& now, const Span<Value>& next,
                int64_t head_dim, float* scores) {
  constexpr int kTiles = kVectors<kCount>;
  const int64_t count = (now.tokens + kKeyTile - 1) / kKeyTile;
  const bool more = next.tokens == kSpan;
  int64_t t = 0;
  for (; t + kTiles <= count; t += kTiles)
    score_tiles<kCount, kTiles>(queries, now.tiles + t, more ? next.tiles + t : nullptr, head_dim,
                                scores + t * kKeyTile);
  for (; t < count; ++t)
    score_tiles<kCount, 1, Value>(queries, now.tiles + t, nullptr, head_dim, scores + t * kKeyTile);
}

// Adds weight x value over the span's tokens for 16 kParts dimensions from `k` on.
template <int kCount, int kParts, class Value>
void add_parts(const Query* queries, const float* weights, const float* rescale,
               const Span<Value>& now, const Span<Value>& next, int64_t k) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(Value));
  const bool more = next.tokens == kSpan;
  F32x16 sums[kCount][kParts];
  for (int i = 0; i < kCount; ++i)
    for (int p = 0; p < kParts; ++p) sums[i][p] = load(queries[i].out + k + p * 16) * rescale[i];
  for (int64_t t = 0; t < now.tokens; ++t) {
    F32x16 value[kParts];
    for (int p = 0; p < kParts; ++p) value[p] = load_cached(now.values[t] + k + p * 16);
    if (more)
      for (int64_t at = 0; at < 16 * kParts; at += kLine) prefetch(next.values[t] + k + at);
    for (int i = 0; i < kCount; ++i)
      for (int p = 0; p < kParts; ++p)
        sums[i][p] = multiply_add(splat(weights[i * kSpan + t]), value[p], sums[i][p]);
  }
  for (int i = 0; i < kCount; ++i)
    for (int p = 0; p < kParts; ++p) store(queries[i].out + k + p * 16, sums[i][p]);
}

template <int kCount, class Value>
void add_values(const Query* queries, const float* weights, const float* rescale,
                const Span<Value>& now, const Span<Value>& next, int64_t head_dim) {
  constexpr int kParts = kVectors<kCount>;
  int64_t k = 0;
  for (; k + 16 * kParts <= head_dim; k += 16 * kParts)
    add_parts<kCount, kParts>(queries, weights, rescale, now, next, k);
  for (; k + 16 <= head_dim; k += 16) add_parts<kCount, 1>(queries, weights, rescale, now, next, k);
  for (; k < head_dim; ++k) {  // a width that 16 does not divide
    for (int i = 0; i < kCount; ++i) {
      float total = queries[i].out[k] * rescale[i];
      for (int64_t t = 0; t < now.tokens; ++t)
        total += weights[i * kSpan + t] * load_one(now.values[t] + k);
      queries[i].out[k] = total;
    }
  }
}

// Replaces a span's scores by softmax weights, zero outside tokens [from, position]. Updates the
// running maximum and total, and returns the factor for what earlier spans have added.
inline float softmax_span(float* scores, int64_t first, int64_t from, int64_t position,
                          float& highest, float& total) {
  static_assert(kSpan == 64);
  const I32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  F32x16 s[4];
  F32x16 top = splat(kLowest);
  for (int j = 0; j < 4; ++j) {
    const auto begin = static_cast<int32_t>(std::clamp<int64_t>(from - first - 16 * j, 0, 16));
    const auto end =
        static_cast<int32_t>(std::clamp<int64_t>(position + 1 - first - 16 * j, 0, 16));
    s[j] = select((lane >= begin) & (lane < end), load(scores + 16 * j), splat(kLowest));
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

// The first token that a query attends to.
inline int64_t seen_from(const Attention& job, const Query& query) {
  return job.window > 0 ? std::max<int64_t>(0, query.position + 1 - job.window) : 0;
}

template <int kCount, class Value>
void attend_queries(const Attention& job, const Query* queries) {
  alignas(64) float scores[kCount * kSpan];
  float highest[kCount], total[kCount] = {}, rescale[kCount];
  int64_t last = 0, begin = queries[0].position;
  for (int i = 0; i < kCount; ++i) {
    highest[i] = kLowest;
    last = std::max(last, queries[i].position);
    begin = std::min(begin, seen_from(job, queries[i]));
    std::fill_n(queries[i].out, job.head_dim, 0.0f);
  }
  Span<Value> spans[2];
  int64_t first = begin / kSpan * kSpan;
  spans[0].find(job, first, last);
  for (int at = 0; spans[at].tokens > 0; at = 1 - at) {
    const Span<Value>& now = spans[at];
    Span<Value>& next = spans[1 - at];
    next.find(job, first + kSpan, last);
    score_span<kCount>(queries, now, next, job.head_dim, scores);
    for (int i = 0; i < kCount; ++i) {
      float* const weights = scores + i * kSpan;
      rescale[i] = softmax_span(weights, first, seen_from(job, queries[i]), queries[i].position,
                                highest[i], total[i]);
      if constexpr (std::is_same_v<Value, int8_t>)
        for (int64_t t = 0; t < now.tokens; ++t) weights[t] *= now.value_scales[t];
    }
    add_values<kCount>(queries, scores, rescale, now, next, job.head_dim);
    first += kSpan;
  }
  for (int i = 0; i < kCount; ++i)
    for (int64_t k = 0; k < job.head_dim; ++k) queries[i].out[k] /= total[i];
}

template <class Value>
void attend_as(const Attention& job) {
  int i = 0;
  for (; i + 4 <= job.count; i += 4) attend_queries<4, Value>(job, job.queries + i);
  const int left = job.count - i;
  if (left == 3) attend_queries<3, Value>(job, job.queries + i);
  if (left == 2) attend_queries<2, Value>(job, job.queries + i);
  if (left == 1) attend_queries<1, Value>(job, job.queries + i);
}

void attend(const Attention& job) {
  if (job.format == CacheFormat::f32) return attend_as<float>(job);
  if (job.format == CacheFormat::int8) return attend_as<int8_t>(job);
  attend_as<uint16_t>(job);
}

}  // namespace
}  // namespace ingot
