"""A run's folder: the recipe, the tokenizer and where the corpus is. Written once, then read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ingot.corpus import Corpus, open_corpus
from ingot.errors import ArtifactError, TrainingError, from_validation
from ingot.files import write_atomic
from ingot.model import ModelConfig, Tokenizer
from ingot.training.config.recipe import Recipe, make_recipe, read_recipe
from ingot.training.data.records import data_digest

RECIPE, RECORD, TOKENIZER = "recipe.toml", "run.json", "tokenizer.json"
METRICS = "metrics.jsonl"


class RunRecord(BaseModel):
    """What ties a run to its corpus and its machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str = ""
    """Path of the corpus, absolute; empty where the run learns from examples."""
    data: tuple[str, ...] = ()
    """Files of conversations or pairs, absolute."""
    corpus_digest: str
    """Of the corpus, or of the files."""
    bytes_per_token: float | None = None
    """Mean UTF-8 bytes of a training token of the corpus."""
    code_version: str
    peak_flops: float | None = None
    """FLOP/s of the machine's matrix products as measured before the run."""
    parent: str | None = None
    """Digest of the ingot the run went on from."""
    recipe: dict[str, Any] | None = None
    """The recipe that the run began with, to notice a change."""


@dataclass(frozen=True)
class Run:
    """A run's folder, opened."""

    path: Path
    recipe: Recipe
    record: RunRecord
    tokenizer: Tokenizer

    @property
    def model_config(self) -> ModelConfig:
        """The model that is trained."""
        return self.recipe.model.config(self.tokenizer.vocab_size, self.recipe.batch.context)

    @property
    def corpus(self) -> Corpus:
        """The corpus, opened; it must be the one the run began with.

        A run on conversations or pairs has none.

        Raises:
            TrainingError: it has changed since, or there is none.
        """
        if not self.record.corpus:
            raise TrainingError(
                "learns from examples and has no corpus", where=self.path, fix="name texts"
            )
        corpus = open_corpus(Path(self.record.corpus))
        if corpus.manifest.digest != self.record.corpus_digest:
            raise TrainingError(
                "is not the corpus this run began with "
                f"({_digests(self.record.corpus_digest, corpus.manifest.digest)})",
                where=self.record.corpus,
                fix="build it again from the same text, or start a new run",
            )
        return corpus

    @property
    def data(self) -> list[Path]:
        """The files of conversations or pairs; they must be as the run began with them.

        Raises:
            CorpusError: one cannot be read.
            TrainingError: one has changed since.
        """
        paths = [Path(path) for path in self.record.data]
        if (digest := data_digest(paths)) != self.record.corpus_digest:
            raise TrainingError(
                f"changed since the run began ({_digests(self.record.corpus_digest, digest)})",
                where=", ".join(self.record.data),
                fix="put the files back, or start a new run",
            )
        return paths

    def changes(self) -> list[str]:
        """Return what in the recipe differs from what the run began with, one line a key."""
        began = self.record.recipe
        if began is None:
            return []
        before, now = (_flat(recipe) for recipe in (began, self.recipe.model_dump(mode="json")))
        return [
            f"{key}: {before.get(key)} is now {now.get(key)}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
        ]

    def accept_changes(self) -> Run:
        """Take the recipe as it is now for what the run began with."""
        record = self.record.model_copy(update={"recipe": self.recipe.model_dump(mode="json")})
        write_atomic(self.path / RECORD, record.model_dump_json(indent=1).encode())
        return dataclasses.replace(self, record=record)


def refuse_existing_run(path: Path) -> None:
    """Check that a new run can be made in the folder ``path``.

    Raises:
        TrainingError: it holds a run.
    """
    if (path / RECORD).exists():
        raise TrainingError(
            "holds a run already",
            where=path,
            fix=f"resume it with: ingot resume {path}, or choose another --out",
        )


def create_run(path: Path, recipe: Recipe, tokenizer: Tokenizer, record: RunRecord) -> Run:
    """Make the folder of a new run.

    Raises:
        TrainingError: there is a run already.
    """
    refuse_existing_run(path)
    path.mkdir(parents=True, exist_ok=True)
    recipe.save(path / RECIPE)
    write_atomic(path / TOKENIZER, tokenizer.to_json().encode())
    kept = record.model_copy(update={"recipe": recipe.model_dump(mode="json")})
    write_atomic(path / RECORD, kept.model_dump_json(indent=1).encode())
    return open_run(path)


def open_run(path: Path) -> Run:
    """Open the folder of a run.

    Raises:
        TrainingError: it is none, or a file in it is damaged.
    """
    if not (path / RECORD).is_file():
        raise _not_a_run(path)
    try:
        record = RunRecord.model_validate_json((path / RECORD).read_bytes())
        tokenizer = Tokenizer.from_file(path / TOKENIZER)
    except ValidationError as error:
        raise from_validation(
            TrainingError, error, where=path / RECORD, what="is damaged", fix="start a new run"
        ) from error
    except ArtifactError as error:
        raise TrainingError("is damaged", where=path, fix="start a new run") from error
    recipe = make_recipe(read_recipe(path / RECIPE), where=path / RECIPE)
    return Run(path, recipe, record, tokenizer)


def _not_a_run(path: Path) -> TrainingError:
    if (path / "ingot.json").is_file():
        fix = f"fine-tune it with: ingot train TEXTS --from {path}"
        return TrainingError("is an ingot, not a run", where=path, fix=fix)
    if (path / "corpus.json").is_file():
        fix = f"train on it first: ingot train {path}"
        return TrainingError("is a corpus, not a run", where=path, fix=fix)
    fix = "list your runs with: ingot runs, or make one with: ingot train TEXTS"
    return TrainingError("is not a run", where=path, fix=fix)


def _digests(before: str, now: str) -> str:
    return f"its digest was {before[:12]} and is {now[:12]}"


def _flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's values by ``section.key``."""
    return {
        f"{section}.{key}": value
        for section, values in recipe.items()
        for key, value in (values or {}).items()
    }
