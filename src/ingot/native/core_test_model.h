// A small model of random weights, for the C++ tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "buffer.h"
#include "model.h"

namespace ingot {

// A random matrix with the memory it lies in.
struct OwnMatrix {
  OwnMatrix(WeightFormat format, std::mt19937& random, int64_t outputs, int64_t inputs,
            int64_t group) {
    const PackedSizes sizes = packed_sizes(format, outputs, inputs, group);
    uint8_t* const at = tiles.at_least(sizes.weights);
    float* const factors = scales.at_least(sizes.scales);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < sizes.scales; ++i)
      factors[i] = normal(random) / (format == WeightFormat::int8 ? 64.0f : 4.0f);
    if (format == WeightFormat::bf16) {
      for (int64_t i = 0; i < sizes.weights / 2; ++i) {
        const float drawn = normal(random);
        std::memcpy(at + 2 * i, reinterpret_cast<const uint8_t*>(&drawn) + 2, 2);
      }
    } else {
      for (int64_t i = 0; i < sizes.weights; ++i)  // a code of int8 is never -128
        at[i] = static_cast<uint8_t>(1 + random() % 255);
    }
    matrix = view_packed(format, outputs, inputs, group, at, factors);
  }
  // Makes a row of bfloat16 weights NaN.
  void spoil(int64_t output) {
    uint8_t* const tile = tiles.get() + output / kTileColumns * matrix.tile_bytes();
    const uint16_t nan = 0x7FC0;
    for (int64_t k = 0; k < matrix.inputs; ++k)
      std::memcpy(tile + ((k / 2 * kTileColumns + output % kTileColumns) * 2 + k % 2) * 2, &nan, 2);
  }
  Buffer<uint8_t> tiles;
  Buffer<float> scales;
  Matrix matrix;
};

// What kind of model: formats, and the switches between families.
struct Kind {
  WeightFormat format = WeightFormat::int8;
  CacheFormat cache = CacheFormat::bf16;
  int64_t window = 0;
  int32_t nan_token = -1;
  NormKind norm = NormKind::rms;
  HeadNorm head_norm = HeadNorm::head;
  Activation activation = Activation::silu;
  bool gated = true, biases = false, norm_before = true, norm_after = false;
  bool learned_positions = false;
  int64_t rope_half = 5;                // of 5
  std::vector<LayerShape> layers = {};  // empty: two layers with `window` and the first table
};

// Sizes fill no vector evenly.
class TinyModel {
 public:
  TinyModel(const Kind& kind, const Kernels& kernels, int threads) : kind_(kind) {
    ModelShape shape{.vocabulary = 77,
                     .hidden = 36,
                     .feed_forward = 51,
                     .positions = 200,
                     .heads = {4, 2, 10},
                     .norm_eps = 1e-6f,
                     .sampled_vocabulary = 70,
                     .norm = kind.norm,
                     .head_norm = kind.head_norm,
                     .activation = kind.activation,
                     .gated = kind.gated,
                     .layers = kind.layers};
    const int64_t table = kind.learned_positions ? -1 : 0;
    if (shape.layers.empty()) shape.layers.assign(2, {kind.window, table});
    for (const float base : {0.1f, 0.3f}) {
      if (kind.learned_positions) break;
      shape.rope_tables.push_back({.frequencies = {}, .factor = 1.0f + base});
      for (int64_t i = 0; i < kind.rope_half; ++i)
        shape.rope_tables.back().frequencies.push_back(
            i == 0 ? 1.0f : shape.rope_tables.back().frequencies.back() * base);
    }
    ModelWeights weights;
    weights.head = matrix(shape.vocabulary, shape.hidden);
    weights.embedding = matrix(shape.vocabulary, shape.hidden);
    if (kind.nan_token >= 0) matrices_.back().spoil(kind.nan_token);
    if (kind.learned_positions) weights.positions = matrix(shape.positions, shape.hidden);
    weights.final_norm = norm(true);
    for (size_t i = 0; i < shape.layers.size(); ++i) weights.layers.push_back(layer(shape));
    model_ =
        std::make_unique<Model>(shape, weights, CacheShape{kind.cache, 20, 32}, kernels, threads);
  }
  Model& operator*() { return *model_; }
  Model* operator->() { return model_.get(); }

 private:
  LayerWeights layer(const ModelShape& shape) {
    LayerWeights made{.qkv = matrix(80, 36),
                      .output = matrix(36, 40),
                      .gate_up = matrix(kind_.gated ? 102 : 51, 36),
                      .down = matrix(36, 51)};
    made.attention_norm = made.feed_forward_norm = norm(kind_.norm_before);
    made.attention_output_norm = made.feed_forward_output_norm = norm(kind_.norm_after);
    if (shape.head_norm != HeadNorm::none) made.query_norm = made.key_norm = ones_.data();
    if (!kind_.biases) return made;
    made.query_bias = made.key_bias = made.value_bias = made.output_bias = ramp_.data();
    made.up_bias = made.down_bias = ramp_.data();
    if (kind_.gated) made.gate_bias = ramp_.data();
    return made;
  }
  Matrix matrix(int64_t outputs, int64_t inputs) {
    return matrices_.emplace_back(kind_.format, random_, outputs, inputs, 32).matrix;
  }
  NormWeights norm(bool exists) const {
    if (!exists) return {};
    return {ones_.data(), kind_.norm == NormKind::layer ? ramp_.data() : nullptr};
  }
  static std::vector<float> made_ramp() {
    std::vector<float> ramp(64);
    for (size_t i = 0; i < ramp.size(); ++i) ramp[i] = 0.01f * static_cast<float>(i);
    return ramp;
  }

  Kind kind_;
  std::mt19937 random_{1};
  std::vector<OwnMatrix> matrices_;
  std::vector<float> ones_ = std::vector<float>(64, 1.0f), ramp_ = made_ramp();
  std::unique_ptr<Model> model_;
};

}  // namespace ingot
