#include "bindings_weights.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "bindings.h"
#include "bindings_fields.h"

namespace nb = nanobind;

namespace ingot {
namespace {

float float_field(const Field& field, nb::handle object) {
  const auto value = field.as<double>(object);
  // Compared before the conversion; NaN passes, for the model to refuse.
  if (value > std::numeric_limits<float>::max() || value < -std::numeric_limits<float>::max())
    field.refuse();
  return static_cast<float>(value);
}

template <class Value>
Value choice(const Field& field, nb::handle object,
             std::initializer_list<std::pair<const char*, Value>> choices) {
  const auto name = field.as<std::string>(object);
  for (const auto& [known, value] : choices)
    if (name == known) return value;
  field.refuse();
}

RopeTable read_table(nb::handle table) {
  static const Field frequencies("frequencies"), factor("factor");
  const auto values = frequencies.array<float>(table);
  return {.frequencies = {values.data(), values.data() + values.size()},
          .factor = float_field(factor, table)};
}

LayerShape read_layer_shape(nb::handle layer) {
  static const Field window("window"), rope_table("rope_table");
  return {.window = window.as<int64_t>(layer), .rope_table = rope_table.as<int64_t>(layer)};
}

// Reads weights and notes what must be kept alive for them.
class WeightReader {
 public:
  WeightReader(const ModelShape& shape, std::vector<nb::object>& kept_alive)
      : shape_(shape), kept_alive_(kept_alive) {}

  ModelWeights read(nb::handle weights) {
    static const Field embedding("embedding"), head("head"), positions("positions"),
        final_norm("final_norm"), layers("layers");
    ModelWeights read{.embedding = matrix(embedding, weights), .head = matrix(head, weights)};
    if (!positions.of(weights).is_none()) read.positions = matrix(positions, weights);
    read.final_norm = norm(final_norm, weights);
    for (nb::handle item : nb::tuple(layers.of(weights))) read.layers.push_back(layer(item));
    return read;
  }

 private:
  LayerWeights layer(nb::handle weights) {
    static const Field qkv("qkv"), output("output"), gate_up("gate_up"), down("down"),
        attention_norm("attention_norm"), attention_output_norm("attention_output_norm"),
        feed_forward_norm("feed_forward_norm"),
        feed_forward_output_norm("feed_forward_output_norm"), query_norm("query_norm"),
        key_norm("key_norm"), query_bias("query_bias"), key_bias("key_bias"),
        value_bias("value_bias"), output_bias("output_bias"), gate_bias("gate_bias"),
        up_bias("up_bias"), down_bias("down_bias");
    const int64_t d = shape_.hidden, f = shape_.feed_forward, q = width_of(shape_.heads.queries),
                  kv = width_of(shape_.heads.keys);
    const bool by_head = shape_.head_norm == HeadNorm::head;
    return {.qkv = matrix(qkv, weights),
            .output = matrix(output, weights),
            .gate_up = matrix(gate_up, weights),
            .down = matrix(down, weights),
            .attention_norm = norm(attention_norm, weights),
            .attention_output_norm = norm(attention_output_norm, weights),
            .feed_forward_norm = norm(feed_forward_norm, weights),
            .feed_forward_output_norm = norm(feed_forward_output_norm, weights),
            .query_norm = vector(query_norm, weights, by_head ? shape_.heads.width : q),
            .key_norm = vector(key_norm, weights, by_head ? shape_.heads.width : kv),
            .query_bias = vector(query_bias, weights, q),
            .key_bias = vector(key_bias, weights, kv),
            .value_bias = vector(value_bias, weights, kv),
            .output_bias = vector(output_bias, weights, d),
            .gate_bias = vector(gate_bias, weights, f),
            .up_bias = vector(up_bias, weights, f),
            .down_bias = vector(down_bias, weights, d)};
  }

  // The width of so many heads; -1, which no vector has, where it does not fit into 64 bits.
  int64_t width_of(int64_t heads) const {
    int64_t width = 0;
    return __builtin_mul_overflow(heads, shape_.heads.width, &width) ? -1 : width;
  }

  Matrix matrix(const Field& field, nb::handle weights) {
    const nb::object value = field.of(weights);
    const PackedMatrix* packed = nullptr;
    if (!nb::try_cast(value, packed) || !packed) field.refuse();  // None is a null pointer
    kept_alive_.push_back(packed->tiles);
    kept_alive_.push_back(packed->scales);
    return packed->matrix;
  }

  NormWeights norm(const Field& field, nb::handle weights) {
    static const Field weight("weight"), bias("bias");
    const nb::object value = field.of(weights);
    if (value.is_none()) return {};
    const NormWeights read{.weight = vector(weight, value, shape_.hidden),
                           .bias = vector(bias, value, shape_.hidden)};
    if (!read.weight) field.refuse();
    return read;
  }

  // Null for None.
  const float* vector(const Field& field, nb::handle weights, int64_t width) {
    if (field.of(weights).is_none()) return nullptr;
    const auto values = field.array<float>(weights);
    if (static_cast<int64_t>(values.size()) != width)
      throw std::invalid_argument(std::string("field ") + field.name() + " has the wrong width");
    kept_alive_.push_back(nb::cast(values));
    return values.data();
  }

  const ModelShape& shape_;
  std::vector<nb::object>& kept_alive_;
};

}  // namespace

ModelShape read_shape(nb::handle shape) {
  static const Field hidden("hidden"), feed_forward("feed_forward"), positions("positions"),
      query_heads("query_heads"), key_heads("key_heads"), head_dim("head_dim"),
      norm_eps("norm_eps"), sampled_vocabulary("sampled_vocabulary"), norm("norm"),
      head_norm("head_norm"), activation("activation"), gated("gated"), rope_tables("rope_tables"),
      layers("layers");
  ModelShape read{
      .vocabulary = 0,
      .hidden = hidden.as<int64_t>(shape),
      .feed_forward = feed_forward.as<int64_t>(shape),
      .positions = positions.as<int64_t>(shape),
      .heads = {.queries = query_heads.as<int64_t>(shape),
                .keys = key_heads.as<int64_t>(shape),
                .width = head_dim.as<int64_t>(shape)},
      .norm_eps = float_field(norm_eps, shape),
      .sampled_vocabulary = sampled_vocabulary.as<int64_t>(shape),
      .norm = choice<NormKind>(norm, shape, {{"rms", NormKind::rms}, {"layer", NormKind::layer}}),
      .head_norm = choice<HeadNorm>(head_norm, shape,
                                    {{"none", HeadNorm::none},
                                     {"head", HeadNorm::head},
                                     {"projection", HeadNorm::projection}}),
      .activation = choice<Activation>(
          activation, shape, {{"silu", Activation::silu}, {"gelu_tanh", Activation::gelu_tanh}}),
      .gated = gated.as<bool>(shape)};
  for (nb::handle table : nb::tuple(rope_tables.of(shape)))
    read.rope_tables.push_back(read_table(table));
  for (nb::handle layer : nb::tuple(layers.of(shape)))
    read.layers.push_back(read_layer_shape(layer));
  return read;
}

ModelWeights read_weights(nb::handle weights, const ModelShape& shape,
                          std::vector<nb::object>& kept_alive) {
  return WeightReader(shape, kept_alive).read(weights);
}

}  // namespace ingot
