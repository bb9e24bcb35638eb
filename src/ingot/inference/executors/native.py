"""The native executor: the C++ core on a CPU, without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Sequence as Seq
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ingot.artifact import Ingot
from ingot.errors import ResourceError, UsageError
from ingot.inference.config import EngineConfig, Weights
from ingot.inference.executors.base import (
    FEATURES,
    Failure,
    HiddenStates,
    ModelInput,
    Result,
    SamplingRow,
)
from ingot.inference.executors.native_weights import NativeWeights
from ingot.inference.executors.sampling import none_allowed, not_finite
from ingot.inference.request.sequence import SampledToken, TokenLogprob
from ingot.native import Model

KEY_TILE = 16
"""A cache block holds a multiple of this many tokens: their keys lie side by side."""

CacheKind = Literal["bf16", "f32", "int8"]
_NONE_ALLOWED = -2  # what the core draws where the mask lets nothing through
_Choice = tuple[int, float, list[tuple[int, float]]]


class NativeExecutor:
    """Runs an ingot with the C++ core; only tokens that the tokenizer knows are ever drawn.

    A sequence's scores are the same bits whatever else is in its batch and however
    its prefill is cut.

    Args:
        ingot: The model; may be closed afterwards.
        num_blocks: Blocks of the key-value cache; None takes ``EngineConfig``'s default.
        block_size: Tokens in a block, a multiple of 16.
        weights: "stored" computes with the ingot's own weights, packed at loading unless it is
            quantized; "bf16", "int8" or "int4" rounds them, with a scale for 128 inputs.
        kv_cache: What keys and values are stored as; int8 has a scale for each token and head.
        threads: Threads that compute; None takes one for each CPU this process may use.
        pinned: Keep each of the core's own threads on a CPU of its own.
        window: Tokens that each token attends to, itself included; None takes the model's own.

    Raises:
        UsageError: an argument out of range, or INGOT_ISA names kernels that cannot run here.
        ResourceError: not enough memory for weights or cache.
    """

    features = FEATURES

    def __init__(
        self,
        ingot: Ingot,
        *,
        num_blocks: int | None = None,
        block_size: int = 16,
        weights: Weights = "stored",
        kv_cache: CacheKind = "bf16",
        threads: int | None = None,
        pinned: bool = False,
        window: int | None = None,
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
            self._weights = NativeWeights(ingot, weights)
            self.model = Model(
                **_sizes(ingot),
                **_arranged(ingot, self._weights),
                cache=kv_cache,
                blocks=self.num_blocks,
                block_size=block_size,
                window=window or self.config.sliding_window or 0,
                kernels=os.environ.get("INGOT_ISA", ""),
                threads=threads or 0,
                pinned=pinned,
            )
        except ValueError as error:
            raise UsageError(str(error), where="native executor") from error
        except MemoryError as error:
            raise ResourceError(
                f"no memory for {self.num_blocks} blocks of the key-value cache",
                fix="use fewer blocks or a smaller model",
            ) from error

    def step(self, inputs: Seq[ModelInput]) -> list[Result]:
        """Run every input; return one entry for each, None where nothing was asked.

        An input whose values are not finite, or whose mask allows no token, gives a ``Failure``.

        Raises:
            UsageError: a token, position or block that does not exist; nothing was run.
        """
        try:
            choices, hidden = self.model.step([as_native(model_input) for model_input in inputs])
        except (IndexError, TypeError, ValueError, RuntimeError) as error:
            raise UsageError(str(error), where="native executor") from error
        results: list[Result] = []
        choice, states = iter(choices), iter(hidden)
        for model_input in inputs:
            if model_input.hidden:
                results.append(_finite(model_input, next(states)))
            elif model_input.sampling is None:
                results.append(None)
            else:
                rows = (*model_input.verify_rows, model_input.sampling)
                results.append(_taken(rows, [next(choice) for _ in rows]))
        return results

    def weight_digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of the ingot's tensors, from the memory the core reads.

        Empty where weights were rounded at loading.
        """
        return self._weights.digests()

    def yield_cpu(self, on: bool) -> None:
        """Let one of the core's threads take no work, for 10 ms at most."""
        self.model.make_way(on)

    def close(self) -> None:
        """Release the memory of weights and cache, and the threads."""
        self.model.close()
        self._weights.close()


def as_native(model_input: ModelInput) -> tuple[Any, ...]:
    """Return an input as the core takes it."""
    rows = []
    if model_input.sampling is not None:
        rows = [_as_row(row) for row in (*model_input.verify_rows, model_input.sampling)]
    return (
        model_input.token_ids,
        model_input.start,
        model_input.block_table,
        rows,
        model_input.hidden,
    )


def _as_row(row: SamplingRow) -> tuple[Any, Any, Any]:
    params = row.params
    how = (
        params.temperature,
        params.top_p,
        params.min_p,
        params.typical_p,
        params.top_k,
        row.seed,
        row.position,
        (params.logprobs or 0) if _reports(row) else -1,
        -1 if row.forced_token is None else row.forced_token,
    )
    return how, row.adjustment and tuple(row.adjustment), row.mask


def _reports(row: SamplingRow) -> bool:
    """Whether a row asks for log-probabilities."""
    return row.forced_token is not None or row.params.logprobs is not None


def _finite(model_input: ModelInput, states: NDArray[np.float32]) -> HiddenStates | Failure:
    """Check the hidden states of an input."""
    if np.isfinite(states).all():
        return HiddenStates(states)
    position = model_input.start + len(model_input.token_ids)
    return Failure(str(not_finite("some hidden states", position)))


def _taken(rows: Seq[SamplingRow], choices: Seq[_Choice]) -> SampledToken | Failure:
    """Return the tokens of one input, the last one first; or what is wrong with a row of it."""
    for row, (token, _, _) in zip(rows, choices, strict=True):
        if token == _NONE_ALLOWED:
            return Failure(str(none_allowed(row.position)))
        if token < 0:
            return Failure(str(not_finite("some scores", row.position)))
    verified = tuple(map(_sampled, rows[:-1], choices[:-1]))
    return _sampled(rows[-1], choices[-1], verified)


def _sampled(
    row: SamplingRow, choice: _Choice, verified: tuple[SampledToken, ...] = ()
) -> SampledToken:
    """Give a choice of the core its type."""
    token, logprob, top = choice
    if not _reports(row):
        return SampledToken(token, None, verified)
    return SampledToken(token, TokenLogprob(token, logprob, tuple(top)), verified)


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


def _arranged(ingot: Ingot, weights: NativeWeights) -> dict[str, Any]:
    """Return the weights by the core's names."""
    embedding = weights.matrix("model.embed_tokens")
    tied = ingot.config.tie_word_embeddings
    layers = range(ingot.config.num_hidden_layers)
    return {
        "embedding": embedding,
        "head": embedding if tied else weights.matrix("lm_head"),
        "final_norm": weights.norm("model.norm.weight"),
        "layers": [_layer(weights, f"model.layers.{layer}") for layer in layers],
    }


def _layer(weights: NativeWeights, prefix: str) -> tuple[Any, ...]:
    """Return one layer's norm weights and matrices in the core's order."""
    return (
        weights.norm(f"{prefix}.input_layernorm.weight"),
        weights.norm(f"{prefix}.self_attn.q_norm.weight"),
        weights.norm(f"{prefix}.self_attn.k_norm.weight"),
        weights.norm(f"{prefix}.post_attention_layernorm.weight"),
        weights.matrix(f"{prefix}.self_attn.qkv_proj"),
        weights.matrix(f"{prefix}.self_attn.o_proj"),
        weights.matrix(f"{prefix}.mlp.gate_up_proj"),
        weights.matrix(f"{prefix}.mlp.down_proj"),
    )
