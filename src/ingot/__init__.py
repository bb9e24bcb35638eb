"""Ingot: train a language model, seal it, serve it.

Two phases that share one architecture, and a wall between them::

    run = ingot.train("my_texts/", budget="10m")
    ingot.freeze(run, "my.ingot").close()
    with ingot.load("my.ingot") as model:
        print(model.generate("Once upon a time"))
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ingot.errors import IngotError

if TYPE_CHECKING:
    from ingot.api.inference import GenerationResult, Model, load, serve, verify
    from ingot.api.training import (
        Callbacks,
        TrainedRun,
        build_corpus,
        evaluate,
        evaluate_choices,
        freeze,
        resume,
        train,
    )
    from ingot.corpus import CorpusConfig
    from ingot.inference import EngineConfig
    from ingot.server import ServerConfig

# OpenMP's threads spin while they wait for each other; on a machine that also does other work
# they spin away the very time their partner needs. A short spin keeps both: docs/log.md has the
# figures. It must be said before PyTorch is loaded; a value of your own is left alone.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

_LAZY = {
    "ingot.api.training": (
        "Callbacks",
        "TrainedRun",
        "build_corpus",
        "evaluate",
        "evaluate_choices",
        "freeze",
        "resume",
        "train",
    ),
    "ingot.api.inference": ("GenerationResult", "Model", "load", "serve", "verify"),
    "ingot.corpus": ("CorpusConfig",),
    "ingot.inference": ("EngineConfig",),
    "ingot.server": ("ServerConfig",),
}

__all__ = [
    "Callbacks",
    "CorpusConfig",
    "EngineConfig",
    "GenerationResult",
    "IngotError",
    "Model",
    "ServerConfig",
    "TrainedRun",
    "build_corpus",
    "evaluate",
    "evaluate_choices",
    "freeze",
    "load",
    "resume",
    "serve",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a module when one of its names is first used; serving then never loads PyTorch."""
    for module, names in _LAZY.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'ingot' has no attribute {name!r}")
