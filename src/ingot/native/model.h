// The frozen transformer: one call runs a whole batch. Qwen3's (arXiv:2505.09388), with the
// switches of model_shape.h.
#pragma once

#include <atomic>
#include <optional>
#include <vector>

#include "attention.h"
#include "batch.h"
#include "buffer.h"
#include "kernels.h"
#include "kv_cache.h"
#include "linear.h"
#include "model_shape.h"
#include "rope.h"
#include "thread_pool.h"

namespace ingot {

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

  // As step(), but returns nothing where interrupt(true) was called before or while it ran. What it
  // wrote to the cache by then, the same inputs write again. Looks before each half of a layer.
  std::optional<StepOutput> try_step(const Batch& batch);

  // Stops try_step(), now and until interrupt(false). Any thread may call it.
  void interrupt(bool on) { interrupted_ = on; }

  // As step(), but returns the scores (rows, vocabulary) instead of sampling.
  std::vector<float> logits(const Batch& batch);

  // See ThreadPool. Any thread may call it.
  void yield_cpu(bool on) { pool_.yield_cpu(on); }

  const char* kernels() const { return kernels_.name; }
  int threads() const { return pool_.threads(); }

 private:
  // Computes the last hidden state of every token, before the final norm, into residual_. Returns
  // whether it came to the end.
  bool forward(const Batch& batch, bool interruptible);
  std::optional<StepOutput> run(const Batch& batch, bool interruptible);
  void embed(const Batch& batch);
  void attend(int64_t index, const Batch& batch, const AttentionPlan& plan);
  void store_keys_and_values(int64_t index, const ModelInput& input, int64_t row, int64_t offset);
  // Normalizes and rotates a row's query or key heads.
  void norm_and_rotate(float* heads, int64_t count, const float* norm, const Rope* rope,
                       int64_t row) const;
  void feed_forward(const LayerWeights& layer);
  // Prepares all rows of the residual stream, normalized where there is a norm, for a matrix.
  void prepare_residual(const Matrix& matrix, const NormWeights& norm);
  // residual_ += norm(prepared rows * matrix + bias), the norm and the bias where there are any.
  void add_to_residual(const Matrix& matrix, const float* bias, const NormWeights& norm);
  void normalize(const NormWeights& norm, const float* x, float* out) const;
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
  std::vector<Rope> ropes_;
  std::atomic<bool> interrupted_{false};
  int64_t rows_ = 0;
  std::vector<int64_t> input_of_row_, first_row_;
  PreparedRows prepared_;
  Buffer<float> residual_, normed_, qkv_, mixed_, gate_up_, logits_;
};

}  // namespace ingot
