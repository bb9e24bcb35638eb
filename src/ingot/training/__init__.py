"""Phase 1: read text, predict the next token, compare, update, repeat."""

from ingot.training.monitoring.teller import TrainingResult
from ingot.training.recipe import Recipe, make_recipe, merge, parse_overrides, read_recipe
from ingot.training.run import Run, RunRecord, create_run, open_run
from ingot.training.trainer import Trainer

__all__ = [
    "Recipe",
    "Run",
    "RunRecord",
    "Trainer",
    "TrainingResult",
    "create_run",
    "make_recipe",
    "merge",
    "open_run",
    "parse_overrides",
    "read_recipe",
]
