// The frozen transformer: one call runs a whole batch (Qwen3, arXiv:2505.09388).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "attention.h"
#include "batch.h"
#include "buffer.h"
#include "kernels.h"
#include "kv_cache.h"
#include "linear.h"
#include "matrix.h"
#include "rope.h"
#include "thread_pool.h"

namespace ingot {

struct ModelShape {
  int64_t vocabulary, hidden, feed_forward, layers, positions;
  HeadShape heads;
  float rope_theta, norm_eps;
  int64_t sampled_vocabulary;  // only tokens below this are sampled: embeddings may be padded
  int64_t window = 0;          // tokens that each token attends to, itself included; 0 for all
};

// Norm weights are (hidden,) or, for the two head norms, (head width,), in float. Each matrix may
// have another format.
struct LayerWeights {
  const float *attention_norm, *query_norm, *key_norm, *feed_forward_norm;
  Matrix qkv;  // query heads, key heads, value heads
  Matrix output;
  Matrix gate_up;  // gates, then ups
  Matrix down;
};

struct ModelWeights {
  Matrix embedding, head;
  const float* final_norm;
  std::vector<LayerWeights> layers;
};

struct CacheShape {
  CacheFormat format;
  int64_t blocks, block_size;
};

// Why an input of a step has no result. It concerns its own sequence alone.
struct Failure {
  int64_t input;  // index in the batch
  SampleError reason;
  int64_t position;  // of the token that could not be sampled
};

// The results of a step, in the order of its inputs.
struct StepOutput {
  std::vector<SampledToken> sampled;       // one for each row of each input
  std::vector<std::vector<float>> hidden;  // (tokens, hidden) of each input that requested it
  std::vector<Failure> failures;           // at most one for each input; usually none
};

// Not thread-safe. The memory that the weights point into must outlive it.
class Model {
 public:
  // Throws std::invalid_argument where a size is out of range or does not fit the others.
  Model(const ModelShape& shape, ModelWeights weights, const CacheShape& cache,
        const Kernels& kernels, int threads, bool pinned = false);

  // Runs every input. Throws std::invalid_argument, with nothing done, where one cannot be run.
  StepOutput step(const Batch& batch);

  // As step(), but returns the scores (rows, vocabulary) instead of sampling.
  std::vector<float> logits(const Batch& batch);

  // See ThreadPool. Any thread may call it.
  void yield_cpu(bool on) { pool_.yield_cpu(on); }

  const char* kernels() const { return kernels_.name; }
  int threads() const { return pool_.threads(); }

 private:
  // Computes the last hidden state of every token, before the final norm, into residual_.
  void forward(const Batch& batch);
  void embed(const Batch& batch);
  void attend(const LayerWeights& layer, int64_t index, const Batch& batch,
              const AttentionPlan& plan);
  void store_keys_and_values(const LayerWeights& layer, int64_t index, const ModelInput& input,
                             int64_t first_row, int64_t offset);
  void feed_forward(const LayerWeights& layer);
  // Computes the scores of all sampling rows, some at a time, and calls use(first, count) while
  // those of rows [first, first + count) are in logits_.
  template <class Use>
  void score(const Batch& batch, Use&& use);
  void add_failures(const Batch& batch, StepOutput& output);
  std::vector<float> states(int64_t first, int64_t count);
  template <class Task>
  void each_row(int64_t count, Task&& task);

  ModelShape shape_;
  ModelWeights weights_;
  const Kernels& kernels_;
  ThreadPool pool_;
  KvCache cache_;
  Rope rope_;
  int64_t rows_ = 0;
  std::vector<int64_t> input_of_row_, first_row_;
  PreparedRows prepared_;
  Buffer<float> residual_, normed_, qkv_, mixed_, gate_up_, cosines_, sines_, logits_;
};

}  // namespace ingot
