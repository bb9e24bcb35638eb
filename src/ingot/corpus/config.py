"""Configuration of a corpus build."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ingot.corpus.encodings import known_encoding
from ingot.errors import UsageError, from_validation
from ingot.model.tokenizer import SMALLEST_VOCABULARY
from ingot.settings import parse_settings

EXCLUDED_FOLDERS = ("__pycache__", "node_modules", "site-packages")
"""Folders of programs, not of text, that are left out unless they are asked for."""

LEAST_CONTEXT = 8
"""Shortest context of a window, in tokens."""

Weight = Annotated[float, Field(gt=0, le=1e9)]


class CorpusConfig(BaseModel):
    """How raw text is read, split and tokenized."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    vocab_size: int = Field(4096, ge=SMALLEST_VOCABULARY, le=1 << 20)
    """Largest vocabulary of the tokenizer; little text may give a smaller one."""
    validation_fraction: float = Field(0.02, gt=0, le=0.5)
    """Fraction of the documents held out from training."""
    seed: int = Field(0, ge=0, lt=1 << 63)
    """Seed of the sample of documents that the tokenizer is trained on."""
    json_field: str = Field("text", min_length=1)
    """Field of a JSONL object or column of a Parquet file that holds the text."""
    suffixes: Annotated[tuple[str, ...], Field(fail_fast=True)] | None = None
    """Suffixes of files to read from folders and archives, such as ``.py``; unset reads whatever
    holds text."""
    encoding: str | None = None
    """Encoding of files that are not UTF-8, such as ``latin-1`` or ``shift_jis``; unset leaves
    them out, unless a byte order mark or the file itself names one."""
    hidden: bool = False
    """Read files and folders whose names begin with a dot."""
    exclude: Annotated[tuple[str, ...], Field(fail_fast=True)] = EXCLUDED_FOLDERS
    """Names of folders to leave out."""
    tokenizer_sample_bytes: int = Field(16 << 20, ge=1 << 10, le=1 << 32)
    """Most bytes of training text that the tokenizer is trained on."""
    compression_baseline: bool = False
    """Measure how well xz and zstd compress the held-out text, for comparison."""
    stdin_format: Literal["text", "jsonl"] = "text"
    """Format of standard input (``-``): one text, or one JSON document per line."""
    near_duplicates: float | None = Field(None, ge=0.6, le=1)
    """Least Jaccard similarity to an earlier document at which one is left out; unset keeps all."""
    mix: Annotated[dict[str, Weight], Field(min_length=1, fail_fast=True)] | None = None
    """Weight of each source in training, by name; unset samples all text uniformly."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str | None) -> str | None:
        if encoding is not None and known_encoding(encoding) is None:
            raise ValueError("is not an encoding of text files, such as latin-1 or shift_jis")
        return encoding

    @field_validator("mix")
    @classmethod
    def _in_order(cls, mix: dict[str, float] | None) -> dict[str, float] | None:
        """Sort by name: the same weights in another order are the same config."""
        return None if mix is None else dict(sorted(mix.items()))


class _Corpus(BaseModel):
    """The one section that a corpus has settings in."""

    corpus: CorpusConfig


def corpus_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Return the values of settings such as ``corpus.encoding=latin-1``, unchecked.

    Raises:
        UsageError: one is not a setting of a corpus.
    """
    tables = parse_settings(settings, _Corpus, UsageError)
    for section in tables.keys() - {"corpus"}:
        raise UsageError(
            "does not concern the corpus",
            where=f"--set {section}.{next(iter(tables[section]))}",
            fix="give it to ingot train",
        )
    values: dict[str, Any] = tables.get("corpus", {})
    return values


def make_config(**values: Any) -> CorpusConfig:
    """Return the config with these values.

    Raises:
        UsageError: a value is not allowed; it is named.
    """
    try:
        return CorpusConfig(**values)
    except ValidationError as error:
        raise from_validation(UsageError, error) from error
