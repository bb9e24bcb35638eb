"""Everything a lesson measured, written down so that the page can show it too."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field

import orjson

from ingot.files import write_atomic
from ingot.lesson.experiments.full_size import InferenceTrace, UpdateTrace
from ingot.lesson.experiments.guardrails import GuardrailResult
from ingot.lesson.experiments.machine_load import BUSY_SHARE
from ingot.lesson.experiments.phases import Phases
from ingot.lesson.experiments.switches import SwitchResult
from ingot.lesson_content import RECORD_VERSION, record_path


@dataclass(frozen=True)
class Machine:
    """Machine of the measurements."""

    name: str
    cores: int
    matmul_flops: float


@dataclass(frozen=True)
class Training:
    """The run in which the lesson's model was trained."""

    steps: int
    tokens: int
    seconds: float
    first_loss: float
    """Of the first update, nats per token."""
    validation_loss: float
    """On held-out text, at the end."""


@dataclass(frozen=True)
class LargeModelCost:
    """Time that a published large model would take on this machine."""

    name: str
    training_years: float
    seconds_per_token: float


@dataclass(frozen=True)
class Record:
    """The figures of one lesson."""

    machine: Machine
    training: Training
    update: UpdateTrace
    asked: InferenceTrace
    phases: Phases
    large_model: LargeModelCost
    switches: tuple[SwitchResult, ...]
    loads: tuple[SwitchResult, ...]
    """Every switch on, with more and more users."""
    price_per_hour: float
    """Price of the machine that costs are told for."""
    switches_parameters: int
    """Weights of the model that the switches were tried on."""
    guardrails: tuple[GuardrailResult, ...]
    evidence: dict[str, str]
    """By the question's name."""
    others: dict[str, float | None]
    """Share of the processors' time that other programs took during each measurement; more than
    ``busy_share`` disturbs it, None is unknown."""
    busy_share: float = BUSY_SHARE
    version: int = RECORD_VERSION
    measured_at: str = field(
        default_factory=lambda: time.strftime("%Y-%m-%d %H:%M", time.localtime())
    )

    def to_json(self) -> bytes:
        """Return the record as JSON."""
        return orjson.dumps(dataclasses.asdict(self), option=orjson.OPT_INDENT_2)

    def save(self) -> None:
        """Write the record where the page looks for it."""
        path = record_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, self.to_json())
