"""Check that an engine's limits fit each other, the model and the executor."""

from __future__ import annotations

from ingot.errors import UsageError
from ingot.inference.config import EngineConfig
from ingot.inference.executors.base import Executor


def check_limits(config: EngineConfig, executor: Executor) -> None:
    """Check that limits fit each other, the model and the executor.

    Raises:
        UsageError: they do not; ``where`` names one of the settings.
    """
    if config.max_sequences > config.max_step_tokens:
        raise UsageError(
            f"{config.max_sequences} sequences do not fit in a step of "
            f"{config.max_step_tokens} tokens",
            where="max_sequences",
            fix="lower it, or raise max_step_tokens",
        )
    model_context = executor.config.max_position_embeddings
    if config.max_context is not None and config.max_context > model_context:
        raise UsageError(
            f"{config.max_context} is longer than the model's {model_context}",
            where="max_context",
            fix="lower it",
        )
    for name in ("block_size", "num_blocks"):
        asked, built = getattr(config, name), getattr(executor, name)
        if asked is not None and asked != built:
            raise UsageError(
                f"{asked} is not the executor's {built}",
                where=name,
                fix="build the executor with the same",
            )
    if config.speculation and "verify_rows" not in executor.features:
        raise UsageError(
            "is not supported by this executor",
            where="speculation",
            fix="leave it at 0, or use another executor",
        )
