"""What decides how raw text becomes a corpus."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ingot.errors import UsageError, from_validation
from ingot.model.tokenizer import SMALLEST_VOCABULARY

Weight = Annotated[float, Field(gt=0, le=1e9)]


class CorpusConfig(BaseModel):
    """Everything besides the text itself that the token shards depend on."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    vocab_size: int = Field(4096, ge=SMALLEST_VOCABULARY, le=1 << 20)
    """Most tokens the tokenizer may have; little text may give fewer."""
    validation_fraction: float = Field(0.02, gt=0, le=0.5)
    """Share of the text held out from training."""
    seed: int = Field(0, ge=0, lt=1 << 63)
    """Chooses which documents the tokenizer learns from."""
    json_field: str = Field("text", min_length=1)
    """Field of a JSONL object, or column of a Parquet file, that holds the text."""
    suffixes: tuple[str, ...] | None = None
    """Kinds of files to take from folders, such as ``.py``; None takes every kind known."""
    tokenizer_sample_bytes: int = Field(16 << 20, ge=1 << 10, le=1 << 32)
    """Most bytes of training text that the tokenizer learns from."""
    compression_baseline: bool = False
    """Also measure how well xz and zstd compress the held-out text."""
    stdin_format: Literal["text", "jsonl"] = "text"
    """What the source ``-`` is: one text, or a document on each line."""
    near_duplicates: float | None = Field(None, ge=0.6, le=1)
    """Leave out documents that are at least this similar to an earlier one; None keeps them."""
    mix: dict[str, Weight] | None = Field(None, min_length=1)
    """Weight of each source in training, by its name; None takes all text alike."""

    @field_validator("mix")
    @classmethod
    def _in_order(cls, mix: dict[str, float] | None) -> dict[str, float] | None:
        """Sort by name: the same weights in another order are the same config."""
        return None if mix is None else dict(sorted(mix.items()))


def make_config(**values: Any) -> CorpusConfig:
    """Return the config with these values.

    Raises:
        UsageError: a value is not allowed; it is named.
    """
    try:
        return CorpusConfig(**values)
    except ValidationError as error:
        raise from_validation(UsageError, error) from error
