"""The bounded sample of documents that the tokenizer learns from."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator

from ingot.corpus.build.build_state import Journal
from ingot.corpus.build.split import split_document
from ingot.corpus.reading.documents import Document
from ingot.corpus.store.manifest import SplitMode


class DocumentSample:
    """Keeps the documents whose keyed hash is smallest, up to a number of bytes.

    So the sample depends on which documents there are and on the seed, not on
    their order. The texts lie in the journal, so that a build that is killed
    goes on with them; a sample begins with what the journal holds.
    """

    def __init__(self, journal: Journal, max_bytes: int, seed: int) -> None:
        self._journal = journal
        self._max_bytes = max_bytes
        self._key = seed.to_bytes(8, "big")
        journal.run(
            "CREATE TABLE IF NOT EXISTS sample "
            "(rank BLOB PRIMARY KEY, digest BLOB, text TEXT, size INTEGER)"
        )
        self._heap = [
            (-int.from_bytes(rank, "big"), size)
            for rank, size in journal.rows("SELECT rank, size FROM sample")
        ]
        heapq.heapify(self._heap)
        self._bytes = sum(size for _, size in self._heap)

    def add(self, document: Document) -> None:
        """Offer one document; digests must not repeat."""
        rank = hashlib.blake2b(document.digest, key=self._key, digest_size=16).digest()
        number = int.from_bytes(rank, "big")
        if self._bytes >= self._max_bytes and number > -self._heap[0][0]:
            return
        heapq.heappush(self._heap, (-number, document.size))
        self._bytes += document.size
        self._journal.run(
            "INSERT INTO sample VALUES (?, ?, ?, ?)",
            *(rank, document.digest, document.text, document.size),
        )
        while self._bytes - self._heap[0][1] >= self._max_bytes:
            worst, size = heapq.heappop(self._heap)
            self._bytes -= size
            rank = (-worst).to_bytes(16, "big")
            self._journal.run("DELETE FROM sample WHERE rank = ?", rank)

    def training_texts(self, mode: SplitMode, fraction: float) -> Iterator[str]:
        """Yield the training side of the sample, cut off at its number of bytes."""
        left = self._max_bytes
        for rank, _ in sorted(self._heap, reverse=True):
            digest, text, size = self._journal.rows(
                "SELECT digest, text, size FROM sample WHERE rank = ?", (-rank).to_bytes(16, "big")
            )[0]
            for side, part in split_document(Document(text, "", digest, size), mode, fraction):
                if side == "train" and left > 0:
                    yield part[:left]
                    left -= len(part)
