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
  int64_t drawn_vocabulary;  // only the first so many tokens are ever drawn
  int64_t window = 0;        // tokens that each one sees, itself included; 0 for all
};

// Float gains are (hidden,) or, for the two head norms, (head width,). Matrices may be of any kind.
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
  CacheKind kind;
  int64_t blocks, block_size;
};

// What a step gives back, in the order of the chunks.
struct Outcome {
  std::vector<Choice> choices;             // one for each row asked for
  std::vector<std::vector<float>> hidden;  // (tokens, hidden) of each chunk that asked for it
};

// Not thread-safe. The memory that the weights point into must outlive it.
class Model {
 public:
  // Throws std::invalid_argument where the sizes do not fit together.
  Model(const ModelShape& shape, ModelWeights weights, const CacheShape& cache,
        const Kernels& kernels, int threads, bool pinned = false);

  // Runs every chunk. Throws std::out_of_range, with nothing done, where the batch is not one this
  // model can run.
  Outcome step(const Batch& batch);

  // As step(), but returns the scores (rows asked for, vocabulary) instead of choosing.
  std::vector<float> logits(const Batch& batch);

  // See ThreadPool; any thread may call it.
  void make_way(bool on) { pool_.make_way(on); }

  const char* kernels() const { return kernels_.name; }
  int threads() const { return pool_.threads(); }

 private:
  // Leaves every token's state in residual_.
  void forward(const Batch& batch);
  void embed(const Batch& batch);
  void attend(const LayerWeights& layer, int64_t index, const Batch& batch,
              const AttentionPlan& plan);
  void keep_keys_and_values(const LayerWeights& layer, int64_t index, const Chunk& chunk,
                            int64_t first_row, int64_t offset);
  void feed_forward(const LayerWeights& layer);
  // Scores the rows asked for, a few at a time, and calls visit(first, count) with each lot's
  // scores in logits_.
  template <class Visit>
  void score(const Batch& batch, Visit&& visit);
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
  std::vector<int64_t> chunk_of_row_, first_row_;
  PreparedRows prepared_;
  Buffer<float> residual_, normed_, qkv_, mixed_, gate_up_, cosines_, sines_, logits_;
};

}  // namespace ingot
