"""What a caller is told of training as it goes on, and what it may ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ingot.corpus import Progress as CorpusProgress
from ingot.planning import Machine, Plan
from ingot.training import Recipe
from ingot.training.loop.controls import Controls
from ingot.training.monitoring.events import Event


def _ignore(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Watcher:
    """Functions to call as work goes on; each may be left out."""

    machine: Callable[[Machine], None] = _ignore
    """Given the machine once it is measured."""
    recipe: Callable[[Recipe, Plan | None], None] = _ignore
    """Given every choice before training, and the plan they come from, if one was made."""
    corpus: Callable[[CorpusProgress], None] = _ignore
    """Given the progress of building a corpus."""
    training: Callable[[Event], None] = _ignore
    """Given each event of the run."""
    interrupted: threading.Event = field(default_factory=threading.Event)
    """Set it to stop a run after its current update, with a checkpoint."""
    controls: Controls = field(default_factory=Controls)
    """Other wishes to the run."""
