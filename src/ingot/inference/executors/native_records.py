"""The native core's records of a model, made from its configuration and its weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ingot.inference.executors.native_weights import NativeWeights
from ingot.model.config import ModelConfig
from ingot.native import LayerShape, LayerWeights, ModelShape, ModelWeights, Norm, RopeTable

# The names of what ``ModelConfig.norm_placement`` says: the norms of the inputs of attention and
# feed-forward layer, and of what the two add to the residual stream. Hugging Face calls one name
# by its place in the block, so that "pre" and the others mean another norm by it.
_INPUT_NORMS = {
    "pre": ("input_layernorm", "post_attention_layernorm"),
    "post": (None, None),
    "both": ("input_layernorm", "pre_feedforward_layernorm"),
}
_OUTPUT_NORMS = {
    "pre": (None, None),
    "post": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "both": ("post_attention_layernorm", "post_feedforward_layernorm"),
}


def model_shape(
    config: ModelConfig, sampled_vocabulary: int, context: int | None = None
) -> ModelShape:
    """Return a model's sizes and variants as the core names them.

    Args:
        config: The model's.
        sampled_vocabulary: Only tokens below this are sampled.
        context: Longest context that will be run; None takes the model's own.
    """
    layers = range(config.num_hidden_layers)
    ropes = [config.rope_of(layer) for layer in layers]
    distinct = list(dict.fromkeys(rope for rope in ropes if rope is not None))
    tables = []
    for rope in distinct:
        found, factor = rope.frequencies(
            config.rotary_dim, context or config.max_position_embeddings
        )
        tables.append(RopeTable(found.astype(np.float32), factor))
    return ModelShape(
        hidden=config.hidden_size,
        feed_forward=config.intermediate_size,
        query_heads=config.num_attention_heads,
        key_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        positions=config.max_position_embeddings,
        norm_eps=config.rms_norm_eps,
        sampled_vocabulary=sampled_vocabulary,
        rope_tables=tables,
        layers=[
            LayerShape(
                window=config.window_of(layer) or 0,
                rope_table=-1 if rope is None else distinct.index(rope),
            )
            for layer, rope in zip(layers, ropes, strict=True)
        ],
        norm=config.norm,
        head_norm=config.qk_norm,
        activation=config.activation,
        gated=config.gated_mlp,
    )


def model_weights(config: ModelConfig, weights: NativeWeights) -> ModelWeights:
    """Return a model's weights as the core names them."""
    embedding = weights.matrix("model.embed_tokens")
    learned = config.position_embedding == "learned"
    return ModelWeights(
        embedding=embedding,
        head=embedding if config.tie_word_embeddings else weights.matrix("lm_head"),
        final_norm=_norm(config, weights, "model.norm"),
        layers=[
            _layer_weights(config, weights, f"model.layers.{layer}")
            for layer in range(config.num_hidden_layers)
        ],
        positions=weights.matrix("model.position_embeddings") if learned else None,
    )


def _layer_weights(config: ModelConfig, weights: NativeWeights, prefix: str) -> LayerWeights:
    """Return one layer's matrices, norms and biases."""

    def norm(name: str | None) -> Norm | None:
        return None if name is None else _norm(config, weights, f"{prefix}.{name}")

    def optional(exists: bool) -> Callable[[str], NDArray[np.float32] | None]:
        return lambda name: weights.vector(f"{prefix}.{name}") if exists else None

    attention_norm, feed_forward_norm = _INPUT_NORMS[config.norm_placement]
    attention_output_norm, feed_forward_output_norm = _OUTPUT_NORMS[config.norm_placement]
    head_norm = optional(config.qk_norm != "none")
    qkv_bias = optional(config.attention_bias != "none")
    output_bias = optional(config.attention_bias == "all")
    mlp_bias, gate_bias = optional(config.mlp_bias), optional(config.mlp_bias and config.gated_mlp)
    return LayerWeights(
        qkv=weights.matrix(f"{prefix}.self_attn.qkv_proj"),
        output=weights.matrix(f"{prefix}.self_attn.o_proj"),
        gate_up=weights.matrix(f"{prefix}.mlp.gate_up_proj"),
        down=weights.matrix(f"{prefix}.mlp.down_proj"),
        attention_norm=norm(attention_norm),
        attention_output_norm=norm(attention_output_norm),
        feed_forward_norm=norm(feed_forward_norm),
        feed_forward_output_norm=norm(feed_forward_output_norm),
        query_norm=head_norm("self_attn.q_norm.weight"),
        key_norm=head_norm("self_attn.k_norm.weight"),
        query_bias=qkv_bias("self_attn.q_proj.bias"),
        key_bias=qkv_bias("self_attn.k_proj.bias"),
        value_bias=qkv_bias("self_attn.v_proj.bias"),
        output_bias=output_bias("self_attn.o_proj.bias"),
        gate_bias=gate_bias("mlp.gate_proj.bias"),
        up_bias=mlp_bias("mlp.up_proj.bias"),
        down_bias=mlp_bias("mlp.down_proj.bias"),
    )


def _norm(config: ModelConfig, weights: NativeWeights, name: str) -> Norm:
    """Return the weights of one norm of the residual stream."""
    bias = weights.vector(f"{name}.bias") if config.norm == "layer" else None
    return Norm(weights.vector(f"{name}.weight"), bias)
