"""The native executor: the C++ core on a CPU, without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Sequence as Seq
from typing import Any, Literal

from ingot.artifact import Ingot
from ingot.errors import ResourceError, ServeError, UsageError
from ingot.inference.config import EngineConfig
from ingot.inference.executors.base import Chunk, Drawn, SamplingRow
from ingot.inference.executors.native_weights import PackedWeights, WeightKind
from ingot.inference.sequence import TokenLogprob
from ingot.native import Matrix, Model

KEY_TILE = 16
"""A cache block holds a multiple of this many tokens: their keys lie side by side."""


class NativeExecutor:
    """Runs an ingot with the C++ core; only tokens that the tokenizer knows are ever drawn.

    A sequence's scores are the same bits whatever else is in its batch and however
    its prefill is cut.

    Args:
        ingot: The model; may be closed afterwards.
        num_blocks: Blocks of the key-value cache; None takes ``EngineConfig``'s default.
        block_size: Tokens in a block, a multiple of 16.
        weights: "bf16", or "int8" or "int4" with a scale for 128 inputs, rounded at loading.
        kv_cache: What keys and values are stored as.
        threads: Threads that compute; None takes one for each CPU this process may use.

    Raises:
        UsageError: an argument out of range, or INGOT_ISA names kernels that cannot run here.
        ResourceError: not enough memory for weights or cache.
    """

    def __init__(
        self,
        ingot: Ingot,
        *,
        num_blocks: int | None = None,
        block_size: int = 16,
        weights: WeightKind = "int8",
        kv_cache: Literal["bf16", "f32"] = "bf16",
        threads: int | None = None,
    ) -> None:
        if block_size < 1 or block_size % KEY_TILE:
            raise UsageError(
                f"{block_size} is not a multiple of {KEY_TILE}",
                where="block_size",
                fix=f"use {KEY_TILE}",
            )
        self.config = ingot.config
        self.block_size = block_size
        self.num_blocks = num_blocks or EngineConfig(block_size=block_size).blocks_for(self.config)
        try:
            self.model = Model(
                **_sizes(ingot),
                **_weights(ingot, weights),
                cache=kv_cache,
                blocks=self.num_blocks,
                block_size=block_size,
                kernels=os.environ.get("INGOT_ISA", ""),
                threads=threads or 0,
            )
        except ValueError as error:
            raise UsageError(str(error), where="native executor") from error
        except MemoryError as error:
            raise ResourceError(
                f"no memory for {self.num_blocks} blocks of the key-value cache",
                fix="use fewer blocks or a smaller model",
            ) from error

    def step(self, chunks: Seq[Chunk]) -> list[Drawn | None]:
        """Run every chunk; return one entry for each, None where nothing was asked.

        Raises:
            ServeError: the model gave a value that is not finite.
            UsageError: a token, position or block that does not exist; nothing was run.
        """
        try:
            choices = self.model.step([as_native(chunk) for chunk in chunks])
        except (IndexError, TypeError, ValueError, RuntimeError) as error:
            raise UsageError(str(error), where="native executor") from error
        drawn: list[Drawn | None] = [None] * len(chunks)
        asking = [place for place, chunk in enumerate(chunks) if chunk.sampling is not None]
        for place, (token, logprob, top) in zip(asking, choices, strict=True):
            sampling = chunks[place].sampling
            if sampling is not None:
                drawn[place] = _drawn(sampling, token, logprob, top)
        return drawn

    def close(self) -> None:
        """Give back the memory of weights and cache, and the threads."""
        self.model.close()


def as_native(chunk: Chunk) -> tuple[Seq[int], int, Seq[int], Any]:
    """Return a chunk as the core takes it."""
    row = chunk.sampling
    if row is None:
        return chunk.token_ids, chunk.start, chunk.block_table, None
    params = row.params
    count = -1 if params.logprobs is None else params.logprobs
    draw = (
        params.temperature,
        params.top_p,
        params.min_p,
        params.top_k,
        row.seed,
        row.position,
        count,
    )
    return chunk.token_ids, chunk.start, chunk.block_table, draw


def _drawn(row: SamplingRow, token: int, logprob: float, top: list[tuple[int, float]]) -> Drawn:
    """Check a choice of the core and give it its type."""
    if token < 0:
        raise ServeError(
            f"some scores are not finite at position {row.position}",
            where="model",
            fix="verify the ingot; its weights may have been damaged or diverged in training",
        )
    if row.params.logprobs is None:
        return Drawn(token, None)
    return Drawn(token, TokenLogprob(token, logprob, tuple(top)))


def _sizes(ingot: Ingot) -> dict[str, Any]:
    """Return the model's sizes by the core's names."""
    config = ingot.config
    return {
        "hidden": config.hidden_size,
        "feed_forward": config.intermediate_size,
        "query_heads": config.num_attention_heads,
        "key_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "positions": config.max_position_embeddings,
        "rope_theta": config.rope_theta,
        "norm_eps": config.rms_norm_eps,
        "drawn_vocabulary": ingot.tokenizer.vocab_size,
    }


def _weights(ingot: Ingot, kind: WeightKind) -> dict[str, Any]:
    """Return the packed weights by the core's names."""
    packed = PackedWeights(ingot.tensors, kind)
    embedding = packed.matrix("model.embed_tokens.weight")
    tied = ingot.config.tie_word_embeddings
    layers = range(ingot.config.num_hidden_layers)
    return {
        "embedding": embedding,
        "head": embedding if tied else packed.matrix("lm_head.weight"),
        "final_norm": packed.gains("model.norm.weight"),
        "layers": [_layer(packed, f"model.layers.{layer}") for layer in layers],
    }


def _layer(packed: PackedWeights, prefix: str) -> tuple[Any, ...]:
    """Return one layer's gains and matrices in the core's order."""

    def matrix(*names: str) -> Matrix:
        return packed.matrix(*(f"{prefix}.{name}.weight" for name in names))

    return (
        packed.gains(f"{prefix}.input_layernorm.weight"),
        packed.gains(f"{prefix}.self_attn.q_norm.weight"),
        packed.gains(f"{prefix}.self_attn.k_norm.weight"),
        packed.gains(f"{prefix}.post_attention_layernorm.weight"),
        matrix("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        matrix("self_attn.o_proj"),
        matrix("mlp.gate_proj", "mlp.up_proj"),
        matrix("mlp.down_proj"),
    )
