"""Names and shapes of an exported model's tensors, and how each is made of the ingot's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingot.model.config import ModelConfig

Array = NDArray[np.float32]
Transform = Callable[[Sequence[Array]], Array]


@dataclass(frozen=True)
class ExportedTensor:
    """A tensor of the exported model, and the ingot's tensors that it is made of."""

    shape: tuple[int, ...]
    sources: tuple[str, ...]
    transform: Transform | None = None
    """From the sources as float32; None where it is the one source as it stands."""
    moves_rows: bool = True
    """Whether the transform only joins the sources and moves whole rows."""


def same_tensors(config: ModelConfig) -> dict[str, ExportedTensor]:
    """Return every tensor under its own name, as it is."""
    return {name: ExportedTensor(size, (name,)) for name, size in config.tensor_shapes().items()}


def phi3_tensors(config: ModelConfig) -> dict[str, ExportedTensor]:
    """Fuse queries, keys and values, and gates and ups."""
    fused: dict[str, ExportedTensor] = {}
    for name, tensor in same_tensors(config).items():
        for parts, whole in (
            (("q_proj", "k_proj", "v_proj"), "qkv_proj"),
            (("gate_proj", "up_proj"), "gate_up_proj"),
        ):
            if any(f".{part}." in name for part in parts):
                if f".{parts[0]}." in name:
                    sources = tuple(name.replace(parts[0], part) for part in parts)
                    rows = sum(config.tensor_shapes()[source][0] for source in sources)
                    key = name.replace(parts[0], whole)
                    fused[key] = ExportedTensor((rows, tensor.shape[1]), sources, np.concatenate)
                break
        else:
            fused[name] = tensor
    return fused


def gemma3_tensors(config: ModelConfig) -> dict[str, ExportedTensor]:
    """Unfold 1 + w of every norm, and the square root of the width on embeddings."""
    multiplier = np.float32(math.sqrt(config.hidden_size))
    tensors = same_tensors(config)
    for name, tensor in tensors.items():
        if name.endswith("norm.weight") or "layernorm" in name:
            tensors[name] = replace(
                tensor, transform=lambda parts: parts[0] - np.float32(1), moves_rows=False
            )
    embedding = "model.embed_tokens.weight"
    tensors[embedding] = replace(
        tensors[embedding], transform=lambda parts: parts[0] / multiplier, moves_rows=False
    )
    if config.tie_word_embeddings:  # the head is the smaller table, so the last norm is larger
        last = tensors["model.norm.weight"]
        tensors["model.norm.weight"] = replace(
            last, transform=lambda parts: parts[0] * multiplier - np.float32(1), moves_rows=False
        )
    return tensors


def gpt2_tensors(config: ModelConfig) -> dict[str, ExportedTensor]:
    """GPT-2's names; its matrices are (inputs, outputs), queries, keys and values in one."""
    shapes = config.tensor_shapes()
    d, f = config.hidden_size, config.intermediate_size

    def plain(name: str) -> ExportedTensor:
        return ExportedTensor(shapes[name], (name,))

    def turned(*sources: str, shape: tuple[int, ...]) -> ExportedTensor:
        return ExportedTensor(
            shape,
            sources,
            lambda parts: np.ascontiguousarray(np.concatenate(parts).T),
            moves_rows=False,
        )

    tensors = {
        "transformer.wte.weight": plain("model.embed_tokens.weight"),
        "transformer.wpe.weight": plain("model.position_embeddings.weight"),
    }
    for layer in range(config.num_hidden_layers):
        ours, theirs = f"model.layers.{layer}.", f"transformer.h.{layer}."
        qkv = [f"{ours}self_attn.{part}_proj" for part in "qkv"]
        for kind in ("weight", "bias"):
            tensors[f"{theirs}ln_1.{kind}"] = plain(f"{ours}input_layernorm.{kind}")
            tensors[f"{theirs}ln_2.{kind}"] = plain(f"{ours}post_attention_layernorm.{kind}")
        for key, sources, size in (
            ("attn.c_attn", qkv, (d, 3 * d)),
            ("attn.c_proj", [f"{ours}self_attn.o_proj"], (d, d)),
            ("mlp.c_fc", [f"{ours}mlp.up_proj"], (d, f)),
            ("mlp.c_proj", [f"{ours}mlp.down_proj"], (f, d)),
        ):
            names = [f"{source}.weight" for source in sources]
            tensors[f"{theirs}{key}.weight"] = turned(*names, shape=size)
            names = [f"{source}.bias" for source in sources]
            tensors[f"{theirs}{key}.bias"] = ExportedTensor(
                (size[1],), tuple(names), np.concatenate
            )
    for kind in ("weight", "bias"):
        tensors[f"transformer.ln_f.{kind}"] = plain(f"model.norm.{kind}")
    return tensors
