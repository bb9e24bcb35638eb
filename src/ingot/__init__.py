"""Ingot: train a language model, seal it, serve it.

Two phases that share one architecture, and a wall between them::

    run = ingot.train("my_texts/", budget="10m")
    ingot.freeze(run.path, "my.ingot").close()
    with ingot.load("my.ingot") as model:
        print(model.generate("Once upon a time"))
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingot.api.inference import GenerationResult, Model, load, serve
    from ingot.api.training import Callbacks, build_corpus, evaluate, freeze, resume, train

# OpenMP's threads spin while they wait for each other; on a machine that also does other work
# they spin away the very time their partner needs. A short spin keeps both: docs/log.md has the
# figures. It must be said before PyTorch is loaded; a value of your own is left alone.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

_PHASES = {
    "ingot.api.training": (
        "Callbacks",
        "build_corpus",
        "evaluate",
        "freeze",
        "resume",
        "train",
    ),
    "ingot.api.inference": ("GenerationResult", "Model", "load", "serve"),
}

__all__ = [
    "Callbacks",
    "GenerationResult",
    "Model",
    "build_corpus",
    "evaluate",
    "freeze",
    "load",
    "resume",
    "serve",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a phase when it is first used, so that one never loads what the other needs."""
    for module, names in _PHASES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'ingot' has no attribute {name!r}")
