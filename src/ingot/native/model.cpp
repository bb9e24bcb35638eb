#include "model.h"

#include <cmath>
#include <stdexcept>
#include <utility>

#include "finite.h"

namespace ingot {
namespace {

constexpr int64_t kMinRowsToShare = 8;  // fewer take less time than waking a thread
constexpr int64_t kMaxScoredRows = 64;  // rows whose scores are in memory at a time
// Bounds that no model comes near and that keep every product of sizes within 64 bits.
constexpr int64_t kMaxSize = int64_t{1} << 26;
constexpr int64_t kMaxPositions = int64_t{1} << 31;
constexpr int64_t kMaxBlockSize = int64_t{1} << 20;

void demand(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

void demand_matrix(const Matrix& m, int64_t outputs, int64_t inputs, const char* name) {
  if (m.outputs != outputs || m.inputs != inputs)
    throw std::invalid_argument(std::string("the matrix ") + name + " has the wrong shape");
}

void check_shapes(const ModelShape& s, const ModelWeights& w, const CacheShape& cache) {
  const HeadShape& h = s.heads;
  for (const int64_t size : {s.vocabulary, s.hidden, s.feed_forward, s.layers, h.queries, h.keys})
    demand(size > 0 && size <= kMaxSize, "a size of the model is out of range");
  demand(s.positions > 0 && s.positions <= kMaxPositions, "the context is out of range");
  demand(h.queries % h.keys == 0, "the query heads do not share the key heads evenly");
  demand(h.width > 0 && h.width <= kWidestHead && h.width % 2 == 0,
         "the head width is not even, or above 1024");
  demand(s.window >= 0 && s.window <= kMaxPositions, "the window is out of range");
  // Written so that NaN fails too.
  demand(s.rope_theta > 0 && std::isfinite(s.rope_theta), "rope_theta is not finite or not > 0");
  demand(s.norm_eps >= 0 && std::isfinite(s.norm_eps), "norm_eps is not finite or negative");
  demand(s.sampled_vocabulary > 0 && s.sampled_vocabulary <= s.vocabulary,
         "the sampled vocabulary is out of range");
  demand(cache.blocks > 0 && cache.blocks <= kMaxPositions && cache.block_size > 0 &&
             cache.block_size <= kMaxBlockSize && cache.block_size % kKeyTile == 0,
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
      cache_(cache.format, shape.layers, cache.blocks, cache.block_size, shape.heads.keys,
             shape.heads.width),
      rope_(shape.heads.width, shape.rope_theta) {}

// Calls task(i) for each i in [0, count), on all threads where there are enough.
template <class Task>
void Model::each_row(int64_t count, Task&& task) {
  if (count >= kMinRowsToShare) {
    const int64_t each = (count + 4 * pool_.threads() - 1) / (4 * pool_.threads());
    return pool_.run((count + each - 1) / each, [&](int64_t part) {
      for (int64_t i = part * each; i < std::min(count, (part + 1) * each); ++i) task(i);
    });
  }
  for (int64_t i = 0; i < count; ++i) task(i);
}

void Model::forward(const Batch& batch) {
  check(batch, {shape_.vocabulary, shape_.sampled_vocabulary, shape_.positions, cache_.blocks(),
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
  input_of_row_.clear();
  first_row_.clear();
  for (size_t i = 0; i < batch.inputs.size(); ++i) {
    first_row_.push_back(static_cast<int64_t>(input_of_row_.size()));
    input_of_row_.insert(input_of_row_.end(), batch.inputs[i].token_ids.size(),
                         static_cast<int64_t>(i));
  }
  rows_ = static_cast<int64_t>(input_of_row_.size());
  float* const residual = residual_.at_least(rows_ * d);
  normed_.at_least(rows_ * d);
  float* const cosines = cosines_.at_least(rows_ * half);
  float* const sines = sines_.at_least(rows_ * half);
  each_row(rows_, [&](int64_t row) {
    const auto i = static_cast<size_t>(input_of_row_[static_cast<size_t>(row)]);
    const ModelInput& input = batch.inputs[i];
    const int64_t offset = row - first_row_[i];
    unpack_row(weights_.embedding, input.token_ids[static_cast<size_t>(offset)],
               residual + row * d);
    rope_.angles(input.start + offset, cosines + row * half, sines + row * half);
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
    const auto i = static_cast<size_t>(input_of_row_[static_cast<size_t>(row)]);
    store_keys_and_values(layer, index, batch.inputs[i], row, row - first_row_[i]);
  });
  plan.run(kernels_, pool_, cache_, index, qkv, stride, mixed);
  prepared_.resize(layer.output, rows_);
  each_row(rows_, [&](int64_t row) { prepared_.set(kernels_, row, mixed + row * mixed_width); });
  multiply(kernels_, pool_, layer.output, prepared_, rows_, residual_.get(), true);
}

// Normalizes and rotates a row's query and key heads, and stores its keys and values in the cache.
void Model::store_keys_and_values(const LayerWeights& layer, int64_t index, const ModelInput& input,
                                  int64_t row, int64_t offset) {
  const HeadShape& h = shape_.heads;
  const int64_t half = rope_.half(), position = input.start + offset;
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
  const int64_t block = input.block_table[static_cast<size_t>(position / cache_.block_size())];
  const int64_t inside = position % cache_.block_size(), at = block * cache_.block_bytes();
  for (int64_t head = 0; head < h.keys; ++head) {
    float* const x = k + head * h.width;
    kernels_.rms_norm(x, layer.key_norm, h.width, shape_.norm_eps, x);
    kernels_.rotate(x, cosines, sines, half);
    kernels_.store_key(x, h.width, cache_.format(), inside, cache_.keys(index, head) + at,
                       cache_.key_scales(index, head) + at);
    kernels_.store_value(v + head * h.width, h.width, cache_.format(), inside,
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

template <class Use>
void Model::score(const Batch& batch, Use&& use) {
  const int64_t d = shape_.hidden;
  std::vector<int64_t> scored;
  for (size_t i = 0; i < batch.inputs.size(); ++i) {
    const ModelInput& input = batch.inputs[i];
    const auto end = first_row_[i] + static_cast<int64_t>(input.token_ids.size());
    for (auto row = end - static_cast<int64_t>(input.rows.size()); row < end; ++row)
      scored.push_back(row);
  }
  const auto total = static_cast<int64_t>(scored.size());
  for (int64_t first = 0; first < total; first += kMaxScoredRows) {
    const int64_t count = std::min(kMaxScoredRows, total - first);
    logits_.at_least(count * shape_.vocabulary);
    prepared_.resize(weights_.head, count);
    each_row(count, [&](int64_t i) {
      float* const normed = normed_.get() + i * d;
      kernels_.rms_norm(residual_.get() + scored[static_cast<size_t>(first + i)] * d,
                        weights_.final_norm, d, shape_.norm_eps, normed);
      prepared_.set(kernels_, i, normed);
    });
    multiply(kernels_, pool_, weights_.head, prepared_, count, logits_.get(), false);
    use(first, count);
  }
}

StepOutput Model::step(const Batch& batch) {
  forward(batch);
  std::vector<const SamplingRow*> rows;
  for (const ModelInput& input : batch.inputs)
    for (const SamplingRow& row : input.rows) rows.push_back(&row);
  StepOutput output;
  output.sampled.resize(rows.size());
  score(batch, [&](int64_t first, int64_t count) {
    pool_.run(count, [&](int64_t i) {
      const auto at = static_cast<size_t>(first + i);
      output.sampled[at] =
          sample(logits_.get() + i * shape_.vocabulary, shape_.sampled_vocabulary, *rows[at]);
    });
  });
  for (size_t i = 0; i < batch.inputs.size(); ++i)
    if (batch.inputs[i].hidden)
      output.hidden.push_back(
          states(first_row_[i], static_cast<int64_t>(batch.inputs[i].token_ids.size())));
  add_failures(batch, output);
  return output;
}

// Lists the inputs with a token that could not be sampled or a state that is not finite. States are
// checked also where nothing is sampled: the cache must not offer the blocks of such a chunk again.
void Model::add_failures(const Batch& batch, StepOutput& output) {
  // All at once first, because that is all there is to do in nearly every step.
  const bool finite = all_finite(residual_.get(), rows_ * shape_.hidden);
  size_t sampled = 0, hidden = 0;
  for (size_t i = 0; i < batch.inputs.size(); ++i) {
    const ModelInput& input = batch.inputs[i];
    const auto count = static_cast<int64_t>(input.token_ids.size());
    Failure failure{.input = static_cast<int64_t>(i),
                    .reason = SampleError::none,
                    .position = input.start + count};
    if (!finite &&
        !all_finite(residual_.get() + first_row_[i] * shape_.hidden, count * shape_.hidden))
      failure.reason = SampleError::not_finite;
    if (input.hidden) {  // a norm weight may be what makes them infinite
      const std::vector<float>& states = output.hidden[hidden++];
      if (!all_finite(states.data(), static_cast<int64_t>(states.size())))
        failure.reason = SampleError::not_finite;
    }
    for (const SamplingRow& row : input.rows) {
      const SampleError error = output.sampled[sampled++].error;
      if (error == SampleError::none || failure.reason != SampleError::none) continue;
      failure.reason = error;
      failure.position = static_cast<int64_t>(row.position);
    }
    if (failure.reason != SampleError::none) output.failures.push_back(failure);
  }
}

// Returns the last hidden states (count, hidden) of some rows, after the final norm.
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
