"""The real small model of the lesson: trained in seconds on text that every reader has."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path

from ingot.api import training
from ingot.api.training import Callbacks
from ingot.artifact import Provenance
from ingot.planning import Machine
from ingot.training.monitoring.run_reporter import TrainingResult

PROMPT = "    def"
"""Prompt that the model continues; its text is Python."""
_SETTINGS = (
    "corpus.vocab_size=512",
    "model.hidden_size=96",
    "model.intermediate_size=256",
    "model.num_hidden_layers=3",
    "model.num_attention_heads=3",
    "model.num_key_value_heads=1",
    "model.head_dim=32",
    "batch.context=128",
    "batch.sequences=4",
    "run.evaluations=1",
    "run.samples=0",  # nothing shows them
)
UPDATES = 120
"""Updates that take a few seconds and teach it to write something like Python."""
_MODULES = 30


@dataclass(frozen=True)
class LessonModel:
    """A finished run and the ingot it was sealed into."""

    run: Path
    ingot: Path
    machine: Machine
    result: TrainingResult
    provenance: Provenance


def texts() -> list[Path]:
    """Return the training text: the first modules of Python's standard library."""
    return sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:_MODULES]


def train_model(folder: Path, callbacks: Callbacks, *, updates: int) -> LessonModel:
    """Train the model of the lesson in a new folder and seal it.

    Args:
        folder: Where the run and ``lesson.ingot`` go.
        callbacks: Functions to call during the work.
        updates: Updates to make.
    """
    machines: list[Machine] = []

    def measured(machine: Machine) -> None:
        machines.append(machine)
        callbacks.on_machine(machine)

    trained = training.train(
        texts(),
        out=folder / "run",
        settings=[*_SETTINGS, f"run.steps={updates}"],
        callbacks=Callbacks(
            on_machine=measured,
            on_progress=callbacks.on_progress,
            on_event=callbacks.on_event,
            interrupted=callbacks.interrupted,
        ),
    )
    sealed = folder / "lesson.ingot"
    with training.freeze(trained.path, sealed) as opened:
        provenance = opened.manifest.provenance
    return LessonModel(trained.path, sealed, machines[0], trained.result, provenance)
