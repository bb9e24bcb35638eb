"""Phase 1, training: recipe, data, objectives, the training loop and its run folder."""

from ingot.training.config.recipe import Recipe, make_recipe, parse_overrides, read_recipe
from ingot.training.loop.trainer import Trainer
from ingot.training.monitoring.run_reporter import TrainingResult
from ingot.training.run_folder.run import Run, RunRecord, create_run, open_run

__all__ = [
    "Recipe",
    "Run",
    "RunRecord",
    "Trainer",
    "TrainingResult",
    "create_run",
    "make_recipe",
    "open_run",
    "parse_overrides",
    "read_recipe",
]
