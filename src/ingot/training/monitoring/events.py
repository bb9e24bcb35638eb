"""Events of a run, for its record, trackers and observers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Started:
    """The run begins, or resumes from a checkpoint."""

    parameters: int
    vocab_size: int
    step: int
    """Updates already done."""
    note: str
    """One line on precision and warm start."""
    run: str = ""
    """Name of the run's folder."""


@dataclass(frozen=True)
class Stepped:
    """One update was applied."""

    step: int
    progress: float
    """Share of the run that is done."""
    loss: float
    """Training loss of this update, in nats for each prediction that counts."""
    bits_per_byte: float | None
    """The same, by the text's mean bytes per token; None where the loss is not a text's."""
    learning_rate: float
    """Share of the full learning rate."""
    gradient_norm: float
    tokens: int
    """Tokens seen so far."""
    tokens_per_second: float
    """Over the last few seconds of training alone."""
    flops_per_second: float
    share_of_peak: float | None
    """Of the machine's measured matrix-product rate; None where it was not measured."""
    seconds_left: float
    energy_kwh: float | None = None
    """Taken so far; None where the machine's power was not given."""
    money: float | None = None
    """Spent so far; None where no price was given."""


@dataclass(frozen=True)
class Skipped:
    """An update was skipped; no weight changed, or those of a checkpoint were restored."""

    step: int
    loss: float
    """Nats per token; may be NaN or infinite."""
    gradient_norm: float
    in_a_row: int
    """Updates without a finite loss and gradient up to this one, since the last applied one."""
    total: int
    """Updates skipped since the run began."""
    why: Literal["not finite", "spike"] = "not finite"
    back_to: int | None = None
    """Update whose weights were restored."""


@dataclass(frozen=True)
class Evaluated:
    """The whole held-out split was scored."""

    step: int
    loss: float
    """Nats for each prediction that counts."""
    bits_per_byte: float | None
    seconds: float
    best: bool


@dataclass(frozen=True)
class Sampled:
    """A sample of generated text."""

    step: int
    prompt: str
    text: str


@dataclass(frozen=True)
class Checkpointed:
    """A checkpoint was written to disk."""

    step: int
    path: str


Event: TypeAlias = Started | Stepped | Skipped | Evaluated | Sampled | Checkpointed
Observer: TypeAlias = Callable[[Event], None]
