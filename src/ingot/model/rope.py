"""Rotary position embedding: its frequencies and the ways to scale them to longer contexts."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ingot.errors import RecipeError

RopeType = Literal["default", "linear", "llama3", "yarn", "longrope"]

_MAX_THETA = 1e12  # computed with as float32
_MAX_POSITIONS = 1 << 24
_MAX_FACTOR, _MIN_FACTOR = 1e6, 1e-6
_MAX_PAIRS = 1 << 16

_USED: dict[RopeType, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "llama3": frozenset(
        {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}
    ),
    "yarn": frozenset(
        {
            "factor",
            "original_max_position_embeddings",
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "truncate",
        }
    ),
    "longrope": frozenset(
        {
            "factor",
            "original_max_position_embeddings",
            "attention_factor",
            "short_factor",
            "long_factor",
        }
    ),
}
"""Fields that each kind of scaling reads; the others keep their defaults."""
_REQUIRED = ("original_max_position_embeddings", "short_factor", "long_factor")


@dataclass(frozen=True)
class RopeConfig:
    """Frequencies of rotary position embedding (arXiv:2104.09864), by Hugging Face's names.

    Raises:
        RecipeError: a value out of range, one that this kind of scaling does not read, or one
            that it needs and that is missing.
    """

    rope_theta: float = 10_000.0
    """Base wavelength."""
    rope_type: RopeType = "default"
    """How frequencies are scaled to contexts longer than the original one."""
    factor: float = 1.0
    """How many times longer the context became. "longrope" takes its attention factor from it."""
    low_freq_factor: float = 1.0
    """llama3: original context / this is the shortest wavelength that is scaled in full."""
    high_freq_factor: float = 4.0
    """llama3: original context / this is the longest wavelength that is not scaled."""
    original_max_position_embeddings: int | None = None
    """Context before scaling, in tokens; None where the kind does not need it."""
    attention_factor: float | None = None
    """yarn, longrope: factor on cosines and sines; None computes it from ``factor``."""
    beta_fast: float = 32.0
    """yarn: rotations over the original context from which a pair is not scaled."""
    beta_slow: float = 1.0
    """yarn: rotations over the original context up to which a pair is scaled in full."""
    truncate: bool = True
    """yarn: whether the bounds of the ramp between the two are whole pairs."""
    short_factor: tuple[float, ...] = ()
    """longrope: divisor of each pair's frequency for contexts up to the original one."""
    long_factor: tuple[float, ...] = ()
    """longrope: divisor of each pair's frequency for longer contexts."""

    def __post_init__(self) -> None:
        if self.rope_type not in get_args(RopeType):
            raise _wrong("rope_type", f"must be one of {', '.join(get_args(RopeType))}")
        if not 1 < self.rope_theta <= _MAX_THETA:
            raise _wrong("rope_theta", f"must be above 1 and at most {_MAX_THETA:g}")
        for field in fields(self)[2:]:
            given = getattr(self, field.name) != field.default
            if given and field.name not in _USED[self.rope_type]:
                raise _wrong(field.name, f"has no meaning where rope_type is {self.rope_type!r}")
            if not given and field.name in _REQUIRED and field.name in _USED[self.rope_type]:
                raise _wrong(field.name, f"is missing, and {self.rope_type!r} needs it")
        self._check_numbers()

    def _check_numbers(self) -> None:
        """Refuse numbers that would overflow, divide by zero or take the logarithm of it."""
        for name in ("factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow"):
            if not _MIN_FACTOR <= getattr(self, name) <= _MAX_FACTOR:
                raise _wrong(name, f"must be from {_MIN_FACTOR:g} to {_MAX_FACTOR:g}")
        if self.attention_factor is not None and not (
            _MIN_FACTOR <= self.attention_factor <= _MAX_FACTOR
        ):
            raise _wrong("attention_factor", f"must be from {_MIN_FACTOR:g} to {_MAX_FACTOR:g}")
        if self.low_freq_factor >= self.high_freq_factor:
            raise _wrong("low_freq_factor", "must be below high_freq_factor")
        if self.beta_slow >= self.beta_fast:
            raise _wrong("beta_slow", "must be below beta_fast")
        original = self.original_max_position_embeddings
        if original is not None and not 2 <= original <= _MAX_POSITIONS:
            raise _wrong("original_max_position_embeddings", f"must be from 2 to {_MAX_POSITIONS}")
        for name in ("short_factor", "long_factor"):
            divisors: tuple[float, ...] = getattr(self, name)
            if len(divisors) > _MAX_PAIRS or not all(
                _MIN_FACTOR <= divisor <= _MAX_FACTOR for divisor in divisors
            ):
                raise _wrong(name, f"must hold numbers from {_MIN_FACTOR:g} to {_MAX_FACTOR:g}")

    def check_pairs(self, rotary_dim: int, where: str) -> None:
        """Refuse lists of divisors that are not for ``rotary_dim`` rotated dimensions.

        Raises:
            RecipeError: naming the list.
        """
        for name in ("short_factor", "long_factor"):
            divisors = getattr(self, name)
            if divisors and len(divisors) != rotary_dim // 2:
                raise RecipeError(
                    f"holds {len(divisors)} numbers for {rotary_dim // 2} rotated pairs",
                    where=f"{where}.{name}",
                )

    def frequencies(self, rotary_dim: int, context: int) -> tuple[NDArray[np.float64], float]:
        """Return the angle per position of each rotated pair, and the factor on cosine and sine.

        Every step rounds to float32, as transformers computes them; only the power is taken in
        float64 first, so that it is the same on every machine.

        Args:
            rotary_dim: Rotated dimensions of a head, an even number.
            context: Longest context that the model is opened with. "longrope" chooses between
                its two lists by it, for all positions alike, as vLLM and llama.cpp do.

        Returns:
            Frequencies (rotary_dim / 2,) in radians per token, float32 values held as float64,
            and the factor.
        """
        exponents = np.arange(0, rotary_dim, 2).astype(np.float32) / np.float32(rotary_dim)
        powers = (self.rope_theta ** exponents.astype(np.float64)).astype(np.float32)
        frequencies, factor = np.float32(1) / powers, 1.0
        if self.rope_type == "linear":
            frequencies = frequencies / np.float32(self.factor)
        elif self.rope_type == "llama3":
            frequencies = self._llama3(frequencies)
        elif self.rope_type == "yarn":
            frequencies, factor = self._yarn(powers)
        elif self.rope_type == "longrope":
            frequencies, factor = self._longrope(powers, context)
        return frequencies.astype(np.float64), factor

    def _llama3(self, frequencies: NDArray[np.float32]) -> NDArray[np.float32]:
        """Divide low frequencies by the factor, keep high ones, interpolate between (Llama 3.1)."""
        original = self._original
        low, high = np.float32(self.low_freq_factor), np.float32(self.high_freq_factor)
        wavelengths = np.float32(2 * math.pi) / frequencies
        factor = np.float32(self.factor)
        share = (np.float32(original) / wavelengths - low) / (high - low)
        between = (1 - share) * frequencies / factor + share * frequencies
        scaled = np.where(
            wavelengths > original / self.low_freq_factor, frequencies / factor, between
        )
        return np.where(wavelengths < original / self.high_freq_factor, frequencies, scaled)

    def _yarn(self, powers: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """Blend divided and plain frequencies along a ramp over the pairs (arXiv:2309.00071)."""
        pairs = len(powers)
        low, high = (
            self._pair_of(rotations, 2 * pairs)
            for rotations in (
                self.beta_fast,
                self.beta_slow,
            )
        )
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, 2 * pairs - 1)
        if low == high:
            high += 0.001
        ramp = (np.arange(pairs, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
        plain = 1 - np.clip(ramp, 0, 1)
        divided = np.float32(1) / (np.float32(self.factor) * powers)
        frequencies = divided * (1 - plain) + np.float32(1) / powers * plain
        if self.attention_factor is not None:
            return frequencies, self.attention_factor
        return frequencies, 1.0 if self.factor <= 1 else 0.1 * math.log(self.factor) + 1.0

    def _pair_of(self, rotations: float, rotary_dim: int) -> float:
        """Return the pair, as a fraction, that turns so often over the original context."""
        turns = self._original / (rotations * 2 * math.pi)
        return rotary_dim * math.log(turns) / (2 * math.log(self.rope_theta))

    def _longrope(
        self, powers: NDArray[np.float32], context: int
    ) -> tuple[NDArray[np.float32], float]:
        """Divide each frequency by its own number for this context (arXiv:2402.13753)."""
        original = self._original
        divisors = self.long_factor if context > original else self.short_factor
        frequencies = np.float32(1) / (np.asarray(divisors, dtype=np.float32) * powers)
        if self.attention_factor is not None:
            return frequencies, self.attention_factor
        if self.factor <= 1:
            return frequencies, 1.0
        return frequencies, math.sqrt(1 + math.log(self.factor) / math.log(original))

    @property
    def _original(self) -> int:
        """The context before scaling; the kinds that read it are refused without it."""
        return self.original_max_position_embeddings or 0


PLAIN_ROPE = RopeConfig()
"""Frequencies without scaling, at the usual base."""


def _wrong(name: str, what: str) -> RecipeError:
    return RecipeError(what, where=f"model.rope.{name}")
