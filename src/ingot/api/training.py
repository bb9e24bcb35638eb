"""Training, from Python: text or a built corpus in, a trained run out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ingot.api.callbacks import Callbacks
from ingot.api.new_run import new_run
from ingot.artifact import Ingot, Provenance, Scheme, open_ingot, round_model
from ingot.artifact import freeze as seal
from ingot.corpus import (
    Corpus,
    CorpusConfig,
)
from ingot.corpus import build_corpus as build
from ingot.errors import RecipeError, UsageError
from ingot.settings import merge_tables
from ingot.training import (
    Recipe,
    Run,
    Trainer,
    TrainingResult,
    make_recipe,
    open_run,
    parse_overrides,
    read_recipe,
)
from ingot.training.calibration import calibrate
from ingot.training.config.task import TaskKind
from ingot.training.distributed.data_parallel import Workers
from ingot.training.evaluation.evaluate import Evaluation
from ingot.training.evaluation.multiple_choice import MultipleChoiceResult, score_multiple_choice
from ingot.training.evaluation.scoring import score
from ingot.training.loop.memory import available_bytes, lack_of_memory_named, require_memory
from ingot.training.run_folder import checkpoint as checkpoints
from ingot.training.run_folder.trained_weights import trained_weights, write_adapter

Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class TrainedRun:
    """A run that has reached its end."""

    path: Path
    recipe: Recipe
    result: TrainingResult


def train(
    texts: Paths,
    *,
    out: str | Path | None = None,
    budget: str | float | None = None,
    recipe: str | Path | None = None,
    settings: Iterable[str] = (),
    start: str | Path | None = None,
    task: TaskKind | None = None,
    callbacks: Callbacks | None = None,
) -> TrainedRun:
    """Train a model: on texts, or on a corpus that was built before, or on examples.

    Under ``torchrun`` every process calls this alike, and they train one model together.

    Args:
        texts: Files or folders of text, or one folder made by ``build_corpus``; JSONL files of
            conversations or pairs, where the task is to learn those.
        out: Folder of the run; by default ``runs/DATE-TIME``.
        budget: Wall time such as ``"10m"``; texts get 10 minutes unless the recipe says otherwise.
        recipe: A TOML file whose keys override what would be chosen.
        settings: ``section.key=value`` texts, which override both.
        start: An ingot to go on from.
        task: ``"text"``, ``"chat"`` or ``"preference"``.
        callbacks: Functions to call during the work.

    Returns:
        The finished run.

    Raises:
        CorpusError: the texts cannot be read, or hold too little.
        RecipeError: a key, value or budget that cannot be used.
        Interrupted: ``callbacks.interrupted`` was set; the run can be resumed.
    """
    callbacks, workers = callbacks or Callbacks(), Workers.join()
    if not workers.leads:
        return _run(open_run(Path(workers.tell(None) or "")), callbacks, workers)
    folder = Path(out) if out else new_folder()
    chosen_task = {"start": str(Path(start).resolve()) if start else None, "kind": task}
    given = merge_tables(
        read_recipe(Path(recipe)) if recipe else {},
        parse_overrides(settings),
        {"task": {key: value for key, value in chosen_task.items() if value is not None}},
    )
    run = new_run(folder, given, budget, _as_paths(texts), recipe or "settings", callbacks)
    workers.tell(str(run.path))
    return _run(run, callbacks, workers)


def new_folder() -> Path:
    """Return where a run goes that is not told where."""
    return Path("runs") / time.strftime("%Y%m%d-%H%M%S")


def resume(
    run: str | Path,
    *,
    settings: Iterable[str] = (),
    accept_changes: bool = False,
    callbacks: Callbacks | None = None,
) -> TrainedRun:
    """Go on with a run from its last checkpoint; a finished run is returned as it is.

    Args:
        run: The run.
        settings: ``section.key=value`` texts that change its recipe from here on.
        accept_changes: Go on although the recipe is not that which the run began with.
        callbacks: Functions to call during the work.

    Raises:
        RecipeError: the recipe has changed, and that is not accepted; the changes are named.
    """
    workers = Workers.join()
    opened = open_run(Path(run))
    overrides = parse_overrides(settings)
    if overrides:
        tables = merge_tables(opened.recipe.model_dump(mode="json"), overrides)
        opened = replace(opened, recipe=make_recipe(tables, where="settings"))
    if changes := opened.changes():
        if not accept_changes:
            raise RecipeError(
                f"is not what the run began with: {', '.join(changes)}",
                where=opened.path / "recipe.toml",
                fix="put it back, or resume with --accept-changes",
            )
        if workers.leads:
            opened.recipe.save(opened.path / "recipe.toml")
            opened = opened.accept_changes()
    return _run(opened, callbacks or Callbacks(), workers)


def build_corpus(
    texts: Paths,
    out: str | Path,
    *,
    config: CorpusConfig | None = None,
    callbacks: Callbacks | None = None,
) -> Corpus:
    """Read texts, learn a tokenizer and write token shards to the new folder ``out``."""
    progress = (callbacks or Callbacks()).on_progress
    return build(_as_paths(texts), Path(out), config or CorpusConfig(), progress=progress)


def adapter(run: str | Path, out: str | Path, *, latest: bool = False) -> None:
    """Write the adapter of a run's best checkpoint, or of its latest, into the folder ``out``.

    Raises:
        RecipeError: the run trains a whole model.
        UsageError: ``out`` holds something else.
    """
    opened, folder = open_run(Path(run)), Path(out)
    if folder.exists() and not (folder / "adapter_config.json").is_file() and any(folder.iterdir()):
        raise UsageError("holds something else", where=folder, fix="name a new folder")
    pick = checkpoints.latest if latest else checkpoints.best
    write_adapter(opened, pick(opened.path), folder)


def evaluate(model: str | Path, texts: Paths | None = None) -> Evaluation:
    """Score a run or an ingot on texts, or a run on its own held-out text."""
    return score(Path(model), _as_paths(texts) if texts is not None else None)


def evaluate_choices(model: str | Path, questions: str | Path) -> MultipleChoiceResult:
    """Let a run or an ingot answer the multiple-choice questions of a JSONL file."""
    return score_multiple_choice(Path(model), Path(questions))


def freeze(
    run: str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    latest: bool = False,
    quantize: Scheme | None = None,
    calibrated: bool = True,
) -> Ingot:
    """Seal a run's best checkpoint, or its latest, into the ingot ``out`` and open it.

    Args:
        run: The run.
        out: The ingot to make.
        overwrite: Replace an ingot that is there.
        latest: Seal the latest checkpoint, not the best.
        quantize: What to store matrices as; None stores bfloat16, as other programs read it.
        calibrated: Quantize by what the model computes on its own training text, instead of
            plain rounding.
    """
    opened = open_run(Path(run))
    pick = checkpoints.latest if latest else checkpoints.best
    folder = pick(opened.path)
    state = checkpoints.read_state(folder)
    weights = {name: tensor.numpy() for name, tensor in trained_weights(opened, folder).items()}
    quantized = None
    if quantize is not None:
        quantized = (
            calibrate(weights, opened.model_config, opened.corpus.train, quantize)
            if calibrated
            else round_model(weights, opened.model_config, quantize)
        )
    seal(
        weights,
        opened.model_config,
        opened.tokenizer,
        Path(out),
        provenance=Provenance(
            corpus_digest=state.corpus_digest,
            recipe=opened.recipe.model_dump(mode="json"),
            code_version=opened.record.code_version,
            seed=opened.recipe.run.seed,
            steps=state.step,
            tokens=state.tokens,
            flops=state.flops,
            wall_seconds=state.elapsed,
            training_loss=state.training_loss,
            validation_loss=state.validation_loss,
            bits_per_byte=state.bits_per_byte,
            parent=opened.record.parent,
        ),
        quantized=quantized,
        overwrite=overwrite,
    )
    return open_ingot(Path(out))


def _run(run: Run, callbacks: Callbacks, workers: Workers) -> TrainedRun:
    if not torch.cuda.is_available():
        require_memory(run, available_bytes(), workers.count)
    with lack_of_memory_named(run):
        trainer = Trainer(
            run, callbacks.on_event, callbacks.interrupted, workers, callbacks.controls
        )
    return TrainedRun(run.path, run.recipe, trainer.train())


def _as_paths(texts: Paths) -> list[Path]:
    paths = [Path(texts)] if isinstance(texts, str | Path) else [Path(text) for text in texts]
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
    "train",
]
