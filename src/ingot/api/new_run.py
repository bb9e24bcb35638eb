"""Preparation of a new run: plan, recipe, data and the run's folder."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ingot.api.callbacks import Callbacks
from ingot.artifact import Ingot, open_ingot
from ingot.corpus import (
    Corpus,
    CorpusConfig,
    FileList,
    list_sources,
    open_corpus,
    sources_fingerprint,
)
from ingot.corpus import build_corpus as build
from ingot.corpus.reading.hub import PREFIX
from ingot.corpus.reading.inputs import STDIN
from ingot.durations import parse_seconds
from ingot.errors import CorpusError, Interrupted, RecipeError
from ingot.model import Tokenizer
from ingot.planning import Machine, Plan, build_seconds, measure_machine, plan
from ingot.settings import merge_tables
from ingot.training.config.fine_tuning_defaults import FEW_EXAMPLES, tuning_tables
from ingot.training.config.recipe import make_draft, make_recipe
from ingot.training.config.task import TaskConfig
from ingot.training.data.records import count_few, data_digest
from ingot.training.run_folder.run import (
    RECORD,
    AnyRun,
    FineTuningRecord,
    PretrainingRecord,
    create_run,
    refuse_existing_run,
)
from ingot.training.run_folder.stopped import stopped_run


def new_run(
    folder: Path,
    given: dict[str, Any],
    budget: str | float | None,
    paths: list[Path],
    where: object,
    callbacks: Callbacks,
    begun: float,
) -> AnyRun:
    """Choose what was not given, prepare the data and make the run's folder.

    Args:
        folder: The folder to make.
        given: Recipe tables that are given.
        budget: Wall time, if one is given.
        paths: Texts, a built corpus, or files of examples.
        where: What to call the tables in an error.
        callbacks: Functions to call with each choice.
        begun: When the work began, by ``time.perf_counter``; a budget counts from there.

    Raises:
        CorpusError: the texts cannot be read, or hold too little.
        RecipeError: a key, value or budget that cannot be used.
    """
    # What can be refused is refused before the machine is measured and text is read.
    early = make_draft(given, where=where)
    if isinstance(budget, str):
        parse_seconds(budget)
    task = early.task
    refuse_existing_run(folder)
    _require_readable(paths)
    base = open_ingot(Path(task.start)) if task.start else None
    with base or contextlib.nullcontext():
        built = open_corpus(paths[0]) if task.kind == "text" and _is_corpus(paths) else None
        files = None if built or task.kind != "text" else _listed(paths, early.corpus)
        machine = None
        if early.run.measure_peak or early.run.steps is None:
            machine = measure_machine()
            callbacks.on_machine(machine)
        texts = _Texts(paths, files, built)
        tables, planned = _choose(given, task, budget, begun, machine, texts, base)
        chosen = make_recipe(tables, where=where)
        callbacks.on_recipe(chosen, planned)
        parent = base.digest if base else None
        origin = base.manifest.provenance.origin if base else None
        if task.kind == "text":
            tokenizer = base.tokenizer if base else None
            corpus = built or _corpus_in(
                folder / "corpus", paths, files, chosen.corpus, tokenizer, callbacks
            )
            split = corpus.manifest.train
            record = PretrainingRecord(
                corpus=str(corpus.path.resolve()),
                corpus_digest=corpus.manifest.digest,
                bytes_per_token=split.bytes / split.tokens,
                code_version=version("ingot"),
                peak_flops=machine.matmul_flops if machine else None,
                parent=parent,
                origin=origin,
            )
            tokenizer = base.tokenizer if base else corpus.tokenizer
            return create_run(folder, chosen, tokenizer, record, base.generation if base else None)
        assert base is not None  # noqa: S101 (a checked recipe names one)
        examples = FineTuningRecord(
            data=tuple(str(path.resolve()) for path in paths),
            corpus_digest=data_digest(paths),
            code_version=version("ingot"),
            peak_flops=machine.matmul_flops if machine else None,
            parent=parent,
            origin=origin,
        )
        return create_run(folder, chosen, base.tokenizer, examples, base.generation)


@dataclass(frozen=True)
class _Texts:
    """The texts of a run: files, a stream without a size, or a built corpus."""

    paths: list[Path]
    files: FileList | None
    built: Corpus | None

    def size(self) -> int:
        """Return the size of the training text, in bytes; of files, an estimate.

        Raises:
            CorpusError: some of it is not in files.
        """
        if self.built:
            return self.built.manifest.train.bytes
        return _text_bytes(self.paths, self.files)


def _choose(
    given: dict[str, Any],
    task: TaskConfig,
    budget: str | float | None,
    begun: float,
    machine: Machine | None,
    texts: _Texts,
    base: Ingot | None,
) -> tuple[dict[str, Any], Plan | None]:
    """Merge the given tables over those chosen for the budget or for fine-tuning ``base``."""
    few = None if task.kind == "text" else count_few(texts.paths, FEW_EXAMPLES)
    usual = tuning_tables(base.config, task.kind, few) if base else {}
    length = given.get("run", {})
    counted = [key for key in ("steps", "epochs") if length.get(key) is not None]
    if budget is not None and counted:
        raise RecipeError(
            f"both a budget and run.{counted[0]} are given", where="budget", fix="drop one"
        )
    budget = budget if budget is not None else length.get("budget_seconds")
    if counted or budget is not None:
        for key in ("epochs", "steps"):
            usual.get("run", {}).pop(key, None)
    elif task.kind == "text":
        budget = "10m"
    fixed = {}
    if texts.built:
        fixed = {"corpus": texts.built.manifest.config.model_dump(mode="json")}
    elif base:
        fixed = {"corpus": {"vocab_size": base.tokenizer.vocab_size}}
    if budget is None:
        return merge_tables(usual, given, fixed), None
    seconds = parse_seconds(budget) if isinstance(budget, str) else budget
    if base:
        return merge_tables(usual, given, {"run": {"budget_seconds": seconds}}, fixed), None
    machine = machine or measure_machine()
    setup = time.perf_counter() - begun + build_seconds(0 if texts.built else texts.size())
    planned = plan(seconds, texts.size(), machine, setup)
    tables = merge_tables(planned.tables, given, {"run": {"budget_seconds": seconds}}, fixed)
    return tables, planned


def _corpus_in(
    folder: Path,
    paths: list[Path],
    files: FileList | None,
    config: CorpusConfig,
    tokenizer: Tokenizer | None,
    callbacks: Callbacks,
) -> Corpus:
    """Build the run's corpus, or take the one that an interrupted start left, if it is the same."""
    if (folder / "corpus.json").is_file():
        found = open_corpus(folder)
        fingerprint = sources_fingerprint(paths, config, tokenizer=tokenizer, files=files)
        if found.manifest.sources_fingerprint == fingerprint:
            return found
        raise RecipeError(
            "holds a corpus of another text or vocabulary", where=folder, fix="choose another --out"
        )
    try:
        corpus = build(
            paths, folder, config, tokenizer=tokenizer, progress=callbacks.on_progress, files=files
        )
    except Interrupted as stopped:
        raise stopped_run(folder.parent) from stopped
    callbacks.on_corpus(corpus)
    return corpus


def _require_readable(paths: list[Path]) -> None:
    """Refuse a path that does not exist, and a run or an ingot in place of text.

    Raises:
        CorpusError: one is.
    """
    for path in paths:
        if str(path) == STDIN or str(path).startswith(PREFIX):
            continue
        if not path.exists():
            raise CorpusError("does not exist", where=path, fix="check the path")
        if (path / "ingot.json").is_file():
            fix = f"fine-tune it with: ingot train TEXTS --from {path}"
            raise CorpusError("is an ingot, not text", where=path, fix=fix)
        if (path / RECORD).is_file():
            fix = f"resume it with: ingot resume {path}, or name its text"
            raise CorpusError("is a run, not text", where=path, fix=fix)


def _listed(paths: list[Path], config: CorpusConfig) -> FileList | None:
    """List the files of the texts; None if some of the texts are not in files.

    Raises:
        CorpusError: there is none.
    """
    if any(str(path) == STDIN or str(path).startswith(PREFIX) for path in paths):
        return None
    files = list_sources(paths, config)
    if not files.files:
        left_out = files.report.summary()
        raise CorpusError(
            f"no text found{f': {left_out}' if left_out else ''}",
            where=", ".join(map(str, paths)),
            fix="give files or folders that hold UTF-8 text",
        )
    return files


def _text_bytes(paths: list[Path], files: FileList | None) -> int:
    """Estimate the text in files by their sizes; compressed ones hold about four times.

    Raises:
        CorpusError: some of it is not in files.
    """
    for path in map(str, paths):
        if path == STDIN or path.startswith(PREFIX):
            raise CorpusError(
                "has no size to plan a budget for",
                where=path,
                fix=f"ingot data build {path} --out my_corpus, then ingot train my_corpus",
            )
    assert files is not None  # noqa: S101 (all paths are files or folders)
    return sum(file.size * (4 if file.compressed else 1) for file in files.files)


def _is_corpus(paths: list[Path]) -> bool:
    return len(paths) == 1 and (paths[0] / "corpus.json").is_file()
