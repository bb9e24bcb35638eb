"""Tokenization of text and writing of shards, for both sides of the split at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ingot.corpus.build.split import SIDES, Side
from ingot.corpus.store.corpus import open_shard
from ingot.corpus.store.manifest import ShardRecord, SideRecord, SplitRecord
from ingot.corpus.store.shards import SHARD_TOKENS, ShardWriter
from ingot.errors import CorpusError
from ingot.model.text_pieces import text_pieces
from ingot.model.tokenizer import Tokenizer

_BATCH_BYTES = 256 << 10  # a batch takes up to 300 times its memory while the library tokenizes it
_PIECE_CHARACTERS = 64 << 10  # so that a long document keeps all cores busy

Ids = npt.NDArray[np.uint32]

SourceTotals = dict[int, SideRecord]
"""What each source contributed, by its index."""


class _Chunk(NamedTuple):
    """A document, or a piece of a long one, on its way to the tokenizer."""

    side: Side
    text: str
    size: int
    source: int
    first: bool
    last: bool


class SplitWriter:
    """One side's stream of tokens: an end-of-text token, then each document followed by one.

    Documents of a model whose texts begin with a token of their own begin with it here too.

    Each source begins a new shard and a stream of its own.

    Args:
        folder: Where the shards go.
        side: Begins their names.
        vocab_size: All ids are below it.
        eos_id: The end-of-text token.
        prefix: Tokens that begin each document.
        shard_tokens: Tokens in a full shard.
        resume: What ``sync`` of a writer that was killed returned.
    """

    def __init__(
        self,
        folder: Path,
        side: Side,
        *,
        vocab_size: int,
        eos_id: int,
        prefix: Sequence[int] = (),
        shard_tokens: int = SHARD_TOKENS,
        resume: Mapping[str, Any] | None = None,
    ) -> None:
        self._folder = folder
        self._side = side
        self._vocab_size = vocab_size
        self._eos = np.array([eos_id], np.uint32)
        self._prefix = np.array(prefix, np.uint32)
        self._shard_tokens = shard_tokens
        self._shards: list[ShardRecord] = []
        self._writer: ShardWriter | None = None
        self._source = -1  # none yet
        self._pending: list[Ids] = []
        self._totals: dict[int, list[int]] = {}
        if resume:
            self._resume(resume)

    def add(
        self,
        ids: Ids,
        size: int,
        source: int = 0,
        *,
        first: bool = True,
        last: bool = True,
    ) -> None:
        """Add a document's tokens, or some of them.

        Args:
            ids: The tokens (tokens,).
            size: Length of the document in UTF-8; ignored before its last tokens.
            source: Where it comes from.
            first: Whether the document begins with these tokens.
            last: Whether it ends with them.
        """
        if source != self._source:
            self.flush()
            self._finish_shard()
            self._source = source
            self._totals[source] = [0, 0, 0]
            self._pending.append(self._eos)
        if first and len(self._prefix):
            self._pending.append(self._prefix)
        self._pending.append(ids)
        if last:
            self._pending.append(self._eos)
            total = self._totals[source]
            total[0] += 1
            total[1] += size

    def flush(self) -> None:
        """Write the pending tokens; many documents at once, since each write is costly."""
        if self._pending:
            ids = np.concatenate(self._pending)
            self._pending = []
            self._totals[self._source][2] += len(ids)
            self._write(ids)

    def sync(self) -> dict[str, Any]:
        """Make what was written durable; return the state to resume from, as JSON values."""
        self.flush()
        if self._writer:
            self._writer.sync()
        return {
            "shards": [shard.model_dump() for shard in self._shards],
            "open": self._writer.count if self._writer else 0,
            "source": self._source,
            "totals": list(self._totals.items()),
        }

    def finish(self) -> tuple[SplitRecord, SourceTotals]:
        """Close the last shard; return the record of all, and what each source contributed.

        Raises:
            CorpusError: no document was added.
        """
        if not self._totals:
            raise CorpusError(
                f"there is no text for {self._side}", where="corpus", fix="add more text"
            )
        self.flush()
        self._finish_shard()
        totals = {
            source: SideRecord(documents=documents, bytes=size, tokens=tokens)
            for source, (documents, size, tokens) in self._totals.items()
        }
        record = SplitRecord(
            documents=sum(total.documents for total in totals.values()),
            bytes=sum(total.bytes for total in totals.values()),
            tokens=sum(shard.tokens for shard in self._shards),
            shards=tuple(self._shards),
        )
        return record, totals

    def close(self) -> None:
        """Close an unfinished shard without finishing it."""
        if self._writer:
            self._writer.close()

    def _resume(self, state: Mapping[str, Any]) -> None:
        self._shards = [ShardRecord(**shard) for shard in state["shards"]]
        for shard in self._shards:
            open_shard(self._folder, shard).verify()
        self._source = state["source"]
        self._totals = {source: list(total) for source, total in state["totals"]}
        if state["open"]:
            self._writer = ShardWriter(self._next_path(), self._vocab_size, keep=state["open"])

    def _next_path(self) -> Path:
        return self._folder / f"{self._side}-{len(self._shards):05d}.tokens"

    def _write(self, ids: npt.NDArray[np.integer]) -> None:
        while len(ids):
            if self._writer is None:
                self._writer = ShardWriter(self._next_path(), self._vocab_size)
            room = self._shard_tokens - self._writer.count
            self._writer.append(ids[:room])
            ids = ids[room:]
            if self._writer.count == self._shard_tokens:
                self._finish_shard()

    def _finish_shard(self) -> None:
        if self._writer:
            digest = self._writer.finish()
            self._shards.append(
                ShardRecord(
                    file=self._writer.path.name,
                    tokens=self._writer.count,
                    sha256=digest,
                    source=self._source,
                )
            )
            self._writer = None


class CorpusWriter:
    """Batch tokenization, and the writers of both sides.

    A thread tokenizes and writes one batch while the next is read: reading keeps only one core
    busy.

    Args:
        folder: Where the shards go.
        tokenizer: Turns text into ids.
        resume: What ``sync`` of a writer that was killed returned.
    """

    def __init__(
        self, folder: Path, tokenizer: Tokenizer, *, resume: Mapping[str, Any] | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._pending: list[_Chunk] = []
        self._pending_bytes = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenize")
        self._batch: Future[None] | None = None  # the one that the thread works on
        self._sides: dict[Side, SplitWriter] = {}
        for side in SIDES:
            self._sides[side] = SplitWriter(
                folder,
                side,
                vocab_size=tokenizer.vocab_size,
                eos_id=tokenizer.eos_id,
                prefix=tokenizer.prefix,
                resume=resume[side] if resume else None,
            )

    def add(self, side: Side, text: str, size: int, source: int = 0) -> None:
        """Add one document; ``size`` is its length in UTF-8."""
        *begun, last = text_pieces(text, _PIECE_CHARACTERS)
        for at, piece in enumerate(begun):
            self._add_piece(_Chunk(side, piece, len(piece), source, first=at == 0, last=False))
        self._add_piece(_Chunk(side, last, size, source, first=not begun, last=True))

    def sync(self) -> dict[str, Any]:
        """Write what is pending durably; return the state to resume from, as JSON values."""
        self._write_all()
        return {side: writer.sync() for side, writer in self._sides.items()}

    def finish(self) -> tuple[tuple[SplitRecord, SourceTotals], tuple[SplitRecord, SourceTotals]]:
        """Write what is left; return the records of training and validation.

        Raises:
            CorpusError: one of them is empty.
        """
        self._write_all()
        return self._sides["train"].finish(), self._sides["validation"].finish()

    def _add_piece(self, piece: _Chunk) -> None:
        self._pending.append(piece)
        self._pending_bytes += piece.size
        if self._pending_bytes >= _BATCH_BYTES:
            self._hand_over()

    def _hand_over(self) -> None:
        """Pass the pending texts to the thread, when it is done with those of the batch before."""
        self._wait()
        pieces, self._pending, self._pending_bytes = self._pending, [], 0
        self._batch = self._thread.submit(self._tokenize, pieces)

    def _tokenize(self, pieces: list[_Chunk]) -> None:
        ids, ends = self._tokenizer.encode_arrays(
            [piece.text for piece in pieces], continues=[not piece.first for piece in pieces]
        )
        start = 0
        for piece, end in zip(pieces, ends.tolist(), strict=True):
            self._sides[piece.side].add(
                ids[start:end], piece.size, piece.source, first=piece.first, last=piece.last
            )
            start = end
        for writer in self._sides.values():
            writer.flush()

    def _wait(self) -> None:
        """Wait for the thread; raises what it raised."""
        if self._batch is not None:
            batch, self._batch = self._batch, None
            batch.result()

    def _write_all(self) -> None:
        if self._pending:
            self._hand_over()
        self._wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)
        for side in self._sides.values():
            side.close()
