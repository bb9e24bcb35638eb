"""Split into training and held-out text: whole documents by hash, or the tail of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ingot.corpus.reading.documents import Document
from ingot.corpus.store.manifest import SplitMode

Side = Literal["train", "validation"]
SIDES: tuple[Side, ...] = ("train", "validation")

_MIN_TAIL = 256
_MAX_RATIO = 4  # between the requested and the actual fraction


def is_held_out(document: Document, fraction: float) -> bool:
    """Return whether a document is held out; its hash decides, not its order or source."""
    return int.from_bytes(document.digest[:8], "big") < fraction * 2.0**64


@dataclass(slots=True)
class SplitCensus:
    """Bytes on both sides of a split by hash, to decide whether that split is usable."""

    fraction: float
    train_bytes: int = 0
    validation_bytes: int = 0

    def add(self, document: Document) -> None:
        """Count one document."""
        if is_held_out(document, self.fraction):
            self.validation_bytes += document.size
        else:
            self.train_bytes += document.size

    def mode(self) -> SplitMode:
        """Return ``hash`` if it holds out about the requested fraction, else ``tail``.

        With few documents the hash may hold out nothing, everything, or one
        document as large as the rest; then the tail of each is held out instead.
        """
        total = self.train_bytes + self.validation_bytes
        wanted = self.fraction * total
        close = wanted / _MAX_RATIO <= self.validation_bytes <= wanted * _MAX_RATIO
        return "hash" if close and self.train_bytes and self.validation_bytes else "tail"


def split_document(
    document: Document, mode: SplitMode, fraction: float
) -> Iterator[tuple[Side, str]]:
    """Yield the parts of a document, each with its side."""
    if mode == "hash":
        yield "validation" if is_held_out(document, fraction) else "train", document.text
        return
    cut = tail_start(document.text, fraction)
    yield "train", document.text[:cut]
    if cut < len(document.text):
        yield "validation", document.text[cut:]


def tail_start(text: str, fraction: float) -> int:
    """Return the offset of a text's held-out tail, after a line if one ends nearby.

    The tail is ``fraction`` of the text but at least 256 characters, as long
    as that is no more than a quarter of the text.
    """
    tail = max(int(fraction * len(text)), min(_MIN_TAIL, len(text) // 4))
    cut = len(text) - tail
    line_end = text.rfind("\n", max(1, cut - tail), cut)
    return line_end + 1 if line_end > 0 else cut
