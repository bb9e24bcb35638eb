"""Default settings of a run that starts from a trained model."""

from __future__ import annotations

from typing import Any

from ingot.model import ModelConfig
from ingot.training.config.model import model_table
from ingot.training.config.optimizer import OptimizerConfig
from ingot.training.config.task import TaskKind

FEW_EXAMPLES = 1000  # with more, the usual epochs are enough updates
_LEAST_UPDATES = 40
_SEQUENCES = 8
_RATES = {"text": 0.25, "chat": 0.25, "preference": 0.05}  # of the rates of a new model
_LONGEST = 2048  # tokens in a sequence; a model's own context may be a hundred times that


def tuning_tables(
    config: ModelConfig, kind: TaskKind, examples: int | None = None
) -> dict[str, dict[str, Any]]:
    """Return recipe tables: the model's own sizes, gentler rates, and how long to train.

    Few examples get small updates, and enough of them to learn: a run of two conversations would
    otherwise end after a single update.

    Args:
        config: The model to start from.
        kind: The task.
        examples: Conversations or pairs, if they are known to be fewer than ``FEW_EXAMPLES``.
    """
    model = model_table(config)
    if config.max_position_embeddings <= _LONGEST and config.position_embedding == "rotary":
        del model["max_position_embeddings"]  # it follows the length of sequences
    rates = {
        name: field.default * _RATES[kind]
        for name, field in OptimizerConfig.model_fields.items()
        if name.endswith("_lr") and name != "adapter_lr"
    }
    epochs = {"text": None, "chat": 3.0, "preference": 1.0}[kind]
    sequences = _SEQUENCES if examples is None else max(1, min(_SEQUENCES, examples // 4))
    length: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    if epochs is not None and examples is not None:
        # Conversations share sequences, so this is the most that the epochs can be.
        updates = epochs * examples / sequences
        if updates < _LEAST_UPDATES:
            length = {"steps": _LEAST_UPDATES}
    return {
        "model": model,
        "batch": {"context": min(config.max_position_embeddings, _LONGEST), "sequences": sequences},
        "optimizer": rates,
        "run": {"warm_start": False, **length},
    }
