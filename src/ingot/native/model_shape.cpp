#include "model_shape.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace ingot {
namespace {

// Bounds that no model comes near and that keep every product of sizes within 64 bits.
constexpr int64_t kMaxSize = int64_t{1} << 26;
constexpr int64_t kMaxPositions = int64_t{1} << 31;
constexpr int64_t kMaxBlockSize = int64_t{1} << 20;
constexpr size_t kMaxRopeTables = 64;  // a step computes the angles of all

void demand(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

void demand_matrix(const Matrix& m, int64_t outputs, int64_t inputs, const char* name) {
  if (m.outputs != outputs || m.inputs != inputs)
    throw std::invalid_argument(std::string("the matrix ") + name + " has the wrong shape");
}

void check_sizes(const ModelShape& s) {
  const HeadShape& h = s.heads;
  const auto layers = static_cast<int64_t>(s.layers.size());
  for (const int64_t size : {s.vocabulary, s.hidden, s.feed_forward, layers, h.queries, h.keys})
    demand(size > 0 && size <= kMaxSize, "a size of the model is out of range");
  demand(s.positions > 0 && s.positions <= kMaxPositions, "the context is out of range");
  demand(h.queries % h.keys == 0, "the query heads do not share the key heads evenly");
  demand(h.width > 0 && h.width <= kWidestHead && h.width % 2 == 0,
         "the head width is not even, or above 1024");
  // Written so that NaN fails too.
  demand(s.norm_eps >= 0 && std::isfinite(s.norm_eps), "norm_eps is not finite or negative");
  demand(s.sampled_vocabulary > 0 && s.sampled_vocabulary <= s.vocabulary,
         "the sampled vocabulary is out of range");
}

void check_positions(const ModelShape& s) {
  demand(s.rope_tables.size() <= kMaxRopeTables, "there are more than 64 rope tables");
  for (const RopeTable& table : s.rope_tables) {
    const auto half = static_cast<int64_t>(table.frequencies.size());
    demand(half > 0 && half <= s.heads.width / 2, "a rope table is empty or wider than a head");
    for (const float frequency : table.frequencies)
      demand(std::isfinite(frequency), "a rope frequency is not finite");
    demand(std::isfinite(table.factor), "a rope factor is not finite");
  }
  const auto tables = static_cast<int64_t>(s.rope_tables.size());
  for (const LayerShape& layer : s.layers) {
    demand(layer.window >= 0 && layer.window <= kMaxPositions, "a window is out of range");
    demand(layer.rope_table >= -1 && layer.rope_table < tables, "a rope table does not exist");
  }
}

void check_norm(const ModelShape& s, const NormWeights& norm) {
  const bool with_bias = norm.weight && s.norm == NormKind::layer;
  demand((norm.bias != nullptr) == with_bias, "a norm has a bias that it should not, or none");
}

void check_layer(const ModelShape& s, const LayerWeights& layer) {
  const int64_t q = s.heads.queries * s.heads.width, kv = s.heads.keys * s.heads.width;
  demand_matrix(layer.qkv, q + 2 * kv, s.hidden, "qkv");
  demand_matrix(layer.output, s.hidden, q, "output");
  demand_matrix(layer.gate_up, (s.gated ? 2 : 1) * s.feed_forward, s.hidden, "gate_up");
  demand_matrix(layer.down, s.hidden, s.feed_forward, "down");
  for (const NormWeights* norm : {&layer.attention_norm, &layer.attention_output_norm,
                                  &layer.feed_forward_norm, &layer.feed_forward_output_norm})
    check_norm(s, *norm);
  const bool with_norm = s.head_norm != HeadNorm::none;
  demand((layer.query_norm != nullptr) == with_norm && (layer.key_norm != nullptr) == with_norm,
         "the norms of queries and keys are not those that the model has");
  demand(s.gated || !layer.gate_bias, "there is a gate_bias without a gate");
}

}  // namespace

void check_shapes(const ModelShape& s, const ModelWeights& w, const CacheShape& cache) {
  check_sizes(s);
  check_positions(s);
  demand(cache.blocks > 0 && cache.blocks <= kMaxPositions && cache.block_size > 0 &&
             cache.block_size <= kMaxBlockSize && cache.block_size % kKeyTile == 0,
         "the cache needs at least one block, of a multiple of 16 tokens");
  demand(w.layers.size() == s.layers.size(), "the number of layers is wrong");
  demand_matrix(w.embedding, s.vocabulary, s.hidden, "embedding");
  demand_matrix(w.head, s.vocabulary, s.hidden, "head");
  if (w.positions.outputs) demand_matrix(w.positions, s.positions, s.hidden, "positions");
  demand(w.final_norm.weight != nullptr, "there is no final norm");
  check_norm(s, w.final_norm);
  for (const LayerWeights& layer : w.layers) check_layer(s, layer);
}

}  // namespace ingot
