// Runs the whole core without Python, to be built with sanitizers: odd sizes, every kind of weights
// and cache, chunks cut in two ways, bad batches, two models at once, many short jobs.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "isa.h"
#include "model.h"

namespace ingot {
namespace {

void demand(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

// A small model of sizes that fill no vector evenly, with the memory it lies in.
class TinyModel {
 public:
  TinyModel(WeightKind kind, CacheKind cache, const Kernels& kernels, int threads) {
    const HeadShape heads{4, 2, 10};
    const ModelShape shape{77, 36, 51, 2, 200, heads, 10000.0f, 1e-6f, 70};
    ModelWeights weights;
    weights.embedding = weights.head = matrix(kind, shape.vocabulary, shape.hidden);
    weights.final_norm = gains();
    for (int64_t i = 0; i < shape.layers; ++i)
      weights.layers.push_back({gains(), gains(), gains(), gains(), matrix(kind, 80, 36),
                                matrix(kind, 36, 40), matrix(kind, 102, 36),
                                matrix(kind, 36, 51)});
    model_ = std::make_unique<Model>(shape, weights, CacheShape{cache, 20, 32}, kernels, threads);
  }
  Model& operator*() { return *model_; }
  Model* operator->() { return model_.get(); }

 private:
  Matrix matrix(WeightKind kind, int64_t outputs, int64_t inputs) {
    std::normal_distribution<float> normal;
    std::vector<uint16_t> bits(static_cast<size_t>(outputs * inputs));
    for (uint16_t& value : bits) {
      const float drawn = normal(random_);
      uint32_t word;
      std::memcpy(&word, &drawn, sizeof(word));
      value = static_cast<uint16_t>(word >> 16);
    }
    const auto bytes = static_cast<int64_t>(packed_bytes(kind, outputs, inputs, 32));
    uint8_t* memory = packed_.emplace_back().at_least(bytes);
    pack(kind, bits.data(), outputs, inputs, 32, memory);
    return view_packed(kind, memory, outputs, inputs, 32);
  }
  const float* gains() const { return ones_.data(); }

  std::mt19937 random_{1};
  std::vector<Buffer<uint8_t>> packed_;
  std::vector<float> ones_ = std::vector<float>(64, 1.0f);
  std::unique_ptr<Model> model_;
};

Chunk chunk(const std::vector<int32_t>& tokens, int64_t start, int64_t count,
            const std::vector<int32_t>& blocks) {
  Chunk made;
  made.tokens = std::span(tokens).subspan(static_cast<size_t>(start), static_cast<size_t>(count));
  made.start = start;
  made.blocks = blocks;
  made.draws = true;
  made.sampling = {0.8, 0.9, 0.01, 40, 7, static_cast<uint64_t>(start + count), 3};
  return made;
}

void test_cuts(WeightKind kind, CacheKind cache, const Kernels& kernels) {
  TinyModel whole(kind, cache, kernels, 1), cut(kind, cache, kernels, 3);
  std::vector<int32_t> tokens(150), other(150);
  for (int i = 0; i < 150; ++i) tokens[i] = (i * 31) % 77, other[i] = (i * 17) % 77;
  const std::vector<int32_t> blocks{3, 1, 19, 0, 7}, others{2, 4, 5, 6, 8};
  const auto expected = whole->logits({{chunk(tokens, 0, 150, blocks)}});
  cut->logits({{chunk(other, 0, 33, others), chunk(tokens, 0, 1, blocks)}});
  cut->logits({{chunk(tokens, 1, 70, blocks), chunk(other, 33, 1, others)}});
  const auto last = cut->logits({{chunk(other, 34, 7, others), chunk(tokens, 71, 79, blocks)}});
  demand(std::equal(expected.begin(), expected.end(), last.begin() + 77), "cuts change bits");
  demand(whole->step({{chunk(tokens, 149, 1, blocks)}})[0].token >= 0, "nothing was drawn");
  demand(cut->step({}).empty(), "an empty batch draws something");
}

void test_refusals(const Kernels& kernels) {
  TinyModel model(WeightKind::int8, CacheKind::bf16, kernels, 2);
  const std::vector<int32_t> good{1, 2}, bad{1, 77}, blocks{0}, wrong{20};
  for (const Chunk& c : {chunk(bad, 0, 2, blocks), chunk(good, 0, 2, wrong), chunk(good, 0, 2, {}),
                         chunk(good, 0, 0, blocks)}) {
    bool refused = false;
    try {
      model->step({{c}});
    } catch (const std::out_of_range&) {
      refused = true;
    }
    demand(refused, "a bad chunk was run");
  }
}

void test_pool() {
  for (int round = 0; round < 20; ++round) {
    ThreadPool pool(4);
    for (int job = 0; job < 200; ++job) {
      std::atomic<int64_t> sum{0};
      pool.run(17, [&](int64_t i) { sum.fetch_add(i + 1); });
      demand(sum.load() == 153, "a task was lost or run twice");
      if (job % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

void test_two_models(const Kernels& kernels) {
  const auto run = [&] { test_cuts(WeightKind::int8, CacheKind::bf16, kernels); };
  std::thread other(run);
  run();
  other.join();
}

}  // namespace
}  // namespace ingot

int main() {
  using namespace ingot;
  for (const Kernels* kernels : runnable_kernels()) {
    for (const WeightKind kind : {WeightKind::bf16, WeightKind::int8, WeightKind::int4})
      for (const CacheKind cache : {CacheKind::bf16, CacheKind::f32})
        test_cuts(kind, cache, *kernels);
    test_refusals(*kernels);
    test_two_models(*kernels);
  }
  test_pool();
  std::puts("ok");
}
