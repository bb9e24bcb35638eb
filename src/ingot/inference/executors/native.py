"""The native executor: the C++ core on a CPU, without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Sequence as Seq
from typing import Literal

from ingot import native
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
from ingot.inference.executors.native_records import model_shape, model_weights
from ingot.inference.executors.native_weights import NativeWeights
from ingot.inference.executors.sampling import none_allowed, not_finite
from ingot.inference.request.sequence import SampledToken, TokenLogprob
from ingot.native import CacheShape, Model, StepOutput

KEY_TILE = 16
"""A cache block holds a multiple of this many tokens: their keys lie side by side."""

CacheFormat = Literal["bf16", "f32", "int8"]


class NativeExecutor:
    """Runs an ingot with the C++ core; only tokens that the tokenizer knows are sampled.

    A sequence's scores are the same bits whatever else is in its batch and however
    its prefill is cut.

    Args:
        ingot: The model; may be closed afterwards.
        num_blocks: Blocks of the key-value cache; None takes ``EngineConfig``'s default.
        block_size: Tokens in a block, a multiple of 16.
        weights: "stored" computes with the ingot's own weights, packed at loading unless it is
            quantized; "bf16", "int8" or "int4" rounds them to nearest, as ``ingot freeze`` does
            without calibration.
        kv_cache: What keys and values are stored as; int8 has a scale for each token and head.
        threads: Threads that compute; None takes one for each CPU this process may use.
        pinned: Keep each of the core's own threads on a CPU of its own.
        context: Longest context that will be run, which chooses between the frequencies of
            "longrope"; None takes the model's own.

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
        kv_cache: CacheFormat = "bf16",
        threads: int | None = None,
        pinned: bool = False,
        context: int | None = None,
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
                shape=model_shape(self.config, ingot.tokenizer.vocab_size, context),
                weights=model_weights(self.config, self._weights),
                cache=CacheShape(kv_cache, self.num_blocks, block_size),
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
        """Run every input; return one entry for each, None if it requested nothing.

        An input whose values are not finite, or whose mask allows no token, gives a ``Failure``.

        Raises:
            UsageError: a token, position or block that does not exist; nothing was run.
        """
        try:
            output = self.model.step(inputs)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(str(error), where="native executor") from error
        return _results(inputs, output)

    def try_step(self, inputs: Seq[ModelInput]) -> list[Result] | None:
        """Run every input as ``step`` does, or return None where ``interrupt`` stopped it.

        Raises:
            UsageError: as ``step``.
        """
        try:
            output = self.model.try_step(inputs)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(str(error), where="native executor") from error
        return None if output is None else _results(inputs, output)

    def interrupt(self, on: bool) -> None:
        """Stop ``try_step`` before its next half of a layer, and until called with False."""
        self.model.interrupt(on)

    def weight_digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of the ingot's tensors, from the memory the core reads.

        Empty where weights were rounded at loading.
        """
        return self._weights.digests()

    def yield_cpu(self, on: bool) -> None:
        """Let one of the core's threads take no work, for 10 ms at most."""
        self.model.yield_cpu(on)

    def close(self) -> None:
        """Release the memory of weights and cache, and the threads."""
        self.model.close()
        self._weights.close()


def _results(inputs: Seq[ModelInput], output: StepOutput) -> list[Result]:
    """Return the core's output in the engine's types, one entry for each input."""
    results: list[Result] = []
    sampled, states = iter(output.sampled), iter(output.hidden)
    for model_input in inputs:
        row = model_input.sampling
        if model_input.hidden:
            results.append(HiddenStates(next(states)))
        elif row is None:
            results.append(None)
        elif not model_input.verify_rows:  # most steps: one token for each sequence
            results.append(_token(row, next(sampled)))
        else:
            verified = tuple(_token(one, next(sampled)) for one in model_input.verify_rows)
            results.append(_token(row, next(sampled), verified))
    for failure in output.failures:
        results[failure.input] = _failure(failure)
    return results


def _token(
    row: SamplingRow, sampled: native.SampledToken, verified: tuple[SampledToken, ...] = ()
) -> SampledToken:
    """Return the core's token in the engine's type."""
    token_id = sampled.token_id
    if row.params.logprobs is None and row.forced_token is None:
        return SampledToken(token_id, None, verified)
    logprob = TokenLogprob(token_id, sampled.logprob, tuple(sampled.top))
    return SampledToken(token_id, logprob, verified)


def _failure(failure: native.Failure) -> Failure:
    """Return the core's failure with its message."""
    if failure.reason is native.SampleError.NONE_ALLOWED:
        return Failure(str(none_allowed(failure.position)))
    return Failure(str(not_finite("some values", failure.position)))
