"""Default settings of a run that starts from a trained model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ingot.model import ModelConfig
from ingot.training.config.optimizer import OptimizerConfig
from ingot.training.config.task import TaskKind

_RATES = {"text": 0.25, "chat": 0.25, "preference": 0.05}  # of the rates of a new model
_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "rope_theta",
    "tie_word_embeddings",
    "sliding_window",
)


def tuning_tables(config: ModelConfig, kind: TaskKind) -> dict[str, dict[str, Any]]:
    """Return recipe tables: the model's own sizes, gentler rates, and how long to train.

    Args:
        config: The model to go on from.
        kind: What it is to learn.
    """
    sizes = asdict(config)
    rates = {
        name: field.default * _RATES[kind]
        for name, field in OptimizerConfig.model_fields.items()
        if name.endswith("_lr") and name != "adapter_lr"
    }
    length = {"text": {}, "chat": {"epochs": 3.0}, "preference": {"epochs": 1.0}}[kind]
    return {
        "model": {name: sizes[name] for name in _SIZES},
        "batch": {"context": config.max_position_embeddings, "sequences": 8},
        "optimizer": rates,
        "run": {"warm_start": False, **length},
    }
