#include "model.h"

#include <cmath>
#include <stdexcept>
#include <utility>

namespace ingot {
namespace {

constexpr int64_t kRowsWorthSharing = 8;
constexpr int64_t kScoredAtOnce = 64;  // rows whose scores are held at a time

void demand(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

void demand_matrix(const Matrix& m, int64_t outputs, int64_t inputs, const char* name) {
  if (m.outputs != outputs || m.inputs != inputs)
    throw std::invalid_argument(std::string("the matrix ") + name + " has the wrong shape");
}

void check_shapes(const ModelShape& s, const ModelWeights& w, const CacheShape& cache) {
  const HeadShape& h = s.heads;
  demand(s.vocabulary > 0 && s.hidden > 0 && s.feed_forward > 0 && s.layers > 0 && s.positions > 0,
         "a size of the model is not positive");
  demand(h.keys > 0 && h.queries > 0 && h.queries % h.keys == 0,
         "the query heads do not share the key heads evenly");
  demand(h.width > 0 && h.width <= kWidestHead && h.width % 2 == 0,
         "the head width is not even, or above 1024");
  demand(s.window >= 0, "the window is negative");
  demand(s.drawn_vocabulary > 0 && s.drawn_vocabulary <= s.vocabulary,
         "more tokens to draw than there are");
  demand(cache.blocks > 0 && cache.block_size > 0 && cache.block_size % kKeyTile == 0,
         "the cache needs at least one block, of a multiple of 16 tokens");
  demand(static_cast<int64_t>(w.layers.size()) == s.layers, "the number of layers is wrong");
  const int64_t q = h.queries * h.width, kv = h.keys * h.width;
  demand_matrix(w.embedding, s.vocabulary, s.hidden, "embedding");
  demand_matrix(w.head, s.vocabulary, s.hidden, "head");
  for (const LayerWeights& layer : w.layers) {
    demand_matrix(layer.qkv, q + 2 * kv, s.hidden, "qkv");
    demand_matrix(layer.output, s.hidden, q, "output");
    demand_matrix(layer.gate_up, 2 * s.feed_forward, s.hidden, "gate_up");
    demand_matrix(layer.down, s.hidden, s.feed_forward, "down");
  }
}

}  // namespace

Model::Model(const ModelShape& shape, ModelWeights weights, const CacheShape& cache,
             const Kernels& kernels, int threads, bool pinned)
    : shape_((check_shapes(shape, weights, cache), shape)),
      weights_(std::move(weights)),
      kernels_(kernels),
      pool_(threads, pinned),
      cache_(cache.kind, shape.layers, cache.blocks, cache.block_size, shape.heads.keys,
             shape.heads.width),
      rope_(shape.heads.width, shape.rope_theta) {}

// Calls task(i) for each row of the batch, on all threads where there are enough.
template <class Task>
void Model::each_row(int64_t count, Task&& task) {
  if (count >= kRowsWorthSharing) {
    const int64_t each = (count + 4 * pool_.threads() - 1) / (4 * pool_.threads());
    return pool_.run((count + each - 1) / each, [&](int64_t part) {
      for (int64_t i = part * each; i < std::min(count, (part + 1) * each); ++i) task(i);
    });
  }
  for (int64_t i = 0; i < count; ++i) task(i);
}

void Model::forward(const Batch& batch) {
  check(batch, {shape_.vocabulary, shape_.drawn_vocabulary, shape_.positions, cache_.blocks(),
                cache_.block_size()});
  embed(batch);
  const AttentionPlan plan(batch, shape_.heads, shape_.window);
  for (int64_t i = 0; i < shape_.layers; ++i) {
    attend(weights_.layers[static_cast<size_t>(i)], i, batch, plan);
    feed_forward(weights_.layers[static_cast<size_t>(i)]);
  }
}

void Model::embed(const Batch& batch) {
  const int64_t half = rope_.half(), d = shape_.hidden;
  chunk_of_row_.clear();
  first_row_.clear();
  for (size_t c = 0; c < batch.chunks.size(); ++c) {
    first_row_.push_back(static_cast<int64_t>(chunk_of_row_.size()));
    chunk_of_row_.insert(chunk_of_row_.end(), batch.chunks[c].tokens.size(),
                         static_cast<int64_t>(c));
  }
  rows_ = static_cast<int64_t>(chunk_of_row_.size());
  float* const residual = residual_.at_least(rows_ * d);
  normed_.at_least(rows_ * d);
  float* const cosines = cosines_.at_least(rows_ * half);
  float* const sines = sines_.at_least(rows_ * half);
  each_row(rows_, [&](int64_t row) {
    const auto c = static_cast<size_t>(chunk_of_row_[static_cast<size_t>(row)]);
    const Chunk& chunk = batch.chunks[c];
    const int64_t offset = row - first_row_[c];
    unpack_row(weights_.embedding, chunk.tokens[static_cast<size_t>(offset)], residual + row * d);
    rope_.angles(chunk.start + offset, cosines + row * half, sines + row * half);
  });
}

void Model::attend(const LayerWeights& layer, int64_t index, const Batch& batch,
                   const AttentionPlan& plan) {
  const int64_t d = shape_.hidden, stride = layer.qkv.outputs;
  const int64_t mixed_width = shape_.heads.queries * shape_.heads.width;
  float* const qkv = qkv_.at_least(rows_ * stride);
  float* const mixed = mixed_.at_least(rows_ * mixed_width);
  prepared_.resize(layer.qkv, rows_);
  each_row(rows_, [&](int64_t row) {
    float* const normed = normed_.get() + row * d;
    kernels_.rms_norm(residual_.get() + row * d, layer.attention_norm, d, shape_.norm_eps, normed);
    prepared_.set(kernels_, row, normed);
  });
  multiply(kernels_, pool_, layer.qkv, prepared_, rows_, qkv, false);
  each_row(rows_, [&](int64_t row) {
    const auto c = static_cast<size_t>(chunk_of_row_[static_cast<size_t>(row)]);
    keep_keys_and_values(layer, index, batch.chunks[c], row, row - first_row_[c]);
  });
  plan.run(kernels_, pool_, cache_, index, qkv, stride, mixed);
  prepared_.resize(layer.output, rows_);
  each_row(rows_, [&](int64_t row) { prepared_.set(kernels_, row, mixed + row * mixed_width); });
  multiply(kernels_, pool_, layer.output, prepared_, rows_, residual_.get(), true);
}

// Normalises and turns a row's query and key heads, and puts its keys and values in the cache.
void Model::keep_keys_and_values(const LayerWeights& layer, int64_t index, const Chunk& chunk,
                                 int64_t row, int64_t offset) {
  const HeadShape& h = shape_.heads;
  const int64_t half = rope_.half(), position = chunk.start + offset;
  const float* const cosines = cosines_.get() + row * half;
  const float* const sines = sines_.get() + row * half;
  float* const q = qkv_.get() + row * layer.qkv.outputs;
  float* const k = q + h.queries * h.width;
  float* const v = k + h.keys * h.width;
  const float scale = 1.0f / std::sqrt(static_cast<float>(h.width));
  for (int64_t head = 0; head < h.queries; ++head) {
    float* const x = q + head * h.width;
    kernels_.rms_norm(x, layer.query_norm, h.width, shape_.norm_eps, x);
    kernels_.rotate(x, cosines, sines, half);
    for (int64_t i = 0; i < h.width; ++i) x[i] *= scale;
  }
  const int64_t block = chunk.blocks[static_cast<size_t>(position / cache_.block_size())];
  const int64_t inside = position % cache_.block_size(), at = block * cache_.block_bytes();
  for (int64_t head = 0; head < h.keys; ++head) {
    float* const x = k + head * h.width;
    kernels_.rms_norm(x, layer.key_norm, h.width, shape_.norm_eps, x);
    kernels_.rotate(x, cosines, sines, half);
    kernels_.store_key(x, h.width, cache_.kind(), inside, cache_.keys(index, head) + at,
                       cache_.key_scales(index, head) + at);
    kernels_.store_value(v + head * h.width, h.width, cache_.kind(), inside,
                         cache_.values(index, head) + at, cache_.value_scales(index, head) + at);
  }
}

void Model::feed_forward(const LayerWeights& layer) {
  const int64_t d = shape_.hidden, f = shape_.feed_forward;
  float* const gate_up = gate_up_.at_least(rows_ * 2 * f);
  prepared_.resize(layer.gate_up, rows_);
  each_row(rows_, [&](int64_t row) {
    float* const normed = normed_.get() + row * d;
    kernels_.rms_norm(residual_.get() + row * d, layer.feed_forward_norm, d, shape_.norm_eps,
                      normed);
    prepared_.set(kernels_, row, normed);
  });
  multiply(kernels_, pool_, layer.gate_up, prepared_, rows_, gate_up, false);
  prepared_.resize(layer.down, rows_);
  each_row(rows_, [&](int64_t row) {
    float* const gate = gate_up + row * 2 * f;
    kernels_.swiglu(gate, gate + f, f, gate);
    prepared_.set(kernels_, row, gate);
  });
  multiply(kernels_, pool_, layer.down, prepared_, rows_, residual_.get(), true);
}

template <class Visit>
void Model::score(const Batch& batch, Visit&& visit) {
  const int64_t d = shape_.hidden;
  std::vector<int64_t> asked;
  for (size_t c = 0; c < batch.chunks.size(); ++c) {
    const Chunk& chunk = batch.chunks[c];
    const auto end = first_row_[c] + static_cast<int64_t>(chunk.tokens.size());
    for (auto row = end - static_cast<int64_t>(chunk.rows.size()); row < end; ++row)
      asked.push_back(row);
  }
  const auto total = static_cast<int64_t>(asked.size());
  for (int64_t first = 0; first < total; first += kScoredAtOnce) {
    const int64_t count = std::min(kScoredAtOnce, total - first);
    logits_.at_least(count * shape_.vocabulary);
    prepared_.resize(weights_.head, count);
    each_row(count, [&](int64_t i) {
      float* const normed = normed_.get() + i * d;
      kernels_.rms_norm(residual_.get() + asked[static_cast<size_t>(first + i)] * d,
                        weights_.final_norm, d, shape_.norm_eps, normed);
      prepared_.set(kernels_, i, normed);
    });
    multiply(kernels_, pool_, weights_.head, prepared_, count, logits_.get(), false);
    visit(first, count);
  }
}

Outcome Model::step(const Batch& batch) {
  forward(batch);
  std::vector<const Sampling*> how;
  for (const Chunk& chunk : batch.chunks)
    for (const Sampling& row : chunk.rows) how.push_back(&row);
  Outcome outcome;
  outcome.choices.resize(how.size());
  score(batch, [&](int64_t first, int64_t count) {
    pool_.run(count, [&](int64_t i) {
      const auto at = static_cast<size_t>(first + i);
      outcome.choices[at] =
          choose(logits_.get() + i * shape_.vocabulary, shape_.drawn_vocabulary, *how[at]);
    });
  });
  for (size_t c = 0; c < batch.chunks.size(); ++c)
    if (batch.chunks[c].hidden)
      outcome.hidden.push_back(
          states(first_row_[c], static_cast<int64_t>(batch.chunks[c].tokens.size())));
  return outcome;
}

// The last hidden states of some rows, after the final norm.
std::vector<float> Model::states(int64_t first, int64_t count) {
  const int64_t d = shape_.hidden;
  std::vector<float> out(static_cast<size_t>(count * d));
  each_row(count, [&](int64_t i) {
    kernels_.rms_norm(residual_.get() + (first + i) * d, weights_.final_norm, d, shape_.norm_eps,
                      out.data() + i * d);
  });
  return out;
}

std::vector<float> Model::logits(const Batch& batch) {
  forward(batch);
  std::vector<float> all;
  score(batch, [&](int64_t, int64_t count) {
    all.insert(all.end(), logits_.get(), logits_.get() + count * shape_.vocabulary);
  });
  return all;
}

}  // namespace ingot
