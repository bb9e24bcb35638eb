#include "model.h"

#include <cmath>
#include <utility>

#include "finite.h"

namespace ingot {
namespace {

constexpr int64_t kMinRowsToShare = 8;  // fewer take less time than waking a thread
constexpr int64_t kMaxScoredRows = 64;  // rows whose scores are in memory at a time

// x += y, where there is a y.
void add(float* x, const float* y, int64_t width) {
  if (!y) return;
  for (int64_t i = 0; i < width; ++i) x[i] += y[i];
}

}  // namespace

Model::Model(const ModelShape& shape, ModelWeights weights, const CacheShape& cache,
             const Kernels& kernels, int threads, bool pinned)
    : shape_((check_shapes(shape, weights, cache), shape)),
      weights_(std::move(weights)),
      kernels_(kernels),
      pool_(threads, pinned),
      cache_(cache.format, static_cast<int64_t>(shape.layers.size()), cache.blocks,
             cache.block_size, shape.heads.keys, shape.heads.width),
      ropes_(shape.rope_tables.begin(), shape.rope_tables.end()) {}

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

bool Model::forward(const Batch& batch, bool interruptible) {
  check(batch, {shape_.vocabulary, shape_.sampled_vocabulary, shape_.positions, cache_.blocks(),
                cache_.block_size()});
  embed(batch);
  const AttentionPlan plan(batch, shape_.heads);
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    if (interruptible && interrupted_) return false;
    attend(static_cast<int64_t>(i), batch, plan);
    if (interruptible && interrupted_) return false;
    feed_forward(weights_.layers[i]);
  }
  return !(interruptible && interrupted_);
}

void Model::embed(const Batch& batch) {
  const int64_t d = shape_.hidden;
  input_of_row_.clear();
  first_row_.clear();
  for (size_t i = 0; i < batch.inputs.size(); ++i) {
    first_row_.push_back(static_cast<int64_t>(input_of_row_.size()));
    input_of_row_.insert(input_of_row_.end(), batch.inputs[i].token_ids.size(),
                         static_cast<int64_t>(i));
  }
  rows_ = static_cast<int64_t>(input_of_row_.size());
  float* const residual = residual_.at_least(rows_ * d);
  float* const normed = normed_.at_least(rows_ * d);
  for (Rope& rope : ropes_) rope.resize(rows_);
  each_row(rows_, [&](int64_t row) {
    const auto i = static_cast<size_t>(input_of_row_[static_cast<size_t>(row)]);
    const ModelInput& input = batch.inputs[i];
    const int64_t offset = row - first_row_[i], position = input.start + offset;
    float* const x = residual + row * d;
    unpack_row(weights_.embedding, input.token_ids[static_cast<size_t>(offset)], x);
    if (weights_.positions.outputs) {
      unpack_row(weights_.positions, position, normed + row * d);
      add(x, normed + row * d, d);
    }
    for (Rope& rope : ropes_) rope.set(row, position);
  });
}

void Model::normalize(const NormWeights& norm, const float* x, float* out) const {
  if (!norm.bias) return kernels_.rms_norm(x, norm.weight, shape_.hidden, shape_.norm_eps, out);
  kernels_.layer_norm(x, norm.weight, norm.bias, shape_.hidden, shape_.norm_eps, out);
}

void Model::prepare_residual(const Matrix& matrix, const NormWeights& norm) {
  const int64_t d = shape_.hidden;
  prepared_.resize(matrix, rows_);
  each_row(rows_, [&](int64_t row) {
    const float* const x = residual_.get() + row * d;
    if (!norm.weight) return prepared_.set(kernels_, row, x);
    float* const normed = normed_.get() + row * d;
    normalize(norm, x, normed);
    prepared_.set(kernels_, row, normed);
  });
}

void Model::add_to_residual(const Matrix& matrix, const float* bias, const NormWeights& norm) {
  if (!bias && !norm.weight)
    return multiply(kernels_, pool_, matrix, prepared_, rows_, residual_.get(), true);
  const int64_t d = shape_.hidden;
  float* const added = normed_.get();  // whose rows have been prepared, which copies them
  multiply(kernels_, pool_, matrix, prepared_, rows_, added, false);
  each_row(rows_, [&](int64_t row) {
    float* const x = added + row * d;
    add(x, bias, d);
    if (norm.weight) normalize(norm, x, x);
    add(residual_.get() + row * d, x, d);
  });
}

void Model::attend(int64_t index, const Batch& batch, const AttentionPlan& plan) {
  const LayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
  const int64_t stride = layer.qkv.outputs;
  const int64_t mixed_width = shape_.heads.queries * shape_.heads.width;
  float* const qkv = qkv_.at_least(rows_ * stride);
  float* const mixed = mixed_.at_least(rows_ * mixed_width);
  prepare_residual(layer.qkv, layer.attention_norm);
  multiply(kernels_, pool_, layer.qkv, prepared_, rows_, qkv, false);
  each_row(rows_, [&](int64_t row) {
    const auto i = static_cast<size_t>(input_of_row_[static_cast<size_t>(row)]);
    store_keys_and_values(index, batch.inputs[i], row, row - first_row_[i]);
  });
  plan.run(kernels_, pool_, cache_,
           {.layer = index,
            .window = shape_.layers[static_cast<size_t>(index)].window,
            .q = qkv,
            .stride = stride,
            .out = mixed});
  prepared_.resize(layer.output, rows_);
  each_row(rows_, [&](int64_t row) { prepared_.set(kernels_, row, mixed + row * mixed_width); });
  add_to_residual(layer.output, layer.output_bias, layer.attention_output_norm);
}

// Makes a row's queries ready for attention, and stores its keys and values in the cache.
void Model::store_keys_and_values(int64_t index, const ModelInput& input, int64_t row,
                                  int64_t offset) {
  const LayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
  const int64_t table = shape_.layers[static_cast<size_t>(index)].rope_table;
  const Rope* const rope = table < 0 ? nullptr : &ropes_[static_cast<size_t>(table)];
  const HeadShape& h = shape_.heads;
  float* const q = qkv_.get() + row * layer.qkv.outputs;
  float* const k = q + h.queries * h.width;
  float* const v = k + h.keys * h.width;
  add(q, layer.query_bias, h.queries * h.width);
  add(k, layer.key_bias, h.keys * h.width);
  add(v, layer.value_bias, h.keys * h.width);
  norm_and_rotate(q, h.queries, layer.query_norm, rope, row);
  norm_and_rotate(k, h.keys, layer.key_norm, rope, row);
  const float scale = 1.0f / std::sqrt(static_cast<float>(h.width));
  for (int64_t i = 0; i < h.queries * h.width; ++i) q[i] *= scale;
  const int64_t position = input.start + offset, inside = position % cache_.block_size();
  const int64_t block = input.block_table[static_cast<size_t>(position / cache_.block_size())];
  const int64_t at = block * cache_.block_bytes();
  for (int64_t head = 0; head < h.keys; ++head) {
    kernels_.store_key(k + head * h.width, h.width, cache_.format(), inside,
                       cache_.keys(index, head) + at, cache_.key_scales(index, head) + at);
    kernels_.store_value(v + head * h.width, h.width, cache_.format(), inside,
                         cache_.values(index, head) + at, cache_.value_scales(index, head) + at);
  }
}

void Model::norm_and_rotate(float* heads, int64_t count, const float* norm, const Rope* rope,
                            int64_t row) const {
  const int64_t width = shape_.heads.width;
  if (shape_.head_norm == HeadNorm::projection)
    kernels_.rms_norm(heads, norm, count * width, shape_.norm_eps, heads);
  for (int64_t head = 0; head < count; ++head) {
    float* const x = heads + head * width;
    if (shape_.head_norm == HeadNorm::head) kernels_.rms_norm(x, norm, width, shape_.norm_eps, x);
    if (rope) kernels_.rotate(x, rope->cosines(row), rope->sines(row), rope->half());
  }
}

void Model::feed_forward(const LayerWeights& layer) {
  const int64_t f = shape_.feed_forward, width = layer.gate_up.outputs;
  float* const gate_up = gate_up_.at_least(rows_ * width);
  prepare_residual(layer.gate_up, layer.feed_forward_norm);
  multiply(kernels_, pool_, layer.gate_up, prepared_, rows_, gate_up, false);
  prepared_.resize(layer.down, rows_);
  each_row(rows_, [&](int64_t row) {
    float* const first = gate_up + row * width;
    float* const up = shape_.gated ? first + f : first;
    add(first, layer.gate_bias, f);
    add(up, layer.up_bias, f);
    kernels_.activate(shape_.activation, first, shape_.gated ? up : nullptr, f, first);
    prepared_.set(kernels_, row, first);
  });
  add_to_residual(layer.down, layer.down_bias, layer.feed_forward_output_norm);
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
      normalize(weights_.final_norm, residual_.get() + scored[static_cast<size_t>(first + i)] * d,
                normed);
      prepared_.set(kernels_, i, normed);
    });
    multiply(kernels_, pool_, weights_.head, prepared_, count, logits_.get(), false);
    use(first, count);
  }
}

StepOutput Model::step(const Batch& batch) { return *run(batch, false); }

std::optional<StepOutput> Model::try_step(const Batch& batch) { return run(batch, true); }

std::optional<StepOutput> Model::run(const Batch& batch, bool interruptible) {
  if (!forward(batch, interruptible)) return std::nullopt;
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
    normalize(weights_.final_norm, residual_.get() + (first + i) * d, out.data() + i * d);
  });
  return out;
}

std::vector<float> Model::logits(const Batch& batch) {
  forward(batch, false);
  std::vector<float> all;
  score(batch, [&](int64_t, int64_t count) {
    all.insert(all.end(), logits_.get(), logits_.get() + count * shape_.vocabulary);
  });
  return all;
}

}  // namespace ingot
