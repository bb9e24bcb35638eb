// Runs the whole core without Python, to be built with sanitizers: odd sizes, every kind of weights
// and cache, chunks cut in two ways, bad batches, two models at once, many short jobs.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "isa.h"
#include "linear.h"
#include "model.h"

namespace ingot {
namespace {

void demand(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

std::vector<uint16_t> random_bits(std::mt19937& random, int64_t count) {
  std::normal_distribution<float> normal;
  std::vector<uint16_t> bits(static_cast<size_t>(count));
  for (uint16_t& value : bits) {
    const float drawn = normal(random);
    uint32_t word;
    std::memcpy(&word, &drawn, sizeof(word));
    value = static_cast<uint16_t>(word >> 16);
  }
  return bits;
}

// A matrix with the memory it lies in.
struct OwnMatrix {
  OwnMatrix(WeightKind kind, const std::vector<uint16_t>& bits, int64_t outputs, int64_t inputs,
            int64_t group) {
    const PackedSizes sizes = packed_sizes(kind, outputs, inputs, group);
    uint8_t* const at = tiles.at_least(sizes.weights);
    float* const factors = scales.at_least(sizes.scales);
    pack(kind, bits.data(), outputs, inputs, group, at, factors);
    matrix = view_packed(kind, outputs, inputs, group, at, factors);
  }
  Buffer<uint8_t> tiles;
  Buffer<float> scales;
  Matrix matrix;
};

// A small model of sizes that fill no vector evenly, with the memory it lies in.
class TinyModel {
 public:
  TinyModel(WeightKind kind, CacheKind cache, const Kernels& kernels, int threads,
            int64_t window = 0) {
    const HeadShape heads{4, 2, 10};
    const ModelShape shape{77, 36, 51, 2, 200, heads, 10000.0f, 1e-6f, 70, window};
    ModelWeights weights;
    weights.embedding = weights.head = matrix(kind, shape.vocabulary, shape.hidden);
    weights.final_norm = gains();
    for (int64_t i = 0; i < shape.layers; ++i)
      weights.layers.push_back({gains(), gains(), gains(), gains(), matrix(kind, 80, 36),
                                matrix(kind, 36, 40), matrix(kind, 102, 36), matrix(kind, 36, 51)});
    model_ = std::make_unique<Model>(shape, weights, CacheShape{cache, 20, 32}, kernels, threads);
  }
  Model& operator*() { return *model_; }
  Model* operator->() { return model_.get(); }

 private:
  Matrix matrix(WeightKind kind, int64_t outputs, int64_t inputs) {
    const auto bits = random_bits(random_, outputs * inputs);
    return matrices_.emplace_back(kind, bits, outputs, inputs, 32).matrix;
  }
  const float* gains() const { return ones_.data(); }

  std::mt19937 random_{1};
  std::vector<OwnMatrix> matrices_;
  std::vector<float> ones_ = std::vector<float>(64, 1.0f);
  std::unique_ptr<Model> model_;
};

Chunk chunk(const std::vector<int32_t>& tokens, int64_t start, int64_t count,
            const std::vector<int32_t>& blocks) {
  Chunk made;
  made.tokens = std::span(tokens).subspan(static_cast<size_t>(start), static_cast<size_t>(count));
  made.start = start;
  made.blocks = blocks;
  made.rows = {{0.8, 0.9, 0.01, 0.95, 40, 7, static_cast<uint64_t>(start + count), 3}};
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
  demand(whole->step({{chunk(tokens, 149, 1, blocks)}}).choices[0].token >= 0, "nothing was drawn");
  demand(cut->step({}).choices.empty(), "an empty batch draws something");
}

// Integer products have the bits of the portable kernels, those of floats come close.
void test_products(const Kernels& kernels) {
  std::mt19937 random(5);
  ThreadPool pool(2);
  for (int round = 0; round < 40; ++round) {
    const int64_t outputs = 1 + random() % 130, inputs = 1 + random() % 300,
                  rows = 1 + random() % 20;
    const int64_t group = 32 << (random() % 3);
    const auto bits = random_bits(random, outputs * inputs);
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<size_t>(rows * inputs));
    for (float& value : x) value = round % 4 ? normal(random) : (random() % 2 ? 1.0f : -1.0f);
    for (const WeightKind kind : {WeightKind::bf16, WeightKind::int8, WeightKind::int4}) {
      const OwnMatrix own(kind, bits, outputs, inputs, group);
      std::vector<float> results[2];
      for (const Kernels* one : {&portable_kernels(), &kernels}) {
        std::vector<float>& out = results[one == &kernels];
        out.assign(static_cast<size_t>(rows * outputs), 0.5f);
        PreparedRows prepared;
        prepared.resize(own.matrix, rows);
        for (int64_t row = 0; row < rows; ++row) prepared.set(*one, row, x.data() + row * inputs);
        multiply(*one, pool, own.matrix, prepared, rows, out.data(), round % 2 == 0);
      }
      if (&kernels == &portable_kernels()) continue;
      for (size_t i = 0; i < results[0].size(); ++i) {
        const float allowed = kind == WeightKind::bf16 ? 0.02f * std::sqrt(float(inputs)) : 0;
        demand(std::fabs(results[0][i] - results[1][i]) <= allowed, "a product differs");
      }
    }
  }
}

// Several rows, masks, adjustments, given tokens, hidden states, a window: everything at once.
void test_rows(const Kernels& kernels) {
  TinyModel model(WeightKind::int8, CacheKind::int8, kernels, 3, 21);
  std::vector<int32_t> tokens(90);
  for (int i = 0; i < 90; ++i) tokens[i] = (i * 13) % 77;
  const std::vector<int32_t> blocks{3, 1, 19}, others{5, 6, 7};
  Chunk many = chunk(tokens, 0, 90, blocks), states = chunk(tokens, 0, 90, others);
  many.rows = std::vector<Sampling>(80, many.rows[0]);
  many.rows[0].given = 69;
  many.rows[1].mask = {0, 1u << 5, 0};
  many.rows[2].adjustment = {{3, 69, 0}, {2, 1, 0.5}, {0, 1e300, -1e300}};
  many.rows[3].mask = {0, 0, 0};
  states.rows.clear();
  states.hidden = true;
  const Outcome outcome = model->step({{many, states}});
  demand(outcome.choices.size() == 80 && outcome.hidden.size() == 1, "a result is missing");
  demand(outcome.choices[0].token == 69 && outcome.choices[0].top.size() == 3, "not as given");
  demand(outcome.choices[1].token == 37, "the mask was not kept to");
  demand(outcome.choices[2].token == 69, "the bias was not added");
  demand(outcome.choices[3].token == kNoneAllowed, "a token was drawn where none is allowed");
  demand(outcome.hidden[0].size() == 90 * 36, "a hidden state is missing");
}

void test_refusals(const Kernels& kernels) {
  TinyModel model(WeightKind::int8, CacheKind::bf16, kernels, 2);
  const std::vector<int32_t> good{1, 2}, bad{1, 77}, blocks{0}, wrong{20};
  std::vector<Chunk> all{chunk(bad, 0, 2, blocks), chunk(good, 0, 2, wrong), chunk(good, 0, 2, {}),
                         chunk(good, 0, 0, blocks)};
  const auto spoilt = [&](auto&& spoil) {
    all.push_back(chunk(good, 0, 2, blocks));
    spoil(all.back());
  };
  spoilt([](Chunk& c) { c.rows = std::vector<Sampling>(3, c.rows[0]); });
  spoilt([](Chunk& c) { c.hidden = true; });
  spoilt([](Chunk& c) { c.rows[0].given = 70; });
  spoilt([](Chunk& c) { c.rows[0].mask = {1, 1}; });
  spoilt([](Chunk& c) { c.rows[0].adjustment = {{70}, {1}, {0}}; });
  spoilt([](Chunk& c) { c.rows[0].adjustment = {{1}, {1}, {}}; });
  spoilt([](Chunk& c) { c.rows[0].typical_p = 0; });
  for (const Chunk& c : all) {
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

void test_making_way() {
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    std::atomic<bool> done{false};
    std::thread other([&] {
      for (bool on = true; !done.load(); on = !on) pool.make_way(on);
      pool.make_way(true);  // and never calls back
    });
    for (int job = 0; job < 500; ++job) {
      if (job == 400) {
        done.store(true);
        other.join();
      }
      std::atomic<int64_t> sum{0};
      pool.run(17, [&](int64_t i) { sum.fetch_add(i + 1); });
      demand(sum.load() == 153, "a task was lost or run twice while a worker made way");
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
      for (const CacheKind cache : {CacheKind::bf16, CacheKind::f32, CacheKind::int8})
        test_cuts(kind, cache, *kernels);
    std::printf("%s\n", kernels->name);
    test_products(*kernels);
    test_rows(*kernels);
    test_refusals(*kernels);
    test_two_models(*kernels);
  }
  test_pool();
  test_making_way();
  std::puts("ok");
}
