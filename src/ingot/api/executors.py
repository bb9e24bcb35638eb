"""The executor of a model, imported where it is chosen."""

from __future__ import annotations

from importlib import import_module
from typing import Literal

from ingot.artifact import Ingot
from ingot.errors import UsageError
from ingot.inference import EngineConfig
from ingot.inference.config import Weights
from ingot.inference.executors.base import Executor

ExecutorName = Literal["auto", "native", "torch"]


def native_core_is_built() -> bool:
    """Tell whether the C++ core was compiled when Ingot was installed."""
    try:
        import_module("ingot.native")
    except ImportError:
        return False
    return True


def build_executor(
    name: ExecutorName, weights: Weights, ingot: Ingot, config: EngineConfig
) -> Executor:
    """Build the executor; each is imported only where it is chosen.

    Raises:
        UsageError: it is not installed, or not for these weights and limits.
    """
    blocks = config.blocks_for(ingot.config)
    built = native_core_is_built()
    if name == "torch" or (name == "auto" and not built):
        try:
            from ingot.inference.executors.torch import TorchExecutor
        except ModuleNotFoundError as error:
            raise UsageError(
                f"needs {error.name}, which is not installed",
                where="executor torch",
                fix="install ingot[train], or use the native executor",
            ) from error
        if weights != "stored":
            raise UsageError(
                f"{weights!r} needs the native executor, and this is torch",
                where="weights",
                fix="use 'stored', or --executor native",
            )
        for setting in ("kv_cache_dtype", "pin_threads"):
            if getattr(config, setting):
                raise UsageError("is for the native executor", where=f"engine.{setting}")
        return TorchExecutor(
            ingot,
            num_blocks=blocks,
            block_size=config.block_size,
            threads=config.threads,
            context=config.max_context,
        )
    if not built:
        raise UsageError(
            "the C++ core was not built",
            where=f"executor {name}",
            fix="install Python's headers (python3-dev) and install Ingot again, or use torch",
        )
    from ingot.inference.executors.native import NativeExecutor

    return NativeExecutor(
        ingot,
        num_blocks=blocks,
        block_size=config.block_size,
        weights=weights,
        kv_cache=config.kv_cache_dtype or "bf16",
        threads=config.threads,
        pinned=config.pin_threads,
        context=config.max_context,
    )
