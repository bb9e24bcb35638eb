"""GPT-2: learned positions, LayerNorm, matrices stored as (inputs, outputs), biases everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingot.artifact.import_.families.foreign_model import (
    EMBEDDING,
    NORM,
    NORM_BIAS,
    POSITIONS,
    ForeignModel,
    begin,
    finish,
)
from ingot.artifact.import_.tensor_parts import TensorPart
from ingot.model import ModelConfig

_NAMES = {
    "input_layernorm": "ln_1",
    "self_attn.o_proj": "attn.c_proj",
    "post_attention_layernorm": "ln_2",
    "mlp.up_proj": "mlp.c_fc",
    "mlp.down_proj": "mlp.c_proj",
}


def gpt2(data: Mapping[str, Any], where: object) -> ForeignModel:
    """Read a ``GPT2LMHeadModel``."""
    fields = begin(data, where)
    fields.ignore(
        "attn_pdrop",
        "embd_pdrop",
        "resid_pdrop",
        "n_ctx",  # says the same as n_positions
        "reorder_and_upcast_attn",  # the order of float operations alone
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
    )
    fields.require("activation_function", ("gelu_new", "gelu_pytorch_tanh"), default="gelu_new")
    fields.require("scale_attn_weights", (True,), default=True)
    fields.require("scale_attn_by_inverse_layer_idx", (False,), default=False)
    width, heads = fields.integer("n_embd"), fields.integer("n_head")
    if heads < 1 or width % heads:
        raise fields.wrong("n_embd", f"{width} does not divide by {heads} heads")
    config = finish(
        fields,
        {
            "vocab_size": fields.integer("vocab_size"),
            "hidden_size": width,
            "intermediate_size": fields.optional_integer("n_inner") or 4 * width,
            "num_hidden_layers": fields.integer("n_layer"),
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "head_dim": width // heads,
            "max_position_embeddings": fields.integer("n_positions"),
            "rms_norm_eps": fields.number("layer_norm_epsilon", 1e-5),
            "tie_word_embeddings": fields.require("tie_word_embeddings", (True,), default=True),
            "position_embedding": "learned",
            "qk_norm": "none",
            "attention_bias": "all",
            "mlp_bias": True,
            "norm": "layer",
            "activation": "gelu_tanh",
            "gated_mlp": False,
        },
    )
    others = {
        EMBEDDING: TensorPart("wte.weight"),
        POSITIONS: TensorPart("wpe.weight"),
        NORM: TensorPart("ln_f.weight"),
        NORM_BIAS: TensorPart("ln_f.bias"),
    }
    return ForeignModel(
        "gpt2",
        config,
        _layer(config),
        others,
        block="h.",
        outer="transformer.",
        buffers=(".attn.bias", ".attn.masked_bias"),
    )


def _layer(config: ModelConfig) -> dict[str, TensorPart]:
    """Return the parts of a block; ``c_attn`` holds queries, keys and values side by side."""
    d = config.hidden_size
    parts = {}
    for name in config.layer_shapes():
        module, _, kind = name.rpartition(".")
        matrix = kind == "weight" and "norm" not in module
        if module in _NAMES:
            parts[name] = TensorPart(f"{_NAMES[module]}.{kind}", transposed=matrix)
            continue
        index = "qkv".index(module.removeprefix("self_attn.")[0])
        rows = (index * d, (index + 1) * d)
        parts[name] = TensorPart(f"attn.c_attn.{kind}", rows, transposed=matrix)
    return parts
