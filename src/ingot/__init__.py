"""Ingot: train a language model, seal it, serve it.

Two phases that share one architecture, and a wall between them::

    run = ingot.train("my_texts/", budget="10m")
    ingot.freeze(run, "my.ingot").close()
    with ingot.load("my.ingot") as model:
        print(model.generate("Once upon a time"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ingot.errors import IngotError
from ingot.process import set_openmp_spin

if TYPE_CHECKING:
    from ingot.api.exporting import ExportOptions, export
    from ingot.api.importing import import_model
    from ingot.api.inference import GenerationResult, Model, load, serve, verify
    from ingot.api.ingots import Inspection, diff, inspect, sign
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

set_openmp_spin()  # before anything loads PyTorch, which reads the environment once

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
    "ingot.api.exporting": ("ExportOptions", "export"),
    "ingot.api.importing": ("import_model",),
    "ingot.api.inference": ("GenerationResult", "Model", "load", "serve", "verify"),
    "ingot.api.ingots": ("Inspection", "diff", "inspect", "sign"),
    "ingot.corpus": ("CorpusConfig",),
    "ingot.inference": ("EngineConfig",),
    "ingot.server": ("ServerConfig",),
}

__all__ = [
    "Callbacks",
    "CorpusConfig",
    "EngineConfig",
    "ExportOptions",
    "GenerationResult",
    "IngotError",
    "Inspection",
    "Model",
    "ServerConfig",
    "TrainedRun",
    "build_corpus",
    "diff",
    "evaluate",
    "evaluate_choices",
    "export",
    "freeze",
    "import_model",
    "inspect",
    "load",
    "resume",
    "serve",
    "sign",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a module when one of its names is first used; serving then never loads PyTorch."""
    for module, names in _LAZY.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'ingot' has no attribute {name!r}")
