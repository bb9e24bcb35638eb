"""A run's folder: the recipe, the tokenizer and where the corpus is. Written once, then read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ingot.corpus import Corpus, open_corpus
from ingot.errors import ArtifactError, TrainingError
from ingot.files import write_atomic
from ingot.model import ModelConfig, Tokenizer
from ingot.training.recipe import Recipe, make_recipe, read_recipe

RECIPE, RECORD, TOKENIZER = "recipe.toml", "run.json", "tokenizer.json"


class RunRecord(BaseModel):
    """What ties a run to its corpus and its machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str
    """Path of the corpus, absolute."""
    corpus_digest: str
    bytes_per_token: float
    """Mean UTF-8 bytes of a training token."""
    code_version: str
    peak_flops: float | None = None
    """FLOP/s of the machine's matrix products as measured before the run."""
    parent: str | None = None
    """Digest of the ingot the run went on from."""


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

        Raises:
            TrainingError: it has changed since.
        """
        corpus = open_corpus(Path(self.record.corpus))
        if corpus.manifest.digest != self.record.corpus_digest:
            raise TrainingError(
                "is not the corpus this run began with",
                where=self.record.corpus,
                fix="build it again from the same text, or start a new run",
            )
        return corpus


def create_run(path: Path, recipe: Recipe, corpus: Corpus, record: RunRecord) -> Run:
    """Make the folder of a new run.

    Raises:
        TrainingError: there is a run already.
    """
    if (path / RECORD).exists():
        raise TrainingError(
            "holds a run already", where=path, fix=f"continue it with: ingot resume {path}"
        )
    path.mkdir(parents=True, exist_ok=True)
    recipe.save(path / RECIPE)
    write_atomic(path / TOKENIZER, corpus.tokenizer.to_json().encode())
    write_atomic(path / RECORD, record.model_dump_json(indent=1).encode())
    return open_run(path)


def open_run(path: Path) -> Run:
    """Open the folder of a run.

    Raises:
        TrainingError: it is none, or a file in it is damaged.
    """
    if not (path / RECORD).is_file():
        raise TrainingError("is not a run", where=path, fix="name a folder made by ingot train")
    try:
        record = RunRecord.model_validate_json((path / RECORD).read_bytes())
        tokenizer = Tokenizer.from_file(path / TOKENIZER)
    except (ValidationError, ArtifactError) as error:
        raise TrainingError("is damaged", where=path, fix="start a new run") from error
    recipe = make_recipe(read_recipe(path / RECIPE), where=path / RECIPE)
    return Run(path, recipe, record, tokenizer)
