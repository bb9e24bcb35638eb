"""Training from Python: text, a corpus or examples in, a trained run or an ingot out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ingot.api.callbacks import Callbacks
from ingot.api.new_run import new_run
from ingot.api.sources import as_ingot
from ingot.artifact import (
    Ingot,
    Provenance,
    Scheme,
    WeightFormat,
    check_target,
    parse_scheme,
    round_model,
)
from ingot.artifact import freeze as seal
from ingot.artifact.format.manifest import MAX_CURVE
from ingot.corpus import (
    Corpus,
    CorpusConfig,
)
from ingot.corpus import build_corpus as build
from ingot.errors import RecipeError, TrainingError, UsageError
from ingot.folder_lock import folder_locked
from ingot.model.generation_config import GenerationDefaults
from ingot.process import available_bytes
from ingot.settings import Settings, merge_tables
from ingot.training.calibration import calibrate
from ingot.training.config.recipe import Recipe, make_recipe, parse_overrides, read_recipe
from ingot.training.config.task import TaskKind
from ingot.training.distributed.data_parallel import Workers
from ingot.training.evaluation.evaluate import Evaluation
from ingot.training.evaluation.multiple_choice import MultipleChoiceResult, score_multiple_choice
from ingot.training.evaluation.scoring import score
from ingot.training.loop.memory import lack_of_memory_named, require_memory
from ingot.training.loop.trainer import Trainer
from ingot.training.monitoring.run_reporter import TrainingResult
from ingot.training.monitoring.runs import read_curves, thinned
from ingot.training.run_folder import checkpoint as checkpoints
from ingot.training.run_folder.run import (
    Run,
    changes,
    edited_recipe,
    open_run,
    require_corpus,
    require_run,
)
from ingot.training.run_folder.stopped import stopped_run
from ingot.training.run_folder.trained_weights import trained_arrays, write_adapter

PathLike = str | os.PathLike[str]
Paths = PathLike | Sequence[PathLike]


@dataclass(frozen=True)
class TrainedRun(os.PathLike[str]):
    """A finished run. It can be passed wherever the path of a run is expected."""

    path: Path
    recipe: Recipe
    result: TrainingResult

    def __fspath__(self) -> str:
        """Return the path of the run's folder."""
        return str(self.path)


def train(
    texts: Paths,
    *,
    out: PathLike | None = None,
    budget: str | float | None = None,
    recipe: PathLike | None = None,
    settings: Settings = (),
    start: PathLike | None = None,
    task: TaskKind | None = None,
    callbacks: Callbacks | None = None,
) -> TrainedRun:
    """Train a model on texts, on a corpus, on conversations or on preference pairs.

    Everything that is not given is chosen by measuring the machine. Under ``torchrun`` every
    process makes the same call, and together they train one model.

    Args:
        texts: Files or folders of text, or one folder made by ``build_corpus``; JSONL files for
            the tasks ``"chat"`` and ``"preference"``.
        out: Folder of the run; ``runs/DATE-TIME`` by default.
        budget: Wall time of this call, set-up included, such as ``"10m"``, or seconds;
            10 minutes by default for text.
        recipe: A TOML file whose keys override the choices.
        settings: ``{"run.steps": 100}`` or ``["run.steps=100"]``; they override both. The keys
            are those of ``ingot settings``.
        start: An ingot to fine-tune, or a model of another program, which is imported first.
        task: ``"text"``, ``"chat"`` or ``"preference"``.
        callbacks: Functions to call during the work.

    Returns:
        The finished run.

    Raises:
        CorpusError: the texts cannot be read, or there is too little of them.
        RecipeError: a key, value or budget that cannot be used.
        TrainingError: there is a run in ``out``, or another process makes one there.
        Interrupted: ``callbacks.interrupted`` was set; the run can be resumed.
    """
    begun = time.perf_counter()
    callbacks, workers = callbacks or Callbacks(), Workers.join()
    if not workers.is_main:
        run = open_run(Path(workers.broadcast_object(None) or ""))
        return _run(run, callbacks, workers, begun)
    folder = Path(out) if out else new_folder()
    chosen_task = {"start": str(as_ingot(start).resolve()) if start else None, "kind": task}
    given = merge_tables(
        read_recipe(Path(recipe)) if recipe else {},
        parse_overrides(settings),
        {"task": {key: value for key, value in chosen_task.items() if value is not None}},
    )
    where = recipe or "settings"
    with _alone_in(folder, workers):
        run = new_run(folder, given, budget, _as_paths(texts), where, callbacks, begun)
        workers.broadcast_object(str(run.path))
        return _run(run, callbacks, workers, begun)


def new_folder() -> Path:
    """Return the default folder of a new run."""
    return Path("runs") / time.strftime("%Y%m%d-%H%M%S")


def resume(
    run: PathLike,
    *,
    settings: Settings = (),
    accept_changes: bool = False,
    callbacks: Callbacks | None = None,
) -> TrainedRun:
    """Resume a run from its last checkpoint; a finished run is returned unchanged.

    A finished run is trained on if its recipe is made longer. ``recipe.toml`` is rewritten once
    a checkpoint was trained with the changes, so a resume that is refused changes nothing.

    Args:
        run: The run.
        settings: Settings that change its recipe from now on.
        accept_changes: Resume although the recipe differs from the one followed so far.
        callbacks: Functions to call during the work.

    Raises:
        CorpusError: the changed recipe is for other data than the run has seen.
        RecipeError: the recipe has changed, and ``accept_changes`` is false; the changes are
            named. Or it has, and gives a run that was trained for so long nothing to do.
        TrainingError: it is not a run, is damaged, or another process trains it.
        Interrupted: ``callbacks.interrupted`` was set; the run can be resumed.
    """
    begun = time.perf_counter()
    workers, path = Workers.join(), Path(run)
    require_run(path)
    with _alone_in(path, workers):
        opened = open_run(path)
        recipe = edited_recipe(opened)
        if overrides := parse_overrides(settings):
            tables = merge_tables(recipe.model_dump(mode="json"), overrides)
            recipe = make_recipe(tables, where="settings")
        if not accept_changes and (changed := changes(opened.recipe, recipe)):
            raise RecipeError(
                f"is not what the run has followed: {', '.join(changed)}",
                where=path / "recipe.toml",
                fix="put it back, or resume with --accept-changes",
            )
        return _run(replace(opened, recipe=recipe), callbacks or Callbacks(), workers, begun)


def build_corpus(
    texts: Paths,
    out: PathLike,
    *,
    config: CorpusConfig | None = None,
    callbacks: Callbacks | None = None,
) -> Corpus:
    """Read texts, train a tokenizer and write token shards to the new folder ``out``.

    Raises:
        CorpusError: the texts cannot be read, or ``out`` is not empty.
    """
    progress = (callbacks or Callbacks()).on_progress
    return build(_as_paths(texts), Path(out), config or CorpusConfig(), progress=progress)


def adapter(run: PathLike, out: PathLike, *, latest: bool = False) -> None:
    """Write the LoRA adapter of a run's best checkpoint to the folder ``out``, in PEFT's layout.

    Args:
        run: The run.
        out: The folder; an adapter in it is replaced.
        latest: Take the latest checkpoint instead of the best.

    Raises:
        RecipeError: the run trains a whole model.
        UsageError: ``out`` holds something other than an adapter.
    """
    opened, folder = open_run(Path(run)), Path(out)
    if folder.exists() and not (folder / "adapter_config.json").is_file() and any(folder.iterdir()):
        raise UsageError("holds something else", where=folder, fix="name a new folder")
    pick = checkpoints.latest if latest else checkpoints.best
    write_adapter(opened, pick(opened.path), folder)


def evaluate(model: PathLike, texts: Paths | None = None) -> Evaluation:
    """Score a run or an ingot on texts; a run alone is scored on its held-out text.

    Returns:
        Loss in nats per token, perplexity and bits per byte.
    """
    return score(Path(model), _as_paths(texts) if texts is not None else None)


def evaluate_choices(model: PathLike, questions: PathLike) -> MultipleChoiceResult:
    """Score a run or an ingot on the multiple-choice questions of a JSONL file."""
    return score_multiple_choice(Path(model), Path(questions))


def freeze(
    run: PathLike,
    out: PathLike,
    *,
    overwrite: bool = False,
    latest: bool = False,
    quantize: Scheme | WeightFormat | None = None,
    calibrated: bool = True,
    generation: GenerationDefaults | None = None,
) -> Ingot:
    """Seal a run's best checkpoint into the ingot ``out``; return it, open, for use in a ``with``.

    Args:
        run: The run.
        out: The ingot to make.
        overwrite: Replace an ingot that is there.
        latest: Seal the latest checkpoint instead of the best.
        quantize: What to store matrices as, such as ``"int8"``; None stores bfloat16, which
            other programs read too.
        calibrated: Quantize with GPTQ on the training text; otherwise round to nearest.
        generation: How to sample where a request does not say; None: as the model that the run
            started from.

    Raises:
        TrainingError: ``run`` is not a run, or its checkpoint is damaged.
        UsageError: ``out`` exists already, or its parent does not.
        ResourceError: the disk is full.
    """
    scheme = parse_scheme(quantize, None, ()) if isinstance(quantize, str) else quantize
    opened = open_run(Path(run))
    check_target(Path(out), overwrite=overwrite)  # before minutes of calibration
    pick = checkpoints.latest if latest else checkpoints.best
    folder = pick(opened.path)
    state = checkpoints.read_state(folder)
    # The best checkpoint may be older than the recipe that the run follows now.
    followed = make_recipe(state.recipe) if state.recipe is not None else opened.recipe
    weights = trained_arrays(opened, folder)
    curves = read_curves(opened.path)
    quantized = None
    if scheme is not None:
        quantized = (
            calibrate(
                weights, opened.model_config, require_corpus(opened).open_corpus().train, scheme
            )
            if calibrated
            else round_model(weights, opened.model_config, scheme)
        )
    return seal(
        weights,
        opened.model_config,
        opened.tokenizer,
        Path(out),
        provenance=Provenance(
            corpus_digest=state.corpus_digest,
            recipe=followed.model_dump(mode="json"),
            code_version=opened.record.code_version,
            seed=followed.run.seed,
            steps=state.step,
            tokens=state.tokens,
            flops=state.flops,
            wall_seconds=state.elapsed,
            training_loss=state.training_loss,
            validation_loss=state.validation_loss,
            bits_per_byte=state.bits_per_byte,
            parent=opened.record.parent,
            origin=opened.record.origin,
            training_curve=thinned(curves.steps, curves.losses, state.step, MAX_CURVE),
            validation_curve=thinned(
                curves.scored_steps, curves.scored_losses, state.step, MAX_CURVE
            ),
        ),
        quantized=quantized,
        generation=generation or opened.generation,
        overwrite=overwrite,
    )


def _alone_in(folder: Path, workers: Workers) -> AbstractContextManager[None]:
    """Return the block in which no other process may train the run in ``folder``."""
    if not workers.is_main:  # the main process holds the lock for all
        return contextlib.nullcontext()
    return folder_locked(folder, TrainingError, "is being trained")


def _run(run: Run, callbacks: Callbacks, workers: Workers, begun: float) -> TrainedRun:
    if not torch.cuda.is_available():
        require_memory(run, available_bytes(), workers.count)
    with lack_of_memory_named(run):
        trainer = Trainer(
            run, callbacks.on_event, callbacks.interrupted, workers, callbacks.controls, begun
        )
    return TrainedRun(run.path, run.recipe, trainer.train())


def _as_paths(texts: Paths) -> list[Path]:
    paths = (
        [Path(texts)] if isinstance(texts, str | os.PathLike) else [Path(text) for text in texts]
    )
    if not paths:
        raise UsageError("no text was named", where="texts", fix="name a file or folder")
    return paths


__all__ = [
    "Callbacks",
    "TrainedRun",
    "adapter",
    "build_corpus",
    "evaluate",
    "evaluate_choices",
    "freeze",
    "new_folder",
    "resume",
    "stopped_run",
    "train",
]
