"""Caching, quantization, batching: three switches on the real engine, and what each buys.

What each buys is told by goodput, the answers a second that keep an objective, and by cost.
Speed does not depend on what weights hold, so a model wide enough for memory to
matter is filled with random numbers, sealed, and asked.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from ingot.api import inference
from ingot.api.executors import native_core_is_built
from ingot.artifact import Provenance, freeze
from ingot.inference import Objective
from ingot.lesson.experiments.engine_load import LoadTiming, time_answers
from ingot.lesson_content import SystemDesign
from ingot.model import ModelConfig, Tokenizer

PROMPT_TOKENS = 12
ANSWER_TOKENS = 24
_TRIALS = 3


def _wide(vocab_size: int) -> ModelConfig:
    """Return a model whose weights are well past a processor's nearest caches."""
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=4,
        num_attention_heads=12,
        num_key_value_heads=4,
        head_dim=64,
        max_position_embeddings=128,
    )


@dataclass(frozen=True)
class Switches:
    """Setting of the three switches."""

    caching: bool = False
    quantization: bool = False
    batching: bool = False

    def __str__(self) -> str:
        names = [name for name, on in vars(self).items() if on]
        return " + ".join(names) or "all off"


@dataclass(frozen=True)
class Load:
    """What a system is asked for: people who ask at once, and the objective for each of them."""

    users: int
    objective: Objective


@dataclass(frozen=True)
class SwitchResult:
    """Measured service of one load with one setting of the switches."""

    switches: Switches
    load: Load
    timing: LoadTiming


class SwitchBench:
    """A wide model, loaded as often as quantization has positions; close it after use.

    Args:
        folder: Where its ingot goes.
        tokenizer: Any; it decides the vocabulary.
        design: The lesson's loads.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer, design: SystemDesign) -> None:
        path = folder / "wide.ingot"
        config = _wide(tokenizer.vocab_size)
        rng = np.random.default_rng(0)
        weights = {
            name: rng.standard_normal(shape, dtype=np.float32) / np.float32(shape[-1] ** 0.5)
            for name, shape in config.tensor_shapes().items()
        }
        freeze(weights, config, tokenizer, path, provenance=Provenance()).close()
        self.parameters = config.parameters
        self.can_quantize = native_core_is_built()
        """Only the C++ core runs 8-bit weights."""
        self._design = design
        shape = (design.most_users, PROMPT_TOKENS)
        self._prompts: list[list[int]] = rng.integers(1, tokenizer.vocab_size, shape).tolist()
        with contextlib.ExitStack() as stack:
            self._models = {False: stack.enter_context(inference.load(path))}
            if self.can_quantize:
                self._models[True] = stack.enter_context(inference.load(path, weights="int8"))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def proposed_objective(self) -> Objective:
        """Return the lesson's objective: multiples of what one user alone gets with the cache."""
        alone = [
            time_answers(self._models[False], self._prompts[:1], tokens=ANSWER_TOKENS)
            for _ in range(1 + _TRIALS)
        ][1:]
        answer = min(timing.seconds for timing in alone)
        gap = min(timing.gap_seconds or math.inf for timing in alone)
        return Objective(
            ttft_s=max(_rounded(self._design.answers_waited * answer), 1e-3),
            itl_s=max(_rounded(self._design.gaps_waited * gap), 1e-4),
        )

    def measure(self, switches: Switches, load: Load) -> SwitchResult:
        """Let every user ask once with the switches so, and time it."""
        timing = time_answers(
            self._models[switches.quantization and self.can_quantize],
            self._prompts[: load.users],
            tokens=ANSWER_TOKENS,
            together=switches.batching,
            cached=switches.caching,
            objective=load.objective,
        )
        return SwitchResult(switches, load, timing)

    def measure_in_turn(self, load: Load) -> Iterator[SwitchResult]:
        """Measure all off, then each switch turned on with those before it left on."""
        position = Switches()
        yield self.measure(position, load)
        for name in ("caching", "quantization", "batching"):
            if name == "quantization" and not self.can_quantize:
                continue
            position = Switches(**{**vars(position), name: True})
            yield self.measure(position, load)

    def measure_loads(self, objective: Objective) -> Iterator[SwitchResult]:
        """Measure every switch on, with more and more users at once."""
        on = Switches(caching=True, quantization=self.can_quantize, batching=True)
        for users in self._design.loads:
            yield self.measure(on, Load(users, objective))


def _rounded(seconds: float) -> float:
    """Return a time in two digits."""
    return float(f"{seconds:.2g}")


def fastest(rounds: Sequence[Sequence[SwitchResult]]) -> tuple[SwitchResult, ...]:
    """Return for each setting the fastest of several rounds: other programs only slow it down."""
    return tuple(
        min(results, key=lambda result: result.timing.seconds)
        for results in zip(*rounds, strict=True)
    )
