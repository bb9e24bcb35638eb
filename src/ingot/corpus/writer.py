"""Text to tokens to shards, for both sides of the split at once."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Self

import numpy as np

from ingot.corpus.baseline import MAX_TRAINING_BYTES, MAX_VALIDATION_BYTES
from ingot.corpus.manifest import ShardRecord, SplitRecord
from ingot.corpus.shards import SHARD_TOKENS, ShardWriter, TokenIds
from ingot.corpus.split import Side
from ingot.errors import CorpusError
from ingot.model.tokenizer import Tokenizer

_BATCH_BYTES = 1 << 20


class SplitWriter:
    """Writes one side's stream of tokens: one end of text, then each document and its own.

    Args:
        folder: Where the shards go.
        side: Begins their names.
        vocab_size: Ids must be below it.
        eos_id: The end-of-text token.
        shard_tokens: Tokens in a full shard.
    """

    def __init__(
        self,
        folder: Path,
        side: Side,
        *,
        vocab_size: int,
        eos_id: int,
        shard_tokens: int = SHARD_TOKENS,
    ) -> None:
        self._folder = folder
        self._side = side
        self._vocab_size = vocab_size
        self._eos_id = eos_id
        self._shard_tokens = shard_tokens
        self._shards: list[ShardRecord] = []
        self._writer: ShardWriter | None = None
        self._documents = 0
        self._bytes = 0
        self._write(np.array([eos_id], np.int64))

    def add(self, ids: list[int], size: int) -> None:
        """Add a document's tokens; ``size`` is its length in UTF-8."""
        self._documents += 1
        self._bytes += size
        self._write(np.array([*ids, self._eos_id], np.int64))

    def finish(self) -> SplitRecord:
        """Close the last shard and return the record of all.

        Raises:
            CorpusError: no document was added.
        """
        if not self._documents:
            raise CorpusError(
                f"there is no text for {self._side}", where="corpus", fix="add more text"
            )
        self._finish_shard()
        return SplitRecord(
            documents=self._documents,
            bytes=self._bytes,
            tokens=sum(shard.tokens for shard in self._shards),
            shards=tuple(self._shards),
        )

    def close(self) -> None:
        """Let go of an unfinished shard."""
        if self._writer:
            self._writer.close()

    def _write(self, ids: TokenIds) -> None:
        while len(ids):
            if self._writer is None:
                name = f"{self._side}-{len(self._shards):05d}.tokens"
                self._writer = ShardWriter(self._folder / name, self._vocab_size)
            room = self._shard_tokens - self._writer.count
            self._writer.append(ids[:room])
            ids = ids[room:]
            if self._writer.count == self._shard_tokens:
                self._finish_shard()

    def _finish_shard(self) -> None:
        if self._writer:
            digest = self._writer.finish()
            self._shards.append(
                ShardRecord(file=self._writer.path.name, tokens=self._writer.count, sha256=digest)
            )
            self._writer = None


class CorpusWriter:
    """Tokenizes texts in batches, on all cores, and writes both sides."""

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pending: list[tuple[Side, str, int]] = []
        self._pending_bytes = 0
        sizes = {"vocab_size": tokenizer.vocab_size, "eos_id": tokenizer.eos_id}
        self._sides: dict[Side, SplitWriter] = {
            "train": SplitWriter(folder, "train", **sizes),
            "validation": SplitWriter(folder, "validation", **sizes),
        }

    def add(self, side: Side, text: str, size: int) -> None:
        """Add one document; ``size`` is its length in UTF-8."""
        self._pending.append((side, text, size))
        self._pending_bytes += size
        if self._pending_bytes >= _BATCH_BYTES:
            self._flush()

    def finish(self) -> tuple[SplitRecord, SplitRecord]:
        """Write what is left; return the records of training and validation.

        Raises:
            CorpusError: one of them is empty.
        """
        self._flush()
        return self._sides["train"].finish(), self._sides["validation"].finish()

    def _flush(self) -> None:
        batch = self._tokenizer.encode_batch([text for _, text, _ in self._pending])
        for (side, _, size), ids in zip(self._pending, batch, strict=True):
            self._sides[side].add(ids, size)
        self._pending.clear()
        self._pending_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for side in self._sides.values():
            side.close()


class BaselineText:
    """Keeps as much of both sides as the compression baseline looks at."""

    def __init__(self) -> None:
        self._training: deque[bytes] = deque()
        self._training_bytes = 0
        self._validation = bytearray()

    def add(self, side: Side, data: bytes) -> None:
        """Add one document."""
        if side == "validation":
            self._validation += data[: MAX_VALIDATION_BYTES - len(self._validation)]
            return
        self._training.append(data)
        self._training_bytes += len(data)
        while self._training_bytes - len(self._training[0]) >= MAX_TRAINING_BYTES:
            self._training_bytes -= len(self._training.popleft())

    def take(self) -> tuple[bytes, bytes]:
        """Return the training and the held-out text, and let go of them."""
        training, validation = b"".join(self._training), bytes(self._validation)
        self._training.clear()
        self._validation.clear()
        return training, validation
