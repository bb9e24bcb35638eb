"""Corpus folder, opened for reading."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from ingot.corpus.store.manifest import (
    MANIFEST,
    TOKENIZER,
    TOKENIZER_CONFIG,
    CorpusManifest,
    ShardRecord,
    SplitRecord,
)
from ingot.corpus.store.shards import REBUILD, Part, Shard, TokenStore
from ingot.errors import ArtifactError, CorpusError
from ingot.files import read_regular
from ingot.model.tokenizer import Tokenizer
from ingot.model.tokenizer_files import read_tokenizer

_MAX_TOKENIZER_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Corpus:
    """Training and held-out token ids, with their tokenizer."""

    path: Path
    manifest: CorpusManifest
    tokenizer: Tokenizer
    train: TokenStore
    validation: TokenStore


def open_corpus(path: Path, *, verify: bool = False) -> Corpus:
    """Open a corpus folder; the tokens are memory-mapped, not read.

    Args:
        path: The folder that ``build_corpus`` made.
        verify: Also hash every token, which reads the whole corpus.

    Raises:
        CorpusError: a file is missing, truncated, damaged or of another version; it is named.
    """
    manifest = CorpusManifest.read(path / MANIFEST)
    tokenizer = _open_tokenizer(path, manifest)
    train = _open_split(path, manifest.train, manifest.vocab_size, _parts(manifest))
    validation = _open_split(path, manifest.validation, manifest.vocab_size)
    if verify:
        train.verify()
        validation.verify()
    return Corpus(path, manifest, tokenizer, train, validation)


def read_stored_tokenizer(folder: Path) -> tuple[Tokenizer, str]:
    """Return the tokenizer in a corpus's folder, and the SHA-256 of its files.

    One that Ingot did not train has a ``tokenizer_config.json`` too, for its special tokens.

    Raises:
        CorpusError: a file is missing or damaged.
    """
    names = [TOKENIZER, *([TOKENIZER_CONFIG] if (folder / TOKENIZER_CONFIG).exists() else [])]
    files = {
        name: read_regular(folder / name, CorpusError, max_bytes=_MAX_TOKENIZER_BYTES, fix=REBUILD)
        for name in names
    }
    digest = hashlib.sha256(b"".join(files.values())).hexdigest()
    try:
        if len(files) > 1:
            return read_tokenizer(files, where=folder), digest
        text = files[TOKENIZER].decode()
        return Tokenizer.from_json(text, where=folder / TOKENIZER), digest
    except (ArtifactError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"is not a tokenizer ({error})", where=folder / TOKENIZER, fix=REBUILD
        ) from error


def _open_tokenizer(folder: Path, manifest: CorpusManifest) -> Tokenizer:
    tokenizer, digest = read_stored_tokenizer(folder)
    if digest != manifest.tokenizer_sha256:
        raise CorpusError("does not match its checksum", where=folder / TOKENIZER, fix=REBUILD)
    if tokenizer.vocab_size != manifest.vocab_size:
        raise CorpusError(
            f"has {tokenizer.vocab_size} tokens, {MANIFEST} says {manifest.vocab_size}",
            where=folder / TOKENIZER,
            fix=REBUILD,
        )
    return tokenizer


def _parts(manifest: CorpusManifest) -> list[Part]:
    """Return the range of each mixed source in the training stream."""
    ends = list(accumulate(source.train.tokens for source in manifest.sources))
    return [
        Part(source.name, source.weight, end - source.train.tokens, source.train.tokens)
        for source, end in zip(manifest.sources, ends, strict=True)
    ]


def _open_split(
    folder: Path, record: SplitRecord, vocab_size: int, parts: Sequence[Part] = ()
) -> TokenStore:
    shards = [open_shard(folder, entry) for entry in record.shards]
    return TokenStore(shards, vocab_size, parts)


def open_shard(folder: Path, record: ShardRecord) -> Shard:
    """Open the shard that a record names.

    Raises:
        CorpusError: it is missing or damaged, or does not match the record.
    """
    shard = Shard(folder / record.file)
    if (len(shard.ids), shard.sha256) != (record.tokens, record.sha256):
        raise CorpusError(f"is not the shard in {MANIFEST}", where=shard.path, fix=REBUILD)
    return shard
