"""The bounded sample of documents that the tokenizer learns from."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator

from ingot.corpus.documents import Document
from ingot.corpus.manifest import SplitMode
from ingot.corpus.split import split_document


class DocumentSample:
    """Keeps the documents whose keyed hash is smallest, up to a number of bytes.

    So the sample depends on which documents there are and on the seed, not on
    their order, and memory does not grow with the corpus.
    """

    def __init__(self, max_bytes: int, seed: int) -> None:
        self._max_bytes = max_bytes
        self._key = seed.to_bytes(8, "big")
        self._heap: list[tuple[int, Document]] = []
        self._bytes = 0

    def add(self, document: Document) -> None:
        """Offer one document; digests must not repeat."""
        rank = hashlib.blake2b(document.digest, key=self._key, digest_size=16).digest()
        heapq.heappush(self._heap, (-int.from_bytes(rank, "big"), document))
        self._bytes += document.size
        while self._bytes - self._heap[0][1].size >= self._max_bytes:
            self._bytes -= heapq.heappop(self._heap)[1].size

    def training_texts(self, mode: SplitMode, fraction: float) -> Iterator[str]:
        """Yield the training side of the sample, cut off at its number of bytes."""
        left = self._max_bytes
        for _, document in sorted(self._heap, key=lambda entry: -entry[0]):
            for side, text in split_document(document, mode, fraction):
                if side == "train" and left > 0:
                    yield text[:left]
                    left -= len(text)
