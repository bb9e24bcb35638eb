"""Callbacks for progress, and requests to a running training."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ingot.corpus import Corpus
from ingot.corpus import Progress as CorpusProgress
from ingot.planning import Machine, Plan
from ingot.training.config.recipe import Recipe
from ingot.training.loop.controls import Controls
from ingot.training.monitoring.events import Event


def _ignore(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Callbacks:
    """Functions that training calls, all optional, and events that its caller sets."""

    on_machine: Callable[[Machine], None] = _ignore
    """Called with the machine once it is measured."""
    on_recipe: Callable[[Recipe, Plan | None], None] = _ignore
    """Called with the recipe before training, and with its plan if one was made."""
    on_progress: Callable[[CorpusProgress], None] = _ignore
    """Called with the progress of building a corpus."""
    on_corpus: Callable[[Corpus], None] = _ignore
    """Called with the corpus that was built, whose manifest tells what was left out of it."""
    on_event: Callable[[Event], None] = _ignore
    """Called with each event of the run."""
    interrupted: threading.Event = field(default_factory=threading.Event)
    """Set it to stop a run after its current update, with a checkpoint."""
    controls: Controls = field(default_factory=Controls)
    """Requests to the run: pause, resume, write a checkpoint."""
