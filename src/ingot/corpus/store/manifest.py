"""Corpus manifest ``corpus.json``: contents, origin, and the digest that identifies them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, model_validator

from ingot.corpus.config import CorpusConfig, Weight
from ingot.corpus.reading.report import explain
from ingot.corpus.store.shards import REBUILD
from ingot.errors import CorpusError, from_validation
from ingot.files import read_regular

MANIFEST = "corpus.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
FORMAT_VERSION: Literal[2] = 2

_MAX_BYTES = 16 << 20
_MAX_VALUES = 100_000
"""Of some 20,000 shards. Each may take kilobytes while it is checked, and more if it is wrong."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
SplitMode = Literal["hash", "tail"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ShardRecord(_Part):
    """One file of tokens."""

    file: str = Field(pattern=r"^(train|validation)-[0-9]{5}\.tokens$")
    tokens: int = Field(ge=1)
    sha256: Sha256
    source: Count = 0
    """Which of the mixed sources it comes from; 0 if none are mixed."""


class SplitRecord(_Part):
    """The training or the held-out side."""

    documents: Count
    bytes: Count
    """Length of the documents in UTF-8."""
    tokens: int = Field(ge=1)
    """All ids, the end-of-text ones included: one first and one after each document."""
    shards: Annotated[tuple[ShardRecord, ...], FailFast()] = Field(min_length=1)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.tokens != sum(shard.tokens for shard in self.shards):
            raise ValueError("tokens is not the sum over the shards")
        return self


class SideRecord(_Part):
    """Contribution of one source to one side of the split."""

    documents: Count = 0
    bytes: Count = 0
    tokens: Count = 0


class SourceRecord(_Part):
    """One of the sources mixed by weight."""

    name: str = Field(min_length=1)
    weight: Weight
    """As given; only the ratio of weights matters."""
    share: float = Field(gt=0, le=1)
    """Share of the tokens that training draws from this source."""
    train: SideRecord
    validation: SideRecord


class SkippedRecord(_Part):
    """Documents and files left out for one reason."""

    count: Count
    examples: Annotated[tuple[str, ...], FailFast()]


class BaselineRecord(_Part):
    """Bits per byte that general compressors need for the held-out text, training text first."""

    xz_9: float
    zstd_19: float
    training_bytes: Count
    """Length of the training text given: the latest 64 MiB at most."""
    validation_bytes: Count
    """Length of the held-out text compressed: the first 8 MiB at most."""


class CorpusManifest(_Part):
    """The contents of ``corpus.json``."""

    format: Literal[2] = FORMAT_VERSION
    digest: Sha256
    """SHA-256 over the tokens and the tokenizer, independent of their origin."""
    vocab_size: int = Field(ge=257, le=1 << 20)
    tokenizer_sha256: Sha256
    split: SplitMode
    """How text was held out: whole documents by their hash, or the tail of each document."""
    train: SplitRecord
    validation: SplitRecord
    skipped: Annotated[dict[str, SkippedRecord], FailFast()]
    config: CorpusConfig
    sources_fingerprint: Sha256
    sources: Annotated[tuple[SourceRecord, ...], FailFast()] = ()
    """The sources in the order of their shards, if they are mixed by weight."""
    baseline: BaselineRecord | None = None
    tokenized_by: Literal["ingot", "tokenizers"] = "tokenizers"
    """Whose code made the ids: Ingot's core, or the library that it was checked against."""

    @model_validator(mode="after")
    def _sources_match_shards(self) -> Self:
        for side, split in (("train", self.train), ("validation", self.validation)):
            order = [shard.source for shard in split.shards]
            if order != sorted(order) or order[-1] >= max(1, len(self.sources)):
                raise ValueError(f"the {side} shards are not in the order of the sources")
        for number, source in enumerate(self.sources):
            tokens = sum(shard.tokens for shard in self.train.shards if shard.source == number)
            if tokens == 0 or tokens != source.train.tokens:
                raise ValueError(f"the tokens of {source.name} are not the sum over its shards")
        return self

    @classmethod
    def read(cls, path: Path) -> CorpusManifest:
        """Read and validate a ``corpus.json``.

        Raises:
            CorpusError: it is missing, malformed, of another version, or does not match its digest.
        """
        data = read_regular(
            path,
            CorpusError,
            max_bytes=_MAX_BYTES,
            fix="build the corpus first, or check the path",
        )
        if sum(map(data.count, (b",", b"[", b"{"))) > _MAX_VALUES:
            raise CorpusError(f"holds more than {_MAX_VALUES:,} values", where=path, fix=REBUILD)
        try:
            value = json.loads(data)
            found = value.get("format") if isinstance(value, dict) else None
            if isinstance(found, int) and found != FORMAT_VERSION:
                raise CorpusError(
                    f"has format version {found}, this Ingot reads {FORMAT_VERSION}",
                    where=path,
                    fix=REBUILD,
                )
            manifest = cls.model_validate_json(data, strict=True)
        except ValidationError as error:
            raise from_validation(
                CorpusError, error, where=path, what="is damaged", fix=REBUILD
            ) from error
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"is not JSON ({error})", where=path, fix=REBUILD) from error
        if manifest.digest != manifest.content_digest():
            raise CorpusError("does not match its own digest", where=path, fix=REBUILD)
        return manifest

    def content_digest(self) -> str:
        """Return the digest computed from the contents."""
        return content_digest(
            self.tokenizer_sha256, self.vocab_size, self.train, self.validation, self.sources
        )

    def summary(self) -> str:
        """Return one line about the contents and the mix."""
        text = (
            f"{self.train.documents:,} documents to train on ({self.train.tokens:,} tokens), "
            f"{self.validation.documents:,} held out"
        )
        if self.sources:
            shares = (
                f"{source.name} {source.share:.1%} ({source.train.tokens:,} tokens)"
                for source in self.sources
            )
            text += f"; training draws {', '.join(shares)}"
        return text

    def left_out(self) -> list[str]:
        """Return a line for each reason why something was left out, with what changes it."""
        return explain(
            {reason: (entry.count, entry.examples) for reason, entry in self.skipped.items()}
        )

    def notes(self) -> list[str]:
        """Return a line if the ids were not made by Ingot's own encoder, which is faster."""
        if self.tokenized_by == "ingot":
            return []
        return [
            "tokenized by the tokenizers library: Ingot's encoder does not know this tokenizer, or "
            "gave other ids for a sample of the text"
        ]

    def to_json(self) -> bytes:
        """Return the bytes to write."""
        return (self.model_dump_json(indent=2) + "\n").encode()


def content_digest(
    tokenizer_sha256: str,
    vocab_size: int,
    train: SplitRecord,
    validation: SplitRecord,
    sources: Sequence[SourceRecord] = (),
) -> str:
    """Return the SHA-256 over canonical JSON of the tokenizer, every shard and the weights."""
    content: dict[str, object] = {
        "format": FORMAT_VERSION,
        "vocab_size": vocab_size,
        "tokenizer_sha256": tokenizer_sha256,
        "train": [[shard.tokens, shard.sha256] for shard in train.shards],
        "validation": [[shard.tokens, shard.sha256] for shard in validation.shards],
    }
    if sources:
        content["weights"] = [source.weight for source in sources]
        content["train_sources"] = [shard.source for shard in train.shards]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
