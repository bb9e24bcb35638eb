"""The recipe: everything that decides how a run goes, typed, checked and written down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from ingot.corpus import CorpusConfig
from ingot.corpus.config import LEAST_CONTEXT
from ingot.costs import CostConfig
from ingot.errors import RecipeError
from ingot.files import write_atomic
from ingot.settings import Settings, check_tables, merge_tables, parse_settings, read_toml
from ingot.training.config.guard import GuardConfig
from ingot.training.config.lora import LoraConfig
from ingot.training.config.model import ModelRecipe
from ingot.training.config.optimizer import OptimizerConfig
from ingot.training.config.schedule import ScheduleConfig
from ingot.training.config.task import TaskConfig
from ingot.training.config.wandb import WandbConfig


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BatchRecipe(_Section):
    """Tokens in each update."""

    context: int = Field(256, ge=LEAST_CONTEXT, le=1 << 20)
    """Tokens in one sequence."""
    sequences: int = Field(8, ge=1, le=65_536)
    """Sequences in one forward and backward pass; pairs for the task ``preference``."""
    accumulation: int = Field(1, ge=1, le=65_536)
    """Passes whose gradients are added up for one update, over all processes together."""
    recompute: bool = False
    """Recompute each block in the backward pass instead of keeping its activations."""

    @property
    def sequences_per_update(self) -> int:
        """Sequences in one update."""
        return self.sequences * self.accumulation

    @property
    def tokens(self) -> int:
        """Tokens in one update of plain text."""
        return self.context * self.sequences_per_update


class RunRecipe(_Section):
    """Length of the run, and what it computes besides updates."""

    budget_seconds: float | None = Field(None, gt=0, le=1e9)
    """Seconds of wall time to train for; the schedule follows the clock."""
    steps: int | None = Field(None, ge=1, le=10**12)
    """Updates to train for; the schedule follows the step, so runs repeat bit for bit."""
    epochs: float | None = Field(None, gt=0, le=1e6)
    """Passes over the data to train for; such runs repeat bit for bit too."""
    seed: int = Field(0, ge=0, lt=1 << 63)
    """Seed of the initial weights and of the order of the data."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Format of matrix products; auto takes bfloat16 where it is faster."""
    warm_start: bool = True
    """Initialize from the corpus's bigram counts (vocabularies up to 8,192)."""
    evaluations: int = Field(4, ge=1)
    """Evaluations on the held-out text, evenly spaced, the last one at the end."""
    evaluation_overlap: float = Field(0.5, ge=0, lt=1)
    """Fraction of each held-out sequence that serves as context only: higher costs more."""
    measure_peak: bool = True
    """Measure the peak of matrix products before a run of fixed length, to report MFU."""
    samples: int = Field(10, ge=0)
    """Samples of generated text during the run."""
    checkpoint_seconds: float = Field(60.0, gt=0)
    """Longest time between two checkpoints, in seconds."""
    keep_checkpoints: int = Field(2, ge=1)
    """Latest checkpoints to keep in addition to the best one."""
    compile: bool = False
    """Compile the model with torch.compile: a minute at the start, then faster updates where
    Ingot has no kernels of its own; on CPUs it needs a C++ compiler."""
    shard: bool = False
    """Shard weights, gradients and optimizer state over the processes of ``torchrun`` (FSDP2)
    instead of keeping a copy in each."""


class Recipe(_Section):
    """All settings of a run; exactly one of ``steps``, ``epochs``, ``budget_seconds`` is set."""

    task: TaskConfig = TaskConfig()
    corpus: CorpusConfig = CorpusConfig()
    model: ModelRecipe = ModelRecipe()
    batch: BatchRecipe = BatchRecipe()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    lora: LoraConfig | None = None
    """Train a low-rank adapter instead of the whole model."""
    guard: GuardConfig = GuardConfig()
    cost: CostConfig = CostConfig()
    wandb: WandbConfig = WandbConfig()
    run: RunRecipe = RunRecipe()

    def checked(self) -> Recipe:
        """Return the recipe if its parts fit together.

        Raises:
            RecipeError: the run has no length or several, the model's parts clash, or a task
                lacks what it begins from.
        """
        lengths = (self.run.steps, self.run.epochs, self.run.budget_seconds)
        if sum(length is not None for length in lengths) != 1:
            raise RecipeError(
                "exactly one of run.steps, run.epochs and run.budget_seconds must be set",
                where="recipe",
                fix="give one of them",
            )
        if self.task.start is None and (self.lora or self.task.kind != "text"):
            raise RecipeError(
                "chat, preferences and adapters need a trained model to begin from",
                where="task.start",
                fix="name an ingot: --from my.ingot",
            )
        if self.run.compile and self.run.shard:
            raise RecipeError(
                "cut weights are not compiled", where="run.compile", fix="set it or run.shard"
            )
        self.model.config(257, self.batch.context)
        return self if self.lora is None else self._with_targets(self.lora)

    def _with_targets(self, lora: LoraConfig) -> Recipe:
        """Return the recipe with those targets of its adapter that the model has.

        Raises:
            RecipeError: a gate is named, and the model has none.
        """
        if self.model.gated_mlp or "gate_proj" not in lora.targets:
            return self
        if "targets" in lora.model_fields_set:
            raise RecipeError(
                "names gate_proj, which this model has not", where="lora.targets", fix="drop it"
            )
        targets = tuple(target for target in lora.targets if target != "gate_proj")
        return self.model_copy(update={"lora": lora.model_copy(update={"targets": targets})})

    def to_toml(self) -> str:
        """Return the recipe as TOML; unset values are left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def save(self, path: Path) -> None:
        """Write the recipe to a file."""
        write_atomic(path, self.to_toml().encode())


def read_recipe(path: Path) -> dict[str, Any]:
    """Return the tables of a recipe file, unchecked.

    Raises:
        RecipeError: the file is missing or is not TOML.
    """
    return read_toml(path, RecipeError)


def parse_overrides(settings: Settings) -> dict[str, Any]:
    """Turn settings into recipe tables.

    Raises:
        RecipeError: a setting has no ``=`` or no section.
    """
    return parse_settings(settings, Recipe, RecipeError)


def make_recipe(tables: Mapping[str, Any], *, where: object = "recipe") -> Recipe:
    """Check recipe tables and return the recipe.

    Raises:
        RecipeError: an unknown key (the nearest known one is named), or a wrong type or range.
    """
    return check_tables(tables, Recipe, RecipeError, where=where).checked()


def make_draft(tables: Mapping[str, Any], *, where: object = "recipe") -> Recipe:
    """Check recipe tables that need not say how long to train; without a length it is one update.

    Raises:
        RecipeError: as ``make_recipe``.
    """
    run = tables.get("run", {})
    if all(run.get(key) is None for key in ("steps", "epochs", "budget_seconds")):
        tables = merge_tables(tables, {"run": {"steps": 1}})
    return make_recipe(tables, where=where)
