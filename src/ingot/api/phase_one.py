"""Training, from Python: text or a built corpus in, a trained run out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ingot.artifact import Ingot, Provenance, Scheme, open_ingot, round_model
from ingot.artifact import freeze as seal
from ingot.corpus import (
    Corpus,
    CorpusConfig,
    ReadReport,
    find_files,
    open_corpus,
    sources_fingerprint,
)
from ingot.corpus import Progress as CorpusProgress
from ingot.corpus import build_corpus as build
from ingot.errors import RecipeError, UsageError
from ingot.planning import Machine, Plan, measure_machine, parse_seconds, plan
from ingot.training import (
    Recipe,
    Run,
    RunRecord,
    Trainer,
    TrainingResult,
    create_run,
    make_recipe,
    merge,
    open_run,
    parse_overrides,
    read_recipe,
)
from ingot.training import checkpoint as checkpoints
from ingot.training.calibration import calibrate
from ingot.training.evaluate import Evaluation
from ingot.training.events import Event
from ingot.training.scoring import score

Paths = str | Path | Sequence[str | Path]


def _ignore(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Watcher:
    """Functions to call as work goes on; each may be left out."""

    machine: Callable[[Machine], None] = _ignore
    """Given the machine once it is measured."""
    recipe: Callable[[Recipe, Plan | None], None] = _ignore
    """Given every choice before training, and the plan they come from, if one was made."""
    corpus: Callable[[CorpusProgress], None] = _ignore
    """Given the progress of building a corpus."""
    training: Callable[[Event], None] = _ignore
    """Given each event of the run."""
    interrupted: threading.Event = field(default_factory=threading.Event)
    """Set it to stop a run after its current update, with a checkpoint."""


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
    watcher: Watcher | None = None,
) -> TrainedRun:
    """Train a model on texts, or on a corpus that was built before.

    Args:
        texts: Files or folders of text, or one folder made by ``build_corpus``.
        out: Folder of the run; by default ``runs/DATE-TIME``.
        budget: Wall time such as ``"10m"``; 10 minutes unless the recipe says otherwise.
        recipe: A TOML file whose keys override what would be chosen.
        settings: ``section.key=value`` texts, which override both.
        watcher: Functions to call on the way.

    Returns:
        The finished run.

    Raises:
        CorpusError: the texts cannot be read, or hold too little.
        RecipeError: a key, value or budget that cannot be used.
        Interrupted: ``watcher.interrupted`` was set; the run can be resumed.
    """
    watcher = watcher or Watcher()
    folder = Path(out) if out else Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    given = merge(read_recipe(Path(recipe)) if recipe else {}, parse_overrides(settings))
    where = recipe or "settings"
    make_recipe(_with_length(given), where=where)  # a misspelt key must not cost a measurement
    paths = _as_paths(texts)
    built = open_corpus(paths[0]) if _is_corpus(paths) else None
    machine = measure_machine()
    watcher.machine(machine)
    tables, planned = _choose(given, budget, machine, built, paths)
    chosen = make_recipe(tables, where=where)
    watcher.recipe(chosen, planned)
    corpus = built or _corpus_in(folder / "corpus", paths, chosen.corpus, watcher)
    run = create_run(folder, chosen, corpus, _record(corpus, machine))
    return _run(run, watcher)


def resume(run: str | Path, *, watcher: Watcher | None = None) -> TrainedRun:
    """Go on with a run from its last checkpoint; a finished run is returned as it is."""
    return _run(open_run(Path(run)), watcher or Watcher())


def build_corpus(
    texts: Paths,
    out: str | Path,
    *,
    config: CorpusConfig | None = None,
    watcher: Watcher | None = None,
) -> Corpus:
    """Read texts, learn a tokenizer and write token shards to the new folder ``out``."""
    progress = (watcher or Watcher()).corpus
    return build(_as_paths(texts), Path(out), config or CorpusConfig(), progress=progress)


def evaluate(model: str | Path, texts: Paths | None = None) -> Evaluation:
    """Score a run or an ingot on texts, or a run on its own held-out text."""
    return score(Path(model), _as_paths(texts) if texts is not None else None)


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
    weights = {name: tensor.numpy() for name, tensor in checkpoints.read_weights(folder).items()}
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


def _run(run: Run, watcher: Watcher) -> TrainedRun:
    result = Trainer(run, watcher.training, watcher.interrupted).train()
    return TrainedRun(run.path, run.recipe, result)


def _choose(
    given: dict[str, Any],
    budget: str | float | None,
    machine: Machine,
    built: Corpus | None,
    paths: list[Path],
) -> tuple[dict[str, Any], Plan | None]:
    """Lay what was given over what would be chosen for the budget."""
    length = given.get("run", {})
    if budget is None and length.get("steps") is None:
        budget = length.get("budget_seconds") or "10m"
    elif budget is not None and length.get("steps") is not None:
        raise RecipeError("both a budget and run.steps are given", where="budget", fix="drop one")
    size = built.manifest.train.bytes if built else _text_bytes(paths)
    fixed = {"corpus": built.manifest.config.model_dump(mode="json")} if built else {}
    if budget is None:
        return merge(given, fixed), None
    seconds = parse_seconds(budget) if isinstance(budget, str) else budget
    planned = plan(seconds, size, machine)
    tables = merge(planned.tables, given, {"run": {"budget_seconds": seconds}}, fixed)
    return tables, planned


def _corpus_in(folder: Path, paths: list[Path], config: CorpusConfig, watcher: Watcher) -> Corpus:
    """Build the run's corpus, or take the one that an interrupted start left, if it is the same."""
    if (folder / "corpus.json").is_file():
        found = open_corpus(folder)
        if found.manifest.sources_fingerprint == sources_fingerprint(paths, config):
            return found
        raise RecipeError(
            "holds a corpus of another text or vocabulary", where=folder, fix="choose another --out"
        )
    return build(paths, folder, config, progress=watcher.corpus)


def _text_bytes(paths: list[Path]) -> int:
    """Estimate the text in files without reading them; compressed ones hold about four times."""
    files = find_files(paths, ReadReport())
    return sum(file.size * (4 if file.compressed else 1) for file in files)


def _with_length(tables: dict[str, Any]) -> dict[str, Any]:
    run = tables.get("run", {})
    if run.get("steps") is None and run.get("budget_seconds") is None:
        return merge(tables, {"run": {"steps": 1}})
    return tables


def _record(corpus: Corpus, machine: Machine) -> RunRecord:
    split = corpus.manifest.train
    return RunRecord(
        corpus=str(corpus.path.resolve()),
        corpus_digest=corpus.manifest.digest,
        bytes_per_token=split.bytes / split.tokens,
        code_version=version("ingot"),
        peak_flops=machine.matmul_flops,
    )


def _as_paths(texts: Paths) -> list[Path]:
    paths = [Path(texts)] if isinstance(texts, str | Path) else [Path(text) for text in texts]
    if not paths:
        raise UsageError("no text was named", where="texts", fix="name a file or folder")
    return paths


def _is_corpus(paths: list[Path]) -> bool:
    return len(paths) == 1 and (paths[0] / "corpus.json").is_file()


__all__ = [
    "TrainedRun",
    "Watcher",
    "build_corpus",
    "evaluate",
    "freeze",
    "resume",
    "train",
]
