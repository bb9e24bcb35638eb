"""A run's folder: its record, its tokenizer and the recipe that it follows.

``run.json`` is written when the run is made and never changed. ``recipe.toml`` is for people:
they may edit it and resume. The recipe that a run has followed lies in each checkpoint, because
only a checkpoint shows what was trained with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, ValidationError

from ingot.artifact import Origin
from ingot.corpus import Corpus, open_corpus
from ingot.errors import ArtifactError, TrainingError, from_validation
from ingot.files import read_regular, write_atomic
from ingot.model import ModelConfig, Tokenizer
from ingot.model.generation_config import (
    GENERATION_CONFIG,
    GenerationDefaults,
    generation_config,
)
from ingot.model.tokenizer_files import TOKENIZER, TOKENIZER_CONFIG, read_tokenizer
from ingot.training.config.recipe import Recipe, make_recipe, read_recipe
from ingot.training.data.records import data_digest
from ingot.training.run_folder import checkpoint

RECIPE, RECORD = "recipe.toml", "run.json"
METRICS = "metrics.jsonl"
_LARGEST_RECORD, _LARGEST_TOKENIZER, _LARGEST_CONFIG = 4 << 20, 256 << 20, 4 << 20  # bytes

PathText: TypeAlias = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]


class RunRecord(BaseModel):
    """What ties a run to its data and its machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    corpus_digest: str
    """Of the corpus, or of the files."""
    code_version: str
    peak_flops: float | None = None
    """FLOP/s of the machine's matrix products as measured before the run."""
    parent: str | None = None
    """Digest of the ingot that the run started from."""
    origin: Origin | None = None
    """The foreign model that this ingot comes from, whose licence goes with it."""
    recipe: dict[str, Any] = {}
    """The recipe that the run began with."""


class PretrainingRecord(RunRecord):
    """The record of a run on a corpus."""

    kind: Literal["pretraining"] = "pretraining"
    corpus: PathText
    """Path of the corpus, absolute."""
    bytes_per_token: float = Field(gt=0)
    """Mean UTF-8 bytes of a training token of the corpus."""


class FineTuningRecord(RunRecord):
    """The record of a run on conversations or preference pairs."""

    kind: Literal["fine_tuning"] = "fine_tuning"
    data: Annotated[tuple[PathText, ...], FailFast()] = Field(min_length=1)
    """The files, absolute."""


@dataclass(frozen=True)
class Run:
    """A run's folder, opened."""

    path: Path
    recipe: Recipe
    """The recipe that it follows."""
    tokenizer: Tokenizer
    record: RunRecord
    generation: GenerationDefaults = field(default_factory=GenerationDefaults)
    """How the model that the run started from is sampled where a request does not say."""

    @property
    def model_config(self) -> ModelConfig:
        """The model that is trained."""
        return self.recipe.model.config(self.tokenizer.vocab_size, self.recipe.batch.context)


@dataclass(frozen=True)
class PretrainingRun(Run):
    """A run that predicts the text of a corpus."""

    record: PretrainingRecord

    def open_corpus(self) -> Corpus:
        """Open the corpus; it must be the one that the run began with.

        Raises:
            CorpusError: it is missing or damaged.
            TrainingError: it has changed since.
        """
        corpus = open_corpus(Path(self.record.corpus))
        if corpus.manifest.digest != self.record.corpus_digest:
            raise TrainingError(
                "is not the corpus this run began with "
                f"({_digests(self.record.corpus_digest, corpus.manifest.digest)})",
                where=self.record.corpus,
                fix="build it again from the same text, or start a new run",
            )
        return corpus


@dataclass(frozen=True)
class FineTuningRun(Run):
    """A run that learns from conversations or preference pairs."""

    record: FineTuningRecord

    def open_data(self) -> list[Path]:
        """Return the files, checked to be as the run began with them.

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


AnyRun: TypeAlias = PretrainingRun | FineTuningRun
AnyRecord: TypeAlias = PretrainingRecord | FineTuningRecord
_RECORD: TypeAdapter[AnyRecord] = TypeAdapter(Annotated[AnyRecord, Field(discriminator="kind")])


def require_run(path: Path) -> None:
    """Check that there is a run in the folder ``path``.

    Raises:
        TrainingError: there is none; what else it is, is named.
    """
    if not (path / RECORD).exists():
        raise _not_a_run(path)


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


def create_run(
    path: Path,
    recipe: Recipe,
    tokenizer: Tokenizer,
    record: AnyRecord,
    generation: GenerationDefaults | None = None,
) -> AnyRun:
    """Make the folder of a new run.

    Args:
        path: The folder.
        recipe: What it follows.
        tokenizer: The model's, with its special tokens and chat templates.
        record: What it learns from.
        generation: How the model that it starts from is sampled where a request does not say.

    Raises:
        TrainingError: there is a run already.
    """
    refuse_existing_run(path)
    path.mkdir(parents=True, exist_ok=True)
    save_recipe(path, recipe)
    write_atomic(path / TOKENIZER, tokenizer.to_json().encode())
    if not tokenizer.is_plain or generation is not None:
        defaults = generation or GenerationDefaults()
        write_atomic(path / TOKENIZER_CONFIG, tokenizer.hf_config().encode())
        write_atomic(path / GENERATION_CONFIG, generation_config(defaults, tokenizer))
    # The record comes last, because a folder with one is taken for a run.
    kept = record.model_copy(update={"recipe": recipe.model_dump(mode="json")})
    write_atomic(path / RECORD, kept.model_dump_json(indent=1).encode())
    return open_run(path)


def save_recipe(path: Path, recipe: Recipe) -> None:
    """Write ``recipe.toml`` in a run's folder."""
    recipe.save(path / RECIPE)


def open_run(path: Path) -> AnyRun:
    """Open the folder of a run.

    Raises:
        TrainingError: it is not a run, or a file in it is damaged.
    """
    require_run(path)
    fix = "start a new run"
    data = read_regular(path / RECORD, TrainingError, max_bytes=_LARGEST_RECORD, fix=fix)
    try:
        record = _RECORD.validate_json(data)
    except ValidationError as error:
        raise from_validation(
            TrainingError, error, where=path / RECORD, what="is damaged", fix=fix
        ) from error
    tokenizer, generation = _read_tokenizer(path, fix)
    followed = checkpoint.followed_recipe(path)
    recipe = make_recipe(record.recipe if followed is None else followed, where=path / RECORD)
    if isinstance(record, PretrainingRecord):
        return PretrainingRun(path, recipe, tokenizer, record, generation)
    return FineTuningRun(path, recipe, tokenizer, record, generation)


def open_pretraining_run(path: Path) -> PretrainingRun:
    """Open the folder of a run on a corpus.

    Raises:
        TrainingError: it is not a run, is damaged, or has no corpus.
    """
    return require_corpus(open_run(path))


def require_corpus(run: Run) -> PretrainingRun:
    """Return a run that has a corpus.

    Raises:
        TrainingError: it has none.
    """
    if not isinstance(run, PretrainingRun):
        raise TrainingError(
            "learns from examples and has no corpus", where=run.path, fix="name texts"
        )
    return run


def edited_recipe(run: Run) -> Recipe:
    """Return the recipe in ``recipe.toml``, which may differ from the one that was followed.

    Raises:
        RecipeError: the file is missing or is not a recipe.
    """
    path = run.path / RECIPE
    return make_recipe(read_recipe(path), where=path)


def changes(before: Recipe, now: Recipe) -> list[str]:
    """Return what differs between two recipes, one line a key."""
    one, other = (_flat(recipe.model_dump(mode="json")) for recipe in (before, now))
    return [
        f"{key}: {one.get(key)} is now {other.get(key)}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _read_tokenizer(folder: Path, fix: str) -> tuple[Tokenizer, GenerationDefaults]:
    """Return a run's tokenizer, and how its model is sampled."""

    def read(name: str, limit: int) -> bytes:
        return read_regular(folder / name, TrainingError, max_bytes=limit, fix=fix)

    data = read(TOKENIZER, _LARGEST_TOKENIZER)
    if not (folder / TOKENIZER_CONFIG).exists():
        try:
            return Tokenizer.from_json(data.decode(), where=TOKENIZER), GenerationDefaults()
        except (ArtifactError, UnicodeDecodeError) as error:
            raise TrainingError("is damaged", where=folder / TOKENIZER, fix=fix) from error
    configs = {name: read(name, _LARGEST_CONFIG) for name in (TOKENIZER_CONFIG, GENERATION_CONFIG)}
    try:
        tokenizer = read_tokenizer({TOKENIZER: data, **configs}, where=folder)
        return tokenizer, GenerationDefaults.parse(configs[GENERATION_CONFIG], where=folder)
    except ArtifactError as error:
        raise TrainingError(f"is damaged ({error})", where=folder, fix=fix) from error


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
