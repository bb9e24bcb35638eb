// Tests of the whole core without Python, to be built with sanitizers: odd sizes, every format of
// weights and cache, chunks cut in two ways, bad batches, two models at once, many short jobs.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core_test_model.h"
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

ModelInput input(const std::vector<int32_t>& tokens, int64_t start, int64_t count,
                 const std::vector<int32_t>& blocks) {
  ModelInput made;
  made.token_ids =
      std::span(tokens).subspan(static_cast<size_t>(start), static_cast<size_t>(count));
  made.start = start;
  made.block_table = blocks;
  made.rows = {{.temperature = 0.8,
                .top_p = 0.9,
                .min_p = 0.01,
                .typical_p = 0.95,
                .top_k = 40,
                .seed = 7,
                .position = static_cast<uint64_t>(start + count),
                .logprobs = 3}};
  return made;
}

void test_cuts(const Kind& kind, const Kernels& kernels) {
  TinyModel whole(kind, kernels, 1), cut(kind, kernels, 3);
  std::vector<int32_t> tokens(150), other(150);
  for (int i = 0; i < 150; ++i) tokens[i] = (i * 31) % 77, other[i] = (i * 17) % 77;
  const std::vector<int32_t> blocks{3, 1, 19, 0, 7}, others{2, 4, 5, 6, 8};
  const auto expected = whole->logits({{input(tokens, 0, 150, blocks)}});
  cut->logits({{input(other, 0, 33, others), input(tokens, 0, 1, blocks)}});
  cut->logits({{input(tokens, 1, 70, blocks), input(other, 33, 1, others)}});
  const auto last = cut->logits({{input(other, 34, 7, others), input(tokens, 71, 79, blocks)}});
  demand(std::equal(expected.begin(), expected.end(), last.begin() + 77), "cuts change bits");
  demand(whole->step({{input(tokens, 149, 1, blocks)}}).sampled[0].token_id >= 0,
         "nothing was sampled");
  demand(cut->step({}).sampled.empty(), "an empty batch samples something");
}

// Each family of models has the same bits however its sequences are cut and batched.
void test_families(const Kernels& kernels) {
  for (const WeightFormat format : {WeightFormat::bf16, WeightFormat::int8}) {
    test_cuts({.format = format, .head_norm = HeadNorm::none, .biases = true}, kernels);  // Qwen 2
    test_cuts({.format = format,  // OLMo 2 and 3
               .head_norm = HeadNorm::projection,
               .norm_before = false,
               .norm_after = true,
               .layers = {{9, 0}, {0, 1}, {40, 0}}},
              kernels);
    test_cuts({.format = format,  // Gemma 3
               .activation = Activation::gelu_tanh,
               .norm_after = true,
               .layers = {{17, 1}, {0, 0}}},
              kernels);
    test_cuts({.format = format,  // Phi 4, with layers that rotate nothing as SmolLM 3 has
               .head_norm = HeadNorm::none,
               .rope_half = 3,
               .layers = {{0, 0}, {0, -1}, {0, 1}}},
              kernels);
    test_cuts({.format = format,  // GPT-2
               .norm = NormKind::layer,
               .head_norm = HeadNorm::none,
               .activation = Activation::gelu_tanh,
               .gated = false,
               .biases = true,
               .learned_positions = true},
              kernels);
  }
}

// Integer products have the bits of the portable kernels, those of floats come close.
void test_products(const Kernels& kernels) {
  std::mt19937 random(5);
  ThreadPool pool(2);
  for (int round = 0; round < 40; ++round) {
    const int64_t outputs = 1 + random() % 130, inputs = 1 + random() % 300,
                  rows = 1 + random() % 20;
    const int64_t group = 32 << (random() % 3);
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<size_t>(rows * inputs));
    for (float& value : x) value = round % 4 ? normal(random) : (random() % 2 ? 1.0f : -1.0f);
    for (const WeightFormat format : {WeightFormat::bf16, WeightFormat::int8, WeightFormat::int4}) {
      const OwnMatrix own(format, random, outputs, inputs, group);
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
        const float allowed = format == WeightFormat::bf16 ? 0.02f * std::sqrt(float(inputs)) : 0;
        demand(std::fabs(results[0][i] - results[1][i]) <= allowed, "a product differs");
      }
    }
  }
}

// Several rows, masks, adjustments, forced tokens, hidden states, a window: everything at once.
void test_rows(const Kernels& kernels) {
  TinyModel model({.cache = CacheFormat::int8, .window = 21}, kernels, 3);
  std::vector<int32_t> tokens(90);
  for (int i = 0; i < 90; ++i) tokens[i] = (i * 13) % 77;
  const std::vector<int32_t> blocks{3, 1, 19}, others{5, 6, 7};
  ModelInput many = input(tokens, 0, 90, blocks), states = input(tokens, 0, 90, others);
  many.rows = std::vector<SamplingRow>(80, many.rows[0]);
  many.rows[0].forced_token = 69;
  many.rows[1].mask = {0, 1u << 5, 0};
  many.rows[2].adjustment = {{3, 69, 0}, {2, 1, 0.5}, {0, 1e300, -1e300}};
  many.rows[3].mask = {0, 0, 0};
  states.rows.clear();
  states.hidden = true;
  const StepOutput output = model->step({{many, states}});
  demand(output.sampled.size() == 80 && output.hidden.size() == 1, "a result is missing");
  demand(output.sampled[0].token_id == 69 && output.sampled[0].top.size() == 3, "not as forced");
  demand(output.sampled[1].token_id == 37, "the mask was ignored");
  demand(output.sampled[2].token_id == 69, "the bias was not added");
  demand(output.sampled[3].error == SampleError::none_allowed, "a token that is not allowed");
  demand(output.failures.size() == 1 && output.failures[0].input == 0, "not the failed input");
  demand(output.hidden[0].size() == 90 * 36, "a hidden state is missing");
}

void test_refusals(const Kernels& kernels) {
  TinyModel model({}, kernels, 2);
  const std::vector<int32_t> good{1, 2}, bad{1, 77}, blocks{0}, wrong{20};
  std::vector<ModelInput> all{input(bad, 0, 2, blocks), input(good, 0, 2, wrong),
                              input(good, 0, 2, {}), input(good, 0, 0, blocks)};
  const auto spoilt = [&](auto&& spoil) {
    all.push_back(input(good, 0, 2, blocks));
    spoil(all.back());
  };
  spoilt([](ModelInput& c) { c.rows = std::vector<SamplingRow>(3, c.rows[0]); });
  spoilt([](ModelInput& c) { c.hidden = true; });
  spoilt([](ModelInput& c) { c.rows[0].forced_token = 70; });
  spoilt([](ModelInput& c) { c.rows[0].mask = {1, 1}; });
  spoilt([](ModelInput& c) { c.rows[0].adjustment = {{70}, {1}, {0}}; });
  spoilt([](ModelInput& c) { c.rows[0].adjustment = {{1}, {1}, {}}; });
  spoilt([](ModelInput& c) { c.rows[0].typical_p = 0; });
  const double nan = std::nan(""), infinity = HUGE_VAL;
  for (const double factor : {nan, infinity, -infinity, 0.0, -1.0})
    spoilt([&](ModelInput& c) { c.rows[0].adjustment = {{1}, {factor}, {0}}; });
  for (const double shift : {nan, infinity, -infinity})
    spoilt([&](ModelInput& c) { c.rows[0].adjustment = {{1}, {1}, {shift}}; });
  for (const double temperature : {nan, infinity, -1.0})
    spoilt([&](ModelInput& c) { c.rows[0].temperature = temperature; });
  for (const int64_t start : {INT64_MAX, INT64_MIN, int64_t{-1}, int64_t{199}})
    spoilt([&](ModelInput& c) { c.start = start; });
  for (const ModelInput& c : all) {
    bool refused = false;
    try {
      model->step({{c}});
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    demand(refused, "a bad input was run");
  }
}

// A step that may be interrupted does all or nothing, and what it left in the cache changes no bit.
void test_interrupted(CacheFormat cache, const Kernels& kernels) {
  TinyModel model({.format = WeightFormat::bf16, .cache = cache}, kernels, 3);
  const std::vector<int32_t> tokens{1, 2, 3, 4}, blocks{0}, others{1};
  const auto expected = model->step({{input(tokens, 0, 4, blocks)}}).sampled[0].token_id;
  model->interrupt(true);
  demand(!model->try_step({{input(tokens, 0, 4, others)}}), "an interrupted step has a result");
  demand(model->step({{input(tokens, 0, 4, blocks)}}).sampled[0].token_id == expected,
         "a step was interrupted that must not be");
  model->interrupt(false);
  std::atomic<bool> done{false};
  std::thread toggle([&] {
    for (bool on = true; !done.load(); on = !on) model->interrupt(on);
  });
  for (int round = 0; round < 200; ++round)
    if (const auto output = model->try_step({{input(tokens, 0, 4, others)}}))
      demand(output->sampled[0].token_id == expected, "another token after interruptions");
  done = true;
  toggle.join();
  model->interrupt(false);
  demand(model->try_step({{input(tokens, 0, 4, others)}}).has_value(), "it cannot be resumed");
}

// A row that is not finite fails its own input, and changes no bit of the others.
void test_failures(CacheFormat cache, const Kernels& kernels) {
  TinyModel model({.format = WeightFormat::bf16, .cache = cache, .nan_token = 5}, kernels, 3);
  const std::vector<int32_t> good{1, 2, 3, 4}, bad{1, 5, 3, 4}, blocks{0}, others{1}, third{2};
  const auto expected = model->logits({{input(good, 0, 4, blocks)}});
  for (int round = 0; round < 2; ++round) {  // the second finds what the first left in the cache
    ModelInput unasked = input(bad, 0, 4, third);
    unasked.rows.clear();
    const StepOutput output =
        model->step({{input(bad, 0, 4, blocks), input(good, 0, 4, others), unasked}});
    demand(output.failures.size() == 2 && output.failures[0].input == 0 &&
               output.failures[1].input == 2 &&
               output.failures[0].reason == SampleError::not_finite,
           "not the failed inputs");
    demand(output.sampled[1].token_id >= 0, "a good input failed");
  }
  demand(model->logits({{input(good, 0, 1, blocks)}}).size() == 77, "not one row");
  const auto again = model->logits({{input(good, 1, 3, blocks)}});
  demand(again == expected, "a block that held NaN changes another sequence");
}

void test_exceptions_in_tasks() {
  ThreadPool pool(4);
  for (int round = 0; round < 200; ++round) {
    bool thrown = false;
    try {
      pool.run(17, [&](int64_t i) {
        if (i % 5 == round % 5) throw std::runtime_error("a task");
      });
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    demand(thrown, "an exception was lost");
    std::atomic<int64_t> sum{0};
    pool.run(17, [&](int64_t i) { sum.fetch_add(i + 1); });
    demand(sum.load() == 153, "a task was lost after an exception");
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

void test_yielding() {
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    std::atomic<bool> done{false};
    std::thread other([&] {
      for (bool on = true; !done.load(); on = !on) pool.yield_cpu(on);
      pool.yield_cpu(true);  // and never calls it off
    });
    for (int job = 0; job < 500; ++job) {
      if (job == 400) {
        done.store(true);
        other.join();
      }
      std::atomic<int64_t> sum{0};
      pool.run(17, [&](int64_t i) { sum.fetch_add(i + 1); });
      demand(sum.load() == 153, "a task was lost or run twice while a worker yielded");
    }
  }
}

void test_two_models(const Kernels& kernels) {
  const auto run = [&] { test_cuts({}, kernels); };
  std::thread other(run);
  run();
  other.join();
}

}  // namespace
}  // namespace ingot

int main() {
  using namespace ingot;
  for (const Kernels* kernels : runnable_kernels()) {
    for (const WeightFormat format : {WeightFormat::bf16, WeightFormat::int8, WeightFormat::int4})
      for (const CacheFormat cache : {CacheFormat::bf16, CacheFormat::f32, CacheFormat::int8})
        test_cuts({.format = format, .cache = cache}, *kernels);
    std::printf("%s\n", kernels->name);
    test_families(*kernels);
    test_products(*kernels);
    test_rows(*kernels);
    test_refusals(*kernels);
    for (const CacheFormat cache : {CacheFormat::bf16, CacheFormat::f32, CacheFormat::int8})
      test_failures(cache, *kernels);
    test_interrupted(CacheFormat::bf16, *kernels);
    test_two_models(*kernels);
  }
  test_pool();
  test_exceptions_in_tasks();
  test_yielding();
  std::puts("ok");
}
