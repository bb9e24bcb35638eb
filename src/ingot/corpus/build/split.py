"""Which text is held out: whole documents by their hash, or the tail of each one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ingot.corpus.reading.documents import Document
from ingot.corpus.store.manifest import SplitMode

Side = Literal["train", "validation"]
SIDES: tuple[Side, ...] = ("train", "validation")

_LEAST_TAIL = 256
_FAR_OFF = 4


def is_held_out(document: Document, fraction: float) -> bool:
    """Return whether a document falls on the held-out side by its hash, wherever it is met."""
    return int.from_bytes(document.digest[:8], "big") < fraction * 2.0**64


@dataclass(slots=True)
class SplitCensus:
    """Counts both sides of a split by hash, to see whether it is any use."""

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
        """Return ``hash`` if it holds out about the share asked for, else ``tail``.

        With few documents chance may hold out nothing, everything, or one
        document as large as the rest; then each gives up its tail instead.
        """
        total = self.train_bytes + self.validation_bytes
        wanted = self.fraction * total
        close = wanted / _FAR_OFF <= self.validation_bytes <= wanted * _FAR_OFF
        return "hash" if close and self.train_bytes and self.validation_bytes else "tail"


def split_document(
    document: Document, mode: SplitMode, fraction: float
) -> Iterator[tuple[Side, str]]:
    """Yield the parts of a document with the side each belongs to."""
    if mode == "hash":
        yield "validation" if is_held_out(document, fraction) else "train", document.text
        return
    cut = tail_start(document.text, fraction)
    yield "train", document.text[:cut]
    if cut < len(document.text):
        yield "validation", document.text[cut:]


def tail_start(text: str, fraction: float) -> int:
    """Return where the held-out tail of a text begins, after a line if one ends near by.

    The tail is ``fraction`` of the text but at least 256 characters, as long
    as that is no more than a quarter of the text.
    """
    tail = max(int(fraction * len(text)), min(_LEAST_TAIL, len(text) // 4))
    cut = len(text) - tail
    line_end = text.rfind("\n", max(1, cut - tail), cut)
    return line_end + 1 if line_end > 0 else cut
